//! The login node and the compute nodes see the workspace as NFS clients do at their worst: sizes and names that are old,
//! writes that come late, NULs before bytes, syncs that fail and forget, renames that happen and are told as failures
//! (P1 to P7, P9).

use std::path::Path;

use codeswarm_tests::account::{assert_account, inbox, wait_for_completion, wait_for_end};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::hostfs::HostFs;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

const NO_SPACE: &str = "No space left on device";

/// A cluster over the hostile filesystem, and a workspace in it.
struct Hostile {
    hostfs: HostFs,
    workspace: SlurmWorkspace,
    router: RouterProcess,
    swarm: Swarm,
    injections: Vec<String>,
}

impl Hostile {
    /// A swarm that is ready, with a router that is told everything.
    fn launch(hostfs: &Path, options: &[&str], nodes: u32) -> Self {
        Self::launch_with(hostfs, options, &[], json!({"command": "swarm_launch", "nodes": nodes}))
    }

    /// The same with faults that are there before anything is, and a launch in full.
    fn launch_with(hostfs: &Path, options: &[&str], faults: &[&str], launch: Value) -> Self {
        Self::launch_rung(hostfs, options, faults, launch, "auto")
    }

    /// The same with the doorbell so. Where it is off, both sides look all the time and meet what is old.
    fn launch_rung(hostfs: &Path, options: &[&str], faults: &[&str], launch: Value, doorbell: &str) -> Self {
        let cluster = TestCluster::hostile(hostfs, options);
        let workspace = SlurmWorkspace::echo(&cluster).configured(|config| {
            config["cluster"]["remote_binary"] = json!(requires::codeswarm());
            config["router"]["inject_timeout_seconds"] = json!(30);
            config["cluster"]["doorbell"] = json!(doorbell);
        });
        let hostfs = HostFs::of(&cluster);
        for fault in faults {
            hostfs.command(fault);
        }
        let mut router = RouterProcess::daemon(&workspace);
        router.follow_all();
        let launched = router.asked(launch, "swarm_launched");
        let text = |field: &str| launched[field].as_str().unwrap().to_owned();
        let swarm = Swarm {
            swarm_id: text("swarm_id"),
            job_id: text("job_id"),
            nodes: u32::try_from(launched["node_count"].as_u64().unwrap()).unwrap(),
        };
        router.wait_for("the swarm to run", |event| {
            event["type"] == "swarm_status" && event["status"] == "running"
        });
        Self {
            hostfs,
            workspace,
            router,
            swarm,
            injections: Vec::new(),
        }
    }

    fn inject(&mut self, node: u32, content: &str) -> String {
        let injection = self.router.inject(&self.swarm, node, content);
        self.injections.push(injection.clone());
        injection
    }

    fn turn(&mut self, node: u32, content: &str) {
        let injection = self.inject(node, content);
        wait_for_completion(&self.router, &injection);
    }

    /// So many rounds of prompts to all nodes, which say something for a while.
    fn rounds(&mut self, count: u32) {
        for round in 0..count {
            let content = format!("round {round} [[echo deltas=25 pace_ms=8]]");
            let injections = self.router.inject_all(&self.swarm, &content);
            for injection in &injections {
                wait_for_completion(&self.router, injection);
            }
            self.injections.extend(injections);
        }
    }

    /// Rounds until clients were deceived in each of these ways: what was not met was not withstood. A reader meets a
    /// moment by chance, so few rounds may not do.
    fn rounds_until_told(&mut self, names: &[&str]) {
        for _ in 0..40 {
            self.rounds(1);
            let told = self.hostfs.told();
            if names.iter().all(|name| told[*name] > 0) {
                println!("{told:?}");
                return;
            }
        }
        panic!("not all of {names:?}: {:?}", self.hostfs.told());
    }

    /// What the worker of a node says of trouble, once it can.
    fn worker_error(&self, part: &str) -> Value {
        self.router.wait_for(&format!("a worker's word of {part}"), |event| {
            event["type"] == "worker_error" && event["message"].as_str().is_some_and(|text| text.contains(part))
        })
    }

