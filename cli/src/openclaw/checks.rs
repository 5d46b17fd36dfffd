//! What was seen of OpenClaw means: for each thing whether it is well, and what to do.

use serde_json::{Value, json};

use super::plan::{Automation, Found};
use super::wanted::Wanted;

/// The OpenClaw that this was tried with; what its commands say may differ in others.
pub const TRIED: &str = "2026.9.6";

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Failure,
    /// It is not there, and need not be.
    Absent,
}

impl Health {
    /// For people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Absent => "absent",
        }
    }
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub seen: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

impl Check {
    fn new(name: &'static str, health: Health, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            health,
            seen: seen.into(),
            advice: advice.into(),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        json!({"type": "check", "name": self.name, "status": self.health.as_str(), "seen": self.seen, "advice": self.advice})
            .to_string()
    }
}

const INSTALL: &str = "codeswarm openclaw install";

/// The program and its version.
pub fn program(version: &str) -> Check {
    match version.contains(TRIED) {
        true => Check::new("openclaw", Health::Ok, version, ""),
        false => {
            let advice = format!("this was tried with OpenClaw {TRIED}; go by the checks below");
            Check::new("openclaw", Health::Warning, version, advice)
        }
    }
}

/// The entry.
pub fn entry(wanted: &Wanted, found: &Found) -> Check {
    let name = "entry";
    let Some(entry) = &found.entry else {
        return Check::new(
            name,
            Health::Failure,
            "OpenClaw has no MCP server \"codeswarm\"",
            INSTALL,
        );
    };
    let differs = |key: &str| entry[key] != wanted.entry[key];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if entry["enabled"] == false {
        return Check::new(
            name,
            Health::Failure,
            "it is disabled",
            "openclaw mcp configure codeswarm --enable",
        );
    }
    if differs("command") {
        let seen = format!(
            "it starts {}, and this is {}",
            text(&entry["command"]),
            text(&wanted.entry["command"])
        );
        return Check::new(
            name,
            Health::Warning,
            seen,
            format!("if this is the one that you mean: {INSTALL}"),
        );
    }
    if differs("args") {
        let seen = format!(
            "its arguments are {}, and would be {}",
            entry["args"], wanted.entry["args"]
        );
        let advice = format!("if this --config is the one that you mean: {INSTALL} with it");
        return Check::new(name, Health::Warning, seen, advice);
    }
    if entry["requestTimeoutMs"]
        .as_u64()
        .is_none_or(|milliseconds| milliseconds < 60_000)
    {
        let seen = "its requestTimeoutMs is below 60000, and wait may take 50 seconds";
        return Check::new(name, Health::Warning, seen, INSTALL);
    }
    let others: Vec<&str> = ["PATH", "SLURM_CONF", "SSH_AUTH_SOCK"]
        .into_iter()
        .filter(|key| entry["env"][*key] != wanted.entry["env"][*key])
        .collect();
    if !others.is_empty() {
        let seen = format!("its env has another {} than this shell", others.join(", "));
        return Check::new(
            name,
            Health::Warning,
            seen,
            format!("if the tools do not reach the cluster: {INSTALL}"),
        );
    }
    Check::new(name, Health::Ok, format!("it starts {}", text(&entry["command"])), "")
}

/// The skill; `hidden` is why agents are not shown it.
pub fn skill(wanted: &Wanted, found: &Found, hidden: Option<String>) -> Check {
    let name = "skill";
    match (&found.skill, hidden) {
        (None, _) => Check::new(
            name,
            Health::Failure,
            format!("there is no {}", found.skill_file),
            INSTALL,
        ),
        (Some(_), Some(why)) => Check::new(name, Health::Failure, why, "openclaw skills info codeswarm tells more"),
        (Some(text), None) if text != wanted.skill => {
            let seen = format!("{} is not this version's", found.skill_file);
            Check::new(
                name,
                Health::Warning,
                seen,
                format!("{INSTALL}, unless you changed it yourself"),
            )
        }
        (Some(_), None) => Check::new(name, Health::Ok, found.skill_file.clone(), ""),
    }
}

/// The probe: OpenClaw starts the server and lists its tools.
pub fn probe(outcome: Option<Result<(), String>>) -> Check {
    let name = "probe";
    match outcome {
        None => Check::new(name, Health::Absent, "nothing to probe", ""),
        Some(Ok(())) => Check::new(name, Health::Ok, "OpenClaw starts the server and lists its tools", ""),
        Some(Err(why)) => {
            let advice = "openclaw mcp doctor codeswarm --probe tells the same; codeswarm mcp by hand tells why it does not start";
            Check::new(name, Health::Failure, why, advice)
        }
    }
}

/// The automation; `Err`: the Gateway does not answer.
pub fn automation(wanted: &Wanted, found: Result<Option<Automation>, String>) -> Check {
    let name = "automation";
    let install = format!("{INSTALL} --automation");
    match found {
        Err(why) => Check::new(name, Health::Absent, why, "start it (openclaw gateway run)"),
        Ok(None) => {
            let seen = "none, so nobody is told when turns end; agents wait for them";
            Check::new(name, Health::Absent, seen, format!("if you want that: {install}"))
        }
        Ok(Some(automation)) if Some(&automation.command) != wanted.automation.as_ref() => {
            let seen = format!("it runs {}", automation.command.join(" "));
            Check::new(
                name,
                Health::Warning,
                seen,
                format!("if it should be this program and --config: {install}"),
            )
        }
        Ok(Some(automation)) => Check::new(name, Health::Ok, automation.id, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openclaw::wanted::wanted;

    fn healths(found: &Found) -> (Health, Health) {
        let wanted = wanted("/c", None, true, |_| None);
        (entry(&wanted, found).health, skill(&wanted, found, None).health)
    }

    #[test]
    fn what_is_missing_fails_and_what_differs_is_a_warning_with_what_to_do() {
        let wanted = wanted("/c", None, true, |_| None);
        let mut found = Found::default();
        assert_eq!(healths(&found), (Health::Failure, Health::Failure));
        found.entry = Some(wanted.entry.clone());
        found.skill = Some(wanted.skill.to_owned());
        assert_eq!(healths(&found), (Health::Ok, Health::Ok));
        found.entry = Some(json!({"command": "/other"}));
        found.skill = Some("mine".into());
        assert_eq!(healths(&found), (Health::Warning, Health::Warning));
        found.entry = Some(json!({"command": "/c", "args": ["mcp"], "enabled": false}));
        assert_eq!(healths(&found).0, Health::Failure);
        found.entry = Some(json!({"command": "/c", "args": ["mcp"]}));
        assert!(entry(&wanted, &found).seen.contains("requestTimeoutMs"));
        let hidden = skill(&wanted, &found, Some("it is disabled".into()));
        assert_eq!(
            (hidden.health, hidden.seen.as_str()),
            (Health::Failure, "it is disabled")
        );
    }

    #[test]
    fn an_automation_need_not_be_there() {
        let wanted = wanted("/c", None, true, |_| None);
        assert_eq!(automation(&wanted, Ok(None)).health, Health::Absent);
        assert_eq!(automation(&wanted, Err("no Gateway".into())).health, Health::Absent);
        let command = wanted.automation.clone().unwrap();
        let mut ours = Automation {
            id: "a".into(),
            command,
        };
        assert_eq!(automation(&wanted, Ok(Some(ours.clone()))).health, Health::Ok);
        ours.command[0] = "/other".into();
        assert_eq!(automation(&wanted, Ok(Some(ours))).health, Health::Warning);
    }
}
