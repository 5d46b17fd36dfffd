//! A compute node, or this machine where agents run on it.

use super::login::CLOCKS_APART;
use super::{size, span, workspace};
use crate::check::Verdict;
use crate::facts::{AgentFacts, EndpointFacts, ExchangeFacts, HostFacts, Lock, NodeFacts, WorkspaceFacts};

/// What each side sees of the other.
pub fn shared_filesystem(seen: &ExchangeFacts, node: &NodeFacts, login: &WorkspaceFacts) -> Verdict {
    let login_shared = login.shared.as_deref();
    let kind = |shared: Option<&str>| shared.unwrap_or("a disk of the host").to_owned();
    let (here, there) = (kind(login_shared), kind(node.shared.as_deref()));
    let whose = node_name(node);
    let mut findings = match seen.round_trip_ms {
        Some(ms) => vec![Verdict::ok(format!(
            "what the login node writes is seen on {whose}, and the answer is back after {} ({there})",
            span(ms / 1000.0)
        ))],
        None => vec![Verdict::failure(
            format!(
                "{whose} does not see what the login node has written in a file of {}",
                seconds(EXCHANGE_SECONDS)
            ),
            "are both on the same filesystem? Compare `df` of cluster.workspace_root on the login node and in a job",
        )],
    };
    if here != there {
        findings.push(Verdict::warning(
            format!("the login node says it is on {here}, and {whose} on {there}"),
            "set cluster.watch to poll, since one of the two does not know that others write it",
        ));
    } else if login_shared.is_none() && login.host != node.host {
        findings.push(Verdict::warning(
            format!("{} and {} both take it for a disk of their own, which it is not", login.host, node.host),
            "set cluster.watch to poll, since neither is told what the other writes; and tell us which filesystem it is",
        ));
    }
    match (&seen.no_lock, &node.lock) {
        (Some(error), _) => findings.push(Verdict::ok(format!("locks are not shared ({error}), and not needed"))),
        (None, Lock::Excludes) => findings.push(Verdict::ok("locks (flock) hold between them")),
        (None, Lock::DoesNotExclude) if node.shared.is_none() => findings.push(Verdict::warning(
            "a lock (flock) of the login node does not hold there",
            "set cluster.watch to poll, and see that only one router uses this mailbox",
        )),
        (None, Lock::DoesNotExclude) => {
            findings.push(Verdict::ok("locks do not hold between them, and are not needed"))
        }
        (None, Lock::Fails(error)) => findings.push(Verdict::ok(format!(
            "locks do not work there ({error}), and are not needed"
        ))),
        (None, Lock::Untried) => {}
    }
    Verdict::all(findings)
}

/// How long the two sides look for each other's words.
pub const EXCHANGE_SECONDS: u64 = 45;

fn seconds(seconds: u64) -> String {
    format!("{seconds} s")
}

fn node_name(node: &NodeFacts) -> String {
    match &node.node {
        Some(name) if *name != node.host => format!("{name} ({})", node.host),
        Some(name) => name.clone(),
        None => node.host.clone(),
    }
}

/// The node itself: clock, memory, disk.
pub fn compute_node(seen: &ExchangeFacts, node: &NodeFacts) -> Verdict {
    let mut findings = vec![Verdict::ok(node_name(node))];
    if let Some(ahead) = seen.node_clock_ahead {
        let unsure = seen.round_trip_ms.unwrap_or(0.0) / 2000.0;
        if ahead.abs() - unsure > CLOCKS_APART {
            let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
            findings.push(Verdict::warning(
                format!("its clock is {} {direction} the login node's", span(ahead.abs())),
                "tell the cluster's operators; times in events will not fit together",
            ));
        } else {
            findings.push(Verdict::ok("its clock agrees with the login node's"));
        }
    }
    findings.push(workspace::room("it", node.space));
    findings.extend(machine(&node.host_facts));
    Verdict::all(findings)
}

/// Memory and the temporary folder of a machine on which agents run.
pub fn machine(seen: &HostFacts) -> Vec<Verdict> {
    let mut findings = Vec::new();
    if let Some((all, available)) = seen.memory_mib {
        findings.push(Verdict::ok(format!(
            "{} of {} memory available",
            size(available << 20),
            size(all << 20)
        )));
    }
    let tmp = &seen.tmp;
    if let Some(refused) = &seen.tmp_refused {
        findings.push(Verdict::failure(
            format!("nothing can be written in {tmp}: {refused}"),
            "agents have their homes there; set TMPDIR to a folder on a disk of the node",
        ));
    } else if let Some(kind) = &seen.tmp_shared {
        findings.push(Verdict::warning(
            format!("{tmp} is on a shared filesystem ({kind})"),
            "set TMPDIR to a disk of the node: agents keep databases there",
        ));
    } else {
        match seen.tmp_space {
            Some(space) if space.free_bytes < (1 << 28) => findings.push(Verdict::warning(
                format!("only {} free in {tmp}", size(space.free_bytes)),
                "agents have their homes there; set TMPDIR to a disk with room",
            )),
            Some(space) => findings.push(Verdict::ok(format!("{} free in {tmp}", size(space.free_bytes)))),
            None => {}
        }
    }
    findings
}