    /// Ends the swarm. Every prompt has ended once, the client has every record once, and nothing was started twice.
    fn end(mut self) -> SlurmWorkspace {
        self.router.terminate(&self.swarm);
        for node in 0..self.swarm.nodes {
            // Its bytes may come after Slurm's word that the job is over.
            self.router.wait_for("the worker's last record", |event| {
                event["type"] == "worker_exit" && event["node_id"] == node
            });
        }
        self.account();
        self.router.leave();
        self.workspace
    }

    fn account(&self) {
        assert_account(&self.workspace, &self.swarm, &self.router.lines(), &self.injections);
        for node in 0..self.swarm.nodes {
            let name = format!("{}_{node:02}.jsonl", self.swarm.job_id);
            assert!(self.workspace.mailbox("archive").join(&name).exists(), "{name}");
            assert!(!self.workspace.mailbox("outbox").join(&name).exists(), "{name}");
            let records = self.workspace.records(&self.swarm.job_id, node);
            assert_eq!(records.last().map(|last| &last["type"]), Some(&json!("worker_exit")));
        }
    }
}

#[test]
fn p2_p4_sizes_and_names_that_are_old_lose_and_double_nothing() {
    let Some(hostfs) = requires::hostfs() else { return };
    let options = ["--attributes-seconds", "3", "--names-seconds", "3"];
    // The end of a swarm is a rename, which the other side does not see for a while. Whether anybody looks just then is chance.
    for _ in 0..10 {
        let launch = json!({"command": "swarm_launch", "nodes": 2});
        let mut hostile = Hostile::launch_rung(&hostfs, &options, &[], launch, "off");
        hostile.rounds_until_told(&["stale_sizes"]);
        let told = HostFs::of(hostile.workspace.cluster());
        let _workspace = hostile.end();
        if told.told()["stale_names"] > 0 {
            return;
        }
    }
    panic!("in ten swarms nobody met a name that was old");
}

#[test]
fn p4_p5_nuls_that_come_before_bytes_are_never_taken_for_records() {
    let Some(hostfs) = requires::hostfs() else { return };
    let options = ["--nul-gap-ms", "60", "--attributes-seconds", "0.5"];
    let mut hostile = Hostile::launch(&hostfs, &options, 2);
    hostile.turn(0, "[[long bytes=300000]]");
    hostile.rounds_until_told(&["nul_reads"]);
    let skipped = |event: &Value| event["type"] == "records_skipped";
    assert!(!hostile.router.lines().iter().any(skipped));
    hostile.end();
}

#[test]
fn p2_p4_bytes_that_come_long_after_the_sync_arrive_once_and_in_order() {
    let Some(hostfs) = requires::hostfs() else { return };
    let options = ["--late-ms", "4000", "--nul-gap-ms", "300"];
    let mut hostile = Hostile::launch(&hostfs, &options, 2);
    hostile.rounds_until_told(&["nul_reads"]);
    hostile.end();
}

#[test]
fn p1_p4_a_router_that_is_killed_over_a_late_filesystem_goes_on_where_it_was() {
    let Some(hostfs) = requires::hostfs() else { return };
    let options = ["--late-ms", "200", "--nul-gap-ms", "40", "--names-seconds", "2"];
    let mut hostile = Hostile::launch(&hostfs, &options, 1);
    hostile.turn(0, "before");
    let running = hostile.inject(0, "[[echo deltas=200 pace_ms=10]]");
    hostile.router.event_of(&running, "assistant_delta");
    let waiting = hostile.inject(0, "waits");
    hostile.router.kill();
    hostile.router = RouterProcess::daemon(&hostile.workspace);
    let all = json!({"command": "subscribe", "swarm_id": hostile.swarm.swarm_id, "since": 0});
    hostile.router.asked(all, "caught_up");
    for injection in [&running, &waiting] {
        wait_for_completion(&hostile.router, injection);
    }
    hostile.turn(0, "after");
    assert_eq!(inbox(&hostile.workspace, &hostile.swarm, 0), hostile.injections);
    hostile.end();
}

