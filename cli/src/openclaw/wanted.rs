//! What OpenClaw should be told: its entry for `codeswarm mcp`, the skill, the automation.

use std::path::Path;

use serde_json::{Map, Value, json};

/// The entry's name in `mcp.servers`; the tools are `codeswarm__launch` and so on.
pub const SERVER: &str = "codeswarm";
/// The automation's name.
pub const AUTOMATION: &str = "codeswarm events";
/// The skill, as the bundle of integrations/openclaw carries it.
pub const SKILL: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../integrations/openclaw/skills/codeswarm/SKILL.md"
));

/// What `codeswarm mcp` needs from the environment: the way to ssh and Slurm, and what decides where a router's state and socket are.
/// OpenClaw hands on HOME, LOGNAME, TERM and USER by itself.
const VARIABLES: [&str; 8] = [
    "PATH",
    "SLURM_CONF",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "TMPDIR",
];

/// The events that wake the main session: what a person would want to hear of.
const EVENTS: &str = r#""type":"(turn_complete|inject_failed|approval_required|node_lost|swarm_terminated)""#;

/// What is wanted of OpenClaw.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The value of `mcp.servers.codeswarm`.
    pub entry: Value,
    /// The skill's text.
    pub skill: &'static str,
    /// The command of the automation, if one is wanted.
    pub automation: Option<Vec<String>>,
}

/// What is wanted with this program and configuration; `variable` looks into the environment.
pub fn wanted(
    program: &str,
    config: Option<&Path>,
    automation: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Wanted {
    let config: Vec<String> = config
        .iter()
        .flat_map(|file| ["--config".to_owned(), file.display().to_string()])
        .collect();
    let with_config = |words: &[&str]| -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned());
        words.chain(config.iter().cloned()).collect()
    };
    let env: Map<String, Value> = VARIABLES
        .iter()
        .filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            // OpenClaw would take it for a reference to a variable.
            Some(((*name).to_owned(), json!(value.replace("${", "$${"))))
        })
        .collect();
    let command = ["events", "--follow", "--json", "--consumer", "openclaw"];
    Wanted {
        entry: json!({
            "command": program,
            "args": with_config(&["mcp"]),
            "env": env,
            // `wait` takes up to 50 seconds, which the default of 60 cuts off on a busy machine.
            "requestTimeoutMs": 300_000,
            "supportsParallelToolCalls": true,
        }),
        skill: SKILL,
        automation: automation.then(|| [vec![program.to_owned()], with_config(&command)].concat()),
    }
}

/// The words behind `openclaw automations add` that make the automation.
pub fn automation_words(command: &[String]) -> Vec<String> {
    let command = Value::from(command).to_string();
    [
        ["--name", AUTOMATION],
        ["--stream-command", &command],
        ["--stream-mode", "match"],
        ["--stream-match", EVENTS],
        ["--session", "main"],
        ["--system-event", "codeswarm events:"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_names_the_program_by_its_path_and_takes_what_is_set() {
        let environment = |name: &str| match name {
            "PATH" => Some("/opt/slurm/bin:/odd/${x}".to_owned()),
            "SSH_AUTH_SOCK" => Some("/run/agent".to_owned()),
            "SLURM_CONF" => Some(String::new()),
            _ => None,
        };
        let found = wanted(
            "/opt/codeswarm",
            Some(Path::new("/home/ada/hpc.json")),
            true,
            environment,
        );
        let entry = json!({
            "command": "/opt/codeswarm", "args": ["mcp", "--config", "/home/ada/hpc.json"],
            "env": {"PATH": "/opt/slurm/bin:/odd/$${x}", "SSH_AUTH_SOCK": "/run/agent"},
            "requestTimeoutMs": 300_000, "supportsParallelToolCalls": true,
        });
        assert_eq!(found.entry, entry);
        let command = found.automation.unwrap().join(" ");
        assert_eq!(
            command,
            "/opt/codeswarm events --follow --json --consumer openclaw --config /home/ada/hpc.json"
        );
        assert_eq!(wanted("/c", None, false, |_| None).entry["args"], json!(["mcp"]));
    }

    #[test]
    fn the_skill_has_a_name_and_says_every_tool_by_its_whole_id() {
        assert!(SKILL.starts_with("---\nname: codeswarm\ndescription: "));
        let tools = codeswarm_mcp::definitions();
        assert!(tools.len() > 5);
        for tool in &tools {
            assert!(
                SKILL.contains(&format!("`{SERVER}__{}`", tool.name)),
                "{} is not in the skill",
                tool.name
            );
        }
        for word in SKILL.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if let Some(name) = word.strip_prefix("codeswarm__") {
                assert!(tools.iter().any(|tool| tool.name == name), "there is no tool {name}");
            }
        }
    }
}