/// The agent's program.
pub fn agent(kind: &str, whose: &str, seen: &AgentFacts) -> Verdict {
    if let Some(refused) = &seen.refused {
        return Verdict::failure(
            format!("{whose}: {refused}"),
            "agents look for it where a job of yours would: in the environment that sbatch hands on, or at the path in agent.command",
        );
    }
    match (&seen.program, &seen.version) {
        (None, _) => Verdict::ok(format!("{kind} is built in")),
        (Some(program), Some(version)) => Verdict::ok(format!("{version} on {whose}: {program}")),
        (Some(program), None) => Verdict::warning(
            format!("{program} on {whose} does not tell its version"),
            "is agent.command the agent's own program? Run it there with --version",
        ),
    }
}

/// The variables that the agent's configuration names; their values are nobody's business.
pub fn credentials(whose: &str, seen: &AgentFacts) -> Verdict {
    match (&seen.missing, seen.variables.as_slice()) {
        (Some(missing), _) => Verdict::failure(
            format!("{whose}: {missing}"),
            "a job has what the login node's non-interactive shell has when sbatch runs: export it in ~/.bashrc there above any \
             line that returns early, or in a template of the batch script (cluster.slurm.template)",
        ),
        (None, []) => Verdict::ok("the configuration names none"),
        (None, names) => Verdict::ok(format!(
            "{} set on {whose}: {}",
            if names.len() == 1 { "is" } else { "are" },
            names.join(", ")
        )),
    }
}

/// The same on this machine, where the router hands on its own environment.
pub fn credentials_here(seen: &AgentFacts) -> Verdict {
    match credentials("this machine", seen) {
        verdict if verdict.status == crate::Status::Failure => Verdict {
            advice: "workers have the environment of the router: export it in the shell that starts one (`codeswarm shutdown` \
                     ends one that runs without it)"
                .to_owned(),
            ..verdict
        },
        verdict => verdict,
    }
}

/// The model's service.
pub fn model_endpoint(whose: &str, seen: Option<&EndpointFacts>) -> Verdict {
    let Some(seen) = seen else {
        return Verdict::ok("the configuration names none");
    };
    let through = seen
        .proxy
        .as_ref()
        .map_or(String::new(), |proxy| format!(" through the proxy {proxy}"));
    match (&seen.reached, &seen.refused) {
        (Some(reached), _) => Verdict::ok(format!(
            "{} answers to {whose}{through} in {} ms: {reached}",
            seen.url, seen.milliseconds
        )),
        (None, refused) => Verdict::failure(
            format!(
                "{whose} does not reach {}{through}: {}",
                seen.url,
                refused.as_deref().unwrap_or("no answer")
            ),
            "is the address in agent.config right, and may compute nodes go there? Many clusters need a proxy (HTTPS_PROXY in agent.env), \
             or a model server inside",
        ),
    }
}

