//! What an agent will need on its node, looked at without starting a session. For checks: what is wrong is told in the words
//! that a session would refuse with.

use std::collections::BTreeMap;
use std::ffi::OsString;

use codeswarm_protocol::launch::{AgentKind, AgentSpec};

use crate::codex;
use crate::environment::{agent_environment, api_key};
use crate::launch::LaunchError;

/// A process's environment.
pub type Variables = BTreeMap<OsString, OsString>;

/// The agent's environment, made of the worker's. Its values may be secret.
///
/// # Errors
/// A variable that the configuration names is not set.
pub fn environment(agent: &AgentSpec, worker: &Variables) -> Result<Variables, LaunchError> {
    api_key(agent, worker)?;
    Ok(agent_environment(agent, worker)?)
}

/// The variables of the worker's environment that the configuration names, which may be none.
pub fn named_variables(agent: &AgentSpec) -> Vec<String> {
    let mut names: Vec<String> = agent.api_key_env.iter().cloned().collect();
    for value in agent.env.values() {
        for part in value.split("${").skip(1) {
            if let Some((name, _)) = part.split_once('}')
                && !names.iter().any(|known| known == name)
            {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The program that would be started, with the arguments before the adapter's own; `None` for an agent that is built in.
///
/// # Errors
/// There is none.
pub fn program(agent: &AgentSpec, worker: &Variables) -> Result<Option<Vec<OsString>>, LaunchError> {
    match agent.kind {
        AgentKind::Echo => Ok(None),
        AgentKind::Codex => {
            let path = match agent.env.get("PATH") {
                Some(_) => environment(agent, worker)?.remove(&OsString::from("PATH")),
                None => worker.get(&OsString::from("PATH")).cloned(),
            };
            Ok(Some(codex::program::find(agent.command.as_deref(), path.as_deref())?))
        }
    }
}

/// The address of the model's service, where it is known; an agent that is built in has none.
pub fn model_endpoint(agent: &AgentSpec) -> Option<String> {
    match agent.kind {
        AgentKind::Echo => None,
        AgentKind::Codex => codex::endpoint::base_url(agent),
    }
}

/// Whether the agent keeps its commands in a sandbox that needs user namespaces (user_namespaces(7)).
pub fn needs_user_namespaces(agent: &AgentSpec) -> bool {
    use codeswarm_protocol::launch::Sandbox;
    agent.kind == AgentKind::Codex && agent.sandbox != Sandbox::DangerFullAccess
}

/// What is said of a program that is there and does not start.
pub fn cannot_start(program: &std::ffi::OsStr, error: &std::io::Error) -> String {
    format!("cannot start {}: {error}", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_that_a_configuration_names() {
        let agent = AgentSpec {
            api_key_env: Some("KEY".into()),
            env: [("A", "${KEY}/${HOST}"), ("B", "$plain ${HOST}"), ("C", "${open")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..AgentSpec::default()
        };
        assert_eq!(named_variables(&agent), ["KEY", "HOST"]);
        let missing = environment(&agent, &Variables::new()).unwrap_err().to_string();
        assert!(missing.contains("KEY") && missing.contains("not set"), "{missing}");
    }

    #[test]
    fn what_is_built_in_needs_no_program() {
        assert_eq!(program(&AgentSpec::default(), &Variables::new()).unwrap(), None);
        let codex = AgentSpec {
            kind: AgentKind::Codex,
            ..AgentSpec::default()
        };
        let missing = program(&codex, &Variables::new()).unwrap_err().to_string();
        assert!(missing.starts_with("no codex on the PATH"), "{missing}");
        assert!(needs_user_namespaces(&codex) && !needs_user_namespaces(&AgentSpec::default()));
    }
}