#[test]
fn p4_p6_a_worker_that_is_killed_with_bytes_on_their_way_comes_back_to_them() {
    let Some(hostfs) = requires::hostfs() else { return };
    let options = ["--nul-gap-ms", "80"];
    let mut hostile = Hostile::launch(&hostfs, &options, 1);
    let running = hostile.inject(0, "[[echo deltas=500 pace_ms=5]]");
    hostile.router.event_of(&running, "assistant_delta");
    let worker = hostile.workspace.processes_named("--kept-by").pop().unwrap();
    hostile.workspace.signal(&worker, Signal::KILL);
    let end = wait_for_end(&hostile.router, &running);
    assert_eq!(end["status"], "failed", "{end}");
    hostile.turn(0, "after it");
    hostile.end();
}

#[test]
fn p6_a_turn_whose_end_comes_after_the_jobs_end_has_one_end() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &["--late-ms", "3000"], 1);
    let running = hostile.inject(0, "[[echo deltas=5]] [[hang]]");
    hostile.router.event_of(&running, "assistant_delta");
    hostile.end();
}

#[test]
fn p7_a_rename_into_the_archive_that_fails_and_has_happened_is_one() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &["--names-seconds", "2"], 2);
    hostile.rounds(1);
    hostile.hostfs.command("fail compute rename EIO happens path=outbox/");
    let told = HostFs::of(hostile.workspace.cluster());
    let workspace = hostile.end();
    told.heal();
    workspace.wait_until_no_job_is_left();
}

#[test]
fn p7_a_rename_into_the_archive_that_fails_is_tried_again() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    hostile.rounds(1);
    hostile.hostfs.command("fail compute rename EIO path=outbox/ times=1");
    let told = HostFs::of(hostile.workspace.cluster());
    let _workspace = hostile.end();
    told.heal();
}

/// The last record stands in the outbox, which is where it stays.
#[test]
fn p4_p7_an_archive_that_refuses_costs_no_record_and_no_end() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    hostile.turn(0, "before");
    let running = hostile.inject(0, "[[echo deltas=5]] [[hang]]");
    hostile.router.event_of(&running, "assistant_delta");
    hostile.hostfs.command("fail compute rename EROFS path=outbox/");
    hostile.router.terminate(&hostile.swarm);
    let exited = |event: &Value| event["type"] == "worker_exit";
    hostile.router.wait_for("the worker's last record", exited);
    hostile.hostfs.heal();
    assert_account(
        &hostile.workspace,
        &hostile.swarm,
        &hostile.router.lines(),
        &hostile.injections,
    );
}

#[test]
fn p9_a_launch_that_cannot_be_written_is_refused_in_the_filesystems_words() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    for (fault, words) in [
        ("fail login sync ENOSPC path=launch/ times=1", NO_SPACE),
        ("fail login write EDQUOT path=launch/ times=1", "quota"),
        ("fail login create EROFS path=launch/ times=1", "Read-only file system"),
        ("fail login rename EIO path=launch/ times=1", "Input/output error"),
    ] {
        hostile.hostfs.command(fault);
        let request = hostile.router.ask(json!({"command": "swarm_launch", "nodes": 1}));
        let refusal = hostile.router.refusal(&request);
        assert!(
            refusal["reason"].as_str().unwrap().contains(words),
            "{fault}: {refusal}"
        );
    }
    hostile.hostfs.heal();
    assert_eq!(
        hostile.workspace.jobs(),
        [hostile.swarm.job_id.as_str()],
        "nothing was submitted"
    );
    hostile.turn(0, "undisturbed");
    hostile.end();
}

#[test]
fn p9_an_outbox_whose_syncs_fail_and_forget_loses_no_record() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    for fault in [
        "fail compute sync EIO path=outbox/ times=3",
        "fail compute sync EIO holes path=outbox/ times=3",
        "fail compute sync EIO happens path=outbox/ times=3",
        "fail compute write EIO happens path=outbox/ times=3",
        "fail compute write EDQUOT path=outbox/ times=3",
        "half compute path=outbox/ times=3",
    ] {
        let before = hostile.hostfs.told()["faults"];
        hostile.hostfs.command(fault);
        hostile.turn(0, &format!("{fault} [[long bytes=60000]] [[echo deltas=20 pace_ms=5]]"));
        assert!(hostile.hostfs.told()["faults"] > before, "{fault}");
    }
    hostile.hostfs.heal();
    hostile.end();
}

