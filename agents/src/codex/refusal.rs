//! Why Codex does not start: its last words, and what a person can do about them.

use serde_json::{Map, Value};

use super::config::config_toml;
use crate::driver::Death;

/// The name of Codex's configuration file, as its messages have it before a line and a column.
const FILE: &str = "config.toml:";

/// What the death of a process means that has not answered its first request; and whether starting it again can help.
pub fn refusal(death: &Death, config: &Map<String, Value>) -> (String, bool) {
    match death.code {
        Some(0) => {
            // Codex itself ends so when it is told to (by SIGTERM, say), which may pass.
            let reason = "the program that was started as codex ended at once and without a word: see agent.command, \
                          unless something else has ended it";
            (reason.to_owned(), true)
        }
        Some(_) => {
            let words = last_words(death.stderr_tail.as_deref());
            let place = key_of_line(words, config)
                .map_or_else(String::new, |key| format!(" (there stands agent.config.{key})"));
            (format!("codex refused to start ({death}): {words}{place}"), false)
        }
        None => (death.to_string(), true),
    }
}

/// The sentence in its last words that says why; a stack backtrace may follow it.
fn last_words(stderr_tail: Option<&str>) -> &str {
    let tail = stderr_tail.unwrap_or_default();
    let error = tail.lines().rev().find(|line| line.starts_with("Error"));
    error.or(tail.lines().last()).unwrap_or("it said nothing")
}

/// The key on the line of the configuration file that a message names. The file itself goes with the agent's home, and
/// whoever reads the message knows only what it is made from.
fn key_of_line(message: &str, config: &Map<String, Value>) -> Option<String> {
    let (_, place) = message.split_once(FILE)?;
    let number: usize = place.split(':').next()?.parse().ok()?;
    let text = config_toml(config).ok()?;
    let before: Vec<&str> = text.lines().take(number).collect();
    let line = before.get(number.checked_sub(1)?)?.trim();
    let table = before
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    if line.starts_with('[') {
        return table.map(str::to_owned);
    }
    let (key, _) = line.split_once(" =")?;
    Some(match table {
        Some(table) => format!("{table}.{key}"),
        None => key.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(code: i32, stderr: &str) -> (String, bool) {
        let Value::Object(config) = json!({"a": 1, "model_providers.mock": {"name": "m", "wire_api": 5}}) else {
            panic!("an object");
        };
        let death = Death {
            code: Some(code),
            signal: None,
            stderr_tail: Some(stderr.to_owned()),
        };
        refusal(&death, &config)
    }

    #[test]
    fn the_key_on_the_line_that_codex_names_is_told() {
        for (line, key) in [
            (1, "a"),
            (12, "model_providers.mock"),
            (13, "model_providers.mock.name"),
            (14, "model_providers.mock.wire_api"),
        ] {
            let (reason, may_restart) = refused(1, &format!("x\nError: /h/config.toml:{line}:1: bad\n\nStack:\n 0: z"));
            let end = format!("Error: /h/config.toml:{line}:1: bad (there stands agent.config.{key})");
            assert!(reason.ends_with(&end) && !may_restart, "{reason}");
        }
        for stderr in [
            "Error: /h/config.toml:99:1: bad",
            "Error: config.toml:0:1: bad",
            "Error: config.toml: bad",
            "no",
        ] {
            let (reason, _) = refused(1, stderr);
            assert!(reason.ends_with(stderr), "{reason}");
        }
    }

    #[test]
    fn a_program_that_ends_at_once_may_not_be_codex() {
        let (reason, may_restart) = refused(0, "");
        assert!(reason.contains("agent.command") && may_restart, "{reason}");
    }
}
