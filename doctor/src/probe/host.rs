//! A machine on which agents are to run: its disk and memory, the agent's program, its variables, its model's service.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use codeswarm_agents::preflight;
use codeswarm_protocol::launch::AgentSpec;

use super::{endpoint, workspace};
use crate::facts::{AgentFacts, HostFacts};

/// How long a program may take to tell its version: it may lie on a filesystem that is slow to wake.
const VERSION: Duration = Duration::from_secs(20);

/// Looks, from the environment that a worker would have.
pub fn look(agent: &AgentSpec) -> HostFacts {
    let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let tmp = std::env::temp_dir();
    let namespaces = preflight::needs_user_namespaces(agent).then(user_namespaces).flatten();
    HostFacts {
        tmp: tmp.display().to_string(),
        tmp_refused: workspace::try_file(&tmp).err(),
        tmp_shared: workspace::shared(&tmp),
        tmp_space: workspace::space(&tmp),
        memory_mib: memory(),
        user_namespaces: namespaces,
        agent: agent_facts(agent, &variables),
        endpoint: preflight::model_endpoint(agent).map(|url| {
            // The agent's environment where it can be made, for the proxies in it.
            let environment = preflight::environment(agent, &variables);
            endpoint::reach(&url, &environment.unwrap_or_else(|_| variables.clone()))
        }),
    }
}

fn agent_facts(agent: &AgentSpec, variables: &preflight::Variables) -> AgentFacts {
    let environment = preflight::environment(agent, variables);
    let mut facts = AgentFacts {
        program: None,
        version: None,
        refused: None,
        variables: preflight::named_variables(agent),
        missing: environment.as_ref().err().map(ToString::to_string),
    };
    match preflight::program(agent, variables) {
        Ok(None) => {}
        Err(error) => facts.refused = Some(error.to_string()),
        Ok(Some(argv)) => {
            facts.program = argv.first().map(|program| program.display().to_string());
            match version(&argv, &environment.unwrap_or_else(|_| variables.clone())) {
                Ok(version) => facts.version = version,
                Err(error) => facts.refused = Some(error),
            }
        }
    }
    facts
}

/// The first line that the program says of its version.
fn version(argv: &[OsString], environment: &preflight::Variables) -> Result<Option<String>, String> {
    let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
    let child = Command::new(program)
        .args(arguments)
        .arg("--version")
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| preflight::cannot_start(program, &error))?;
    let said = output_within(child, VERSION).map_err(|why| format!("{} --version {why}", program.display()))?;
    let line = said.lines().find(|line| !line.trim().is_empty());
    Ok(line.map(|line| line.trim().chars().take(100).collect()))
}

/// What a program prints before it ends; a few lines, which a pipe holds.
fn output_within(mut child: Child, patience: Duration) -> Result<String, String> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                let mut said = child.stdout.take().ok_or("has no output")?;
                return std::io::read_to_string(&mut said).map_err(|error| error.to_string());
            }
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _may_be_gone = child.kill();
                let _reaped = child.wait();
                return Err(format!("did not end in {} s", patience.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// All and available memory in MiB (proc_meminfo(5)).
fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let mib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
    };
    Some((mib("MemTotal:")?, mib("MemAvailable:")?))
}

/// Whether a user namespace can be made, tried with unshare(1).
fn user_namespaces() -> Option<bool> {
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    Some(output_within(child, Duration::from_secs(5)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use codeswarm_protocol::launch::AgentKind;

    #[test]
    fn this_machine_can_run_what_is_built_in() {
        let seen = look(&AgentSpec::default());
        assert_eq!((seen.tmp_refused, seen.endpoint), (None, None));
        assert_eq!((seen.agent.program, seen.agent.refused), (None, None));
        assert!(seen.memory_mib.is_none_or(|(all, available)| all >= available));
    }

    #[test]
    fn a_program_is_started_to_hear_its_version() {
        let with = |command: &[&str]| {
            let agent = AgentSpec {
                kind: AgentKind::Codex,
                command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
                api_key_env: Some("NO_SUCH_VARIABLE_OF_DOCTOR".into()),
                ..AgentSpec::default()
            };
            agent_facts(&agent, &std::env::vars_os().collect())
        };
        let echo = with(&["/bin/sh", "-c", "echo it 1.2"]);
        assert_eq!(echo.version.as_deref(), Some("it 1.2"), "{echo:?}");
        assert!(echo.missing.unwrap().contains("NO_SUCH_VARIABLE_OF_DOCTOR"));
        let refused = |command| with(command).refused.unwrap();
        assert!(refused(&["/no/such/program"]).starts_with("cannot start /no/such/program"));
        assert!(refused(&["no-such-program-of-doctor"]).starts_with("no no-such-program-of-doctor on the PATH"));
        assert!(refused(&["/bin/false"]).contains("ended with"));
    }
}