#[test]
fn p9_an_outbox_without_space_at_its_sync_is_told_as_that_and_goes_on_when_there_is() {
    let Some(hostfs) = requires::hostfs() else { return };
    for (fault, words) in [
        ("fail compute sync ENOSPC path=outbox/", NO_SPACE),
        ("fail compute sync,write EDQUOT path=outbox/", "Disk quota exceeded"),
        ("fail compute altering EROFS path=outbox/", "read-only"),
    ] {
        let mut hostile = Hostile::launch(&hostfs, &[], 1);
        let running = hostile.inject(0, "[[echo deltas=5]] [[slow seconds=0.5]] [[long bytes=100000]]");
        hostile.router.event_of(&running, "turn_started");
        let before = hostile.hostfs.told()["faults"];
        hostile.hostfs.command(fault);
        wait_until(
            "the fault to be met a few times",
            || match hostile.hostfs.told()["faults"] {
                met if met > before + 2 => Ok(()),
                met => Err(format!("{met}")),
            },
        );
        hostile.hostfs.heal();
        wait_for_completion(&hostile.router, &running);
        let told = hostile.worker_error(words);
        assert!(told["message"].as_str().unwrap().contains("outbox"), "{told}");
        hostile.turn(0, "after it");
        hostile.end();
    }
}

#[test]
fn p2_p9_an_inbox_whose_syncs_fail_gets_each_prompt_once() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    hostile.turn(0, "first");
    for faults in [
        &["fail login sync EIO path=inbox/ times=1"][..],
        &["fail login sync EIO holes path=inbox/ times=2"],
        &["fail login sync ENOSPC happens path=inbox/ times=2"],
        &["fail login write EIO happens path=inbox/ times=1"],
        &["fail login write EIO path=inbox/ times=2"],
        &["half login path=inbox/ times=2"],
        // What is there is looked at through a new descriptor, and that cannot be had at first.
        &[
            "fail login sync EIO path=inbox/ times=1",
            "fail login open ESTALE path=inbox/ times=2",
            "fail login read EIO path=inbox/ times=1",
        ],
    ] {
        let before = hostile.hostfs.told()["faults"];
        for fault in faults {
            hostile.hostfs.command(fault);
        }
        hostile.turn(0, &format!("{faults:?} {}", "x".repeat(9000)));
        hostile.turn(0, "and another");
        let met = hostile.hostfs.told()["faults"] - before;
        assert!(met >= faults.len() as u64, "{faults:?}: {met}");
    }
    hostile.hostfs.heal();
    assert_eq!(inbox(&hostile.workspace, &hostile.swarm, 0), hostile.injections);
    hostile.end();
}

#[test]
fn p9_an_inbox_without_space_is_told_as_that_and_the_prompt_follows_when_there_is() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    hostile.hostfs.command("fail login sync ENOSPC path=inbox/");
    let prompt = hostile.inject(0, "when there is space");
    let pending = hostile.router.event_of(&prompt, "inject_pending");
    let reason = pending["reason"].as_str().unwrap();
    assert!(reason.contains(NO_SPACE) && reason.contains("inbox"), "{pending}");
    hostile.hostfs.heal();
    wait_for_completion(&hostile.router, &prompt);
    assert_eq!(inbox(&hostile.workspace, &hostile.swarm, 0), hostile.injections);
    hostile.end();
}

#[test]
fn p9_a_filesystem_that_stalls_for_a_while_costs_that_while() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 2);
    hostile.rounds(1);
    let running = hostile.inject(0, "[[echo deltas=50 pace_ms=10]]");
    hostile.router.event_of(&running, "turn_started");
    hostile.hostfs.command("stall compute sync 7000 path=outbox/ times=1");
    let other = hostile.inject(1, "[[echo deltas=50 pace_ms=10]]");
    wait_for_completion(&hostile.router, &running);
    wait_for_completion(&hostile.router, &other);
    hostile
        .hostfs
        .command("stall login sync,attributes 4000 path=mailbox times=3");
    hostile.rounds(1);
    hostile.hostfs.heal();
    hostile.end();
}

