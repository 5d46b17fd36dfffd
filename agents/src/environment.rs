//! The environment that an agent's process gets: the worker's own, less what is ours or secret, plus `agent.env`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use codeswarm_protocol::launch::AgentSpec;

/// Variables with this prefix are Codeswarm's own and are not handed on.
const OURS: &str = "CODESWARM_";

/// A reference in `agent.env` that cannot be filled in. Only a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The worker's environment lacks a variable.
    #[error(
        "agent.env.{key} refers to ${{{name}}}, which is not set in the worker's environment: \
         export {name} where the router is started (in a Slurm job: in the job's environment, docs/USER_GUIDE.md), or correct \
         the configuration"
    )]
    Missing {
        /// The key in `agent.env`.
        key: String,
        /// The variable that it names.
        name: String,
    },
    /// A `${` without its `}`.
    #[error("agent.env.{key} has a `${{` that no `}}` closes")]
    Unclosed {
        /// The key in `agent.env`.
        key: String,
    },
    /// The variable that `agent.api_key_env` names is not set.
    #[error(
        "agent.api_key_env names {name}, which is not set in the worker's environment: \
         export {name} where the router is started (in a Slurm job: in the job's environment, docs/USER_GUIDE.md)"
    )]
    NoKey {
        /// The variable.
        name: String,
    },
    /// A name that no environment can hold.
    #[error("agent.env has the key {key:?}, which cannot be a variable's name")]
    BadName {
        /// The key.
        key: String,
    },
}

/// What the agent's environment shall be, from `inherited` (the worker's own): everything but Codeswarm's variables and
/// the API key, then `agent.env` with `${NAME}` filled in.
pub fn agent_environment(
    agent: &AgentSpec,
    inherited: &BTreeMap<OsString, OsString>,
) -> Result<BTreeMap<OsString, OsString>, EnvironmentError> {
    let mut environment: BTreeMap<OsString, OsString> = inherited
        .iter()
        .filter(|(name, _)| {
            let ours = name.to_str().is_some_and(|name| name.starts_with(OURS));
            let key = agent.api_key_env.as_deref().is_some_and(|key| *name == key);
            !ours && !key
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (key, value) in &agent.env {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(EnvironmentError::BadName { key: key.clone() });
        }
        environment.insert(key.into(), expand(key, value, inherited)?);
    }
    Ok(environment)
}

/// The API key that `agent.api_key_env` names, or none when nothing is named.
pub fn api_key(
    agent: &AgentSpec,
    inherited: &BTreeMap<OsString, OsString>,
) -> Result<Option<String>, EnvironmentError> {
    let Some(name) = &agent.api_key_env else {
        return Ok(None);
    };
    inherited
        .get(&OsString::from(name))
        .and_then(|value| value.to_str())
        .filter(|value| !value.trim().is_empty())
        .map(|value| Some(value.trim().to_owned()))
        .ok_or_else(|| EnvironmentError::NoKey { name: name.clone() })
}

fn expand(key: &str, value: &str, inherited: &BTreeMap<OsString, OsString>) -> Result<OsString, EnvironmentError> {
    let mut expanded = OsString::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        expanded.push(&rest[..start]);
        let after = &rest[start + 2..];
        let end = after
            .find('}')
            .ok_or_else(|| EnvironmentError::Unclosed { key: key.to_owned() })?;
        let name = &after[..end];
        let found = inherited
            .get(&OsString::from(name))
            .ok_or_else(|| EnvironmentError::Missing {
                key: key.to_owned(),
                name: name.to_owned(),
            })?;
        expanded.push(found);
        rest = &after[end + 1..];
    }
    expanded.push(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> BTreeMap<OsString, OsString> {
        [
            ("PATH", "/bin"),
            ("CODESWARM_STATE", "x"),
            ("KEY", " sk-1\n"),
            ("HOST", "h"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
    }

    fn spec(env: &[(&str, &str)]) -> AgentSpec {
        AgentSpec {
            api_key_env: Some("KEY".into()),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..AgentSpec::default()
        }
    }

    #[test]
    fn ours_and_the_key_are_not_handed_on_and_references_are_filled_in() {
        let spec = spec(&[("URL", "http://${HOST}:${KEY}/$PATH"), ("PATH", "/opt")]);
        let environment = agent_environment(&spec, &worker()).unwrap();
        let shown: Vec<_> = environment
            .iter()
            .map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy()))
            .collect();
        assert_eq!(shown, ["HOST=h", "PATH=/opt", "URL=http://h: sk-1\n/$PATH"]);
        assert_eq!(api_key(&spec, &worker()).unwrap().as_deref(), Some("sk-1"));
    }

    #[test]
    fn what_cannot_be_filled_in_says_its_key_and_name() {
        for (env, want) in [
            (("A", "${NOPE}"), "agent.env.A refers to ${NOPE}"),
            (("A", "x${HOST"), "agent.env.A has a `${`"),
            (("A=B", "x"), "\"A=B\""),
        ] {
            let error = agent_environment(&spec(&[env]), &worker()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
        let error = api_key(&spec(&[]), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("names KEY"), "{error}");
    }
}