/// What the agent's own sandbox needs.
pub fn sandbox(whose: &str, possible: Option<bool>) -> Verdict {
    match possible {
        Some(true) => Verdict::ok(format!(
            "user namespaces are allowed on {whose}, which the agent's sandbox needs"
        )),
        Some(false) => Verdict::warning(
            format!(
                "user namespaces are not allowed on {whose}, and the agent's sandbox needs them: its commands may fail"
            ),
            "set agent.sandbox to danger-full-access, if what the agents do may happen on that node, or ask the cluster's operators",
        ),
        None => Verdict::ok("none is asked for, or it cannot be told"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn agent_facts() -> AgentFacts {
        AgentFacts {
            program: Some("/opt/codex".into()),
            version: Some("codex-cli 0.169.0".into()),
            refused: None,
            variables: vec!["KEY".into()],
            missing: None,
        }
    }

    fn node() -> NodeFacts {
        NodeFacts {
            host: "vm".into(),
            node: Some("node3".into()),
            shared: Some("nfs".into()),
            lock: Lock::DoesNotExclude,
            space: None,
            host_facts: HostFacts {
                tmp: "/tmp".into(),
                tmp_refused: None,
                tmp_shared: None,
                tmp_space: None,
                memory_mib: Some((2048, 1024)),
                user_namespaces: None,
                agent: agent_facts(),
                endpoint: None,
            },
        }
    }

    fn exchange(round_trip_ms: Option<f64>, node_clock_ahead: Option<f64>) -> ExchangeFacts {
        ExchangeFacts {
            round_trip_ms,
            node_clock_ahead,
            no_lock: None,
            node: None,
        }
    }

    #[test]
    fn both_sides_must_see_the_same() {
        let seen = exchange(Some(35.0), Some(0.01));
        let login = |shared: Option<&str>| WorkspaceFacts {
            host: "login1".into(),
            root: "/w".into(),
            refused: None,
            shared: shared.map(str::to_owned),
            write_ms: None,
            lock: Lock::Excludes,
            space: None,
            held_by: None,
        };
        let good = shared_filesystem(&seen, &node(), &login(Some("nfs")));
        assert_eq!(good.status, Status::Ok, "{good:?}");
        assert!(
            good.seen.contains("node3 (vm)") && good.seen.contains("35 ms"),
            "{good:?}"
        );
        assert_eq!(shared_filesystem(&seen, &node(), &login(None)).status, Status::Warning);
        let unknown = NodeFacts { shared: None, ..node() };
        let verdict = shared_filesystem(&seen, &unknown, &login(None));
        assert!(verdict.advice.contains("cluster.watch to poll"), "{verdict:?}");
        let same = WorkspaceFacts {
            host: "vm".into(),
            ..login(None)
        };
        assert_eq!(
            shared_filesystem(&seen, &unknown, &same).status,
            Status::Warning,
            "the lock does not hold"
        );
        let silent = shared_filesystem(&exchange(None, None), &node(), &login(Some("nfs")));
        assert_eq!(silent.status, Status::Failure);
    }

    #[test]
    fn a_node_s_clock_is_held_against_the_login_node_s() {
        let with_room = NodeFacts {
            space: Some(crate::facts::Space {
                free_bytes: 1 << 40,
                total_bytes: 1 << 41,
                free_inodes: 0,
                total_inodes: 0,
            }),
            ..node()
        };
        assert_eq!(
            compute_node(&exchange(Some(10.0), Some(1.9)), &with_room).status,
            Status::Ok
        );
        let wrong = compute_node(&exchange(Some(10.0), Some(-60.0)), &with_room);
        assert_eq!(wrong.status, Status::Warning);
        assert!(wrong.seen.contains("60.0 s behind"), "{wrong:?}");
    }

    #[test]
    fn agents_their_keys_and_their_model() {
        assert_eq!(agent("codex", "node3", &agent_facts()).status, Status::Ok);
        let missing = AgentFacts {
            refused: Some("no codex on the PATH: install it".into()),
            missing: Some("agent.api_key_env names KEY, which is not set".into()),
            ..agent_facts()
        };
        let verdict = agent("codex", "node3", &missing);
        assert_eq!(verdict.status, Status::Failure);
        assert!(verdict.seen.contains("no codex on the PATH"), "{verdict:?}");
        let verdict = credentials("node3", &missing);
        assert_eq!(verdict.status, Status::Failure);
        assert!(verdict.seen.contains("KEY"), "{verdict:?}");
        assert_eq!(credentials("node3", &agent_facts()).status, Status::Ok);
        assert!(credentials_here(&missing).advice.contains("codeswarm shutdown"));
        let mut endpoint = EndpointFacts {
            url: "http://127.0.0.1:9/v1".into(),
            proxy: None,
            reached: Some("HTTP/1.1 404 Not Found".into()),
            refused: None,
            milliseconds: 3,
        };
        assert_eq!(model_endpoint("node3", Some(&endpoint)).status, Status::Ok);
        endpoint.reached = None;
        endpoint.refused = Some("Connection refused".into());
        let verdict = model_endpoint("node3", Some(&endpoint));
        assert_eq!(verdict.status, Status::Failure);
        assert!(verdict.seen.contains("http://127.0.0.1:9/v1"), "{verdict:?}");
        assert_eq!(sandbox("node3", Some(false)).status, Status::Warning);
    }

    #[test]
    fn agents_need_a_disk_for_their_homes() {
        let mut host = node().host_facts;
        assert_eq!(Verdict::all(machine(&host)).status, Status::Ok);
        host.tmp_shared = Some("lustre".into());
        assert_eq!(Verdict::all(machine(&host)).status, Status::Warning);
        host.tmp_refused = Some("Read-only file system".into());
        assert_eq!(Verdict::all(machine(&host)).status, Status::Failure);
    }
}