#[test]
fn p9_instructions_that_do_not_fit_are_not_taken_for_written() {
    let Some(hostfs) = requires::hostfs() else { return };
    let content = "You are a careful agent.\n".repeat(400);
    for fault in [
        "fail compute sync,close ENOSPC path=AGENTS.md times=1",
        "fail compute write EDQUOT path=AGENTS.md times=1",
        "fail compute rename EIO happens path=AGENTS.md times=1",
    ] {
        let launch = json!({"command": "swarm_launch", "nodes": 1, "agents_md_content": content});
        let mut hostile = Hostile::launch_with(&hostfs, &[], &[fault], launch);
        let folder = hostile.workspace.node_dir(&hostile.swarm.job_id, 0);
        let written = std::fs::read_to_string(folder.join("AGENTS.md")).unwrap();
        assert_eq!(written, content, "{fault}");
        hostile.hostfs.heal();
        hostile.turn(0, "hello");
        hostile.end();
    }
}

#[test]
fn p9_a_lease_and_a_launch_file_whose_renames_have_happened_are_there() {
    let Some(hostfs) = requires::hostfs() else { return };
    let faults = [
        "fail login rename EIO happens path=follower.lease",
        "fail login rename EIO happens path=launch/",
    ];
    let launch = json!({"command": "swarm_launch", "nodes": 1});
    let mut hostile = Hostile::launch_with(&hostfs, &[], &faults, launch);
    let told = hostile.hostfs.told();
    assert!(told["faults"] >= 2, "{told:?}");
    hostile.turn(0, "hello");
    let is_trouble = |event: &Value| event["type"] == "router_trouble" || event["type"] == "command_rejected";
    let lines = hostile.router.lines();
    assert!(!lines.iter().any(is_trouble), "{lines:#?}");
    hostile.end();
}

#[test]
fn p2_p4_reads_that_fail_for_a_while_miss_and_double_nothing() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mut hostile = Hostile::launch(&hostfs, &[], 1);
    for fault in [
        "fail login read EIO path=outbox/ times=3",
        "fail login open ESTALE path=outbox/ times=3",
        "fail login attributes,lookup EIO path=outbox/ times=4",
        "fail compute read ESTALE path=inbox/ times=3",
        "fail compute open EIO path=inbox/ times=2",
        "fail compute attributes,lookup EACCES path=inbox/ times=2",
    ] {
        let before = hostile.hostfs.told()["faults"];
        hostile.hostfs.command(fault);
        hostile.turn(0, &format!("{fault} [[echo deltas=30 pace_ms=5]]"));
        assert!(hostile.hostfs.told()["faults"] > before, "{fault}");
    }
    hostile.end();
}

/// Further seeds by hand: `CODESWARM_HOSTILE_SEEDS=3-40`.
fn seeds() -> Vec<u64> {
    let Ok(asked) = std::env::var("CODESWARM_HOSTILE_SEEDS") else {
        return vec![1, 2];
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("seeds {asked:?}"));
    match asked.split_once('-') {
        Some((first, last)) => (number(first)..=number(last)).collect(),
        None => vec![number(&asked)],
    }
}

/// A prompt whose inbox cannot even be opened fails with the filesystem's word, and is then never delivered; all else
/// comes through.
#[test]
fn p3_p4_p6_small_troubles_of_all_kinds_lose_and_double_nothing() {
    let Some(hostfs) = requires::hostfs() else { return };
    for seed in seeds() {
        println!("seed {seed}");
        let options = ["--nul-gap-ms", "20", "--attributes-seconds", "1.5"];
        let mut hostile = Hostile::launch(&hostfs, &options, 2);
        hostile.hostfs.command(&format!("weather {seed} 25 path=mailbox/"));
        for round in 0..3 {
            let content = format!("round {round} [[echo deltas=25 pace_ms=8]]");
            let injections = hostile.router.inject_all(&hostile.swarm, &content);
            for (node, injection) in (0..).zip(&injections) {
                let end = wait_for_end(&hostile.router, injection);
                if end["type"] == "inject_failed" {
                    assert_eq!(end["error"], "mailbox", "{end}");
                    assert!(!inbox(&hostile.workspace, &hostile.swarm, node).contains(injection));
                } else {
                    assert_eq!(end["status"], "completed", "{end}");
                }
            }
            hostile.injections.extend(injections);
        }
        hostile.hostfs.heal();
        hostile.end();
    }
}
