//! What a prompt asks the echo agent to do: plain text is streamed back, `[[…]]` asks for more.
//!
//! | directive | what happens |
//! |---|---|
//! | `[[echo deltas=N pace_ms=P]]` | N numbered words, one each P milliseconds; without `deltas` the prompt's own words at that pace; without `pace_ms` (or with `at once`) as fast as they are taken |
//! | `[[long bytes=N]]` | an answer of exactly N more bytes |
//! | `[[slow seconds=S]]` | a pause; S may have a fraction |
//! | `[[fail class=C message="M"]]` | the turn ends as failed; C is a class of `turn_complete`'s error, `other` when left out |
//! | `[[hang]]` | the turn never ends by itself; `[[hang deaf]]` ignores interrupts too |
//! | `[[crash]]` | the agent dies |
//! | `[[crash_after deltas=N]]` | the agent dies after N deltas of this answer |
//! | `[[approve command="C"]]` | asks whether it may run C, and goes on with the answer |
//! | `[[noise]]` | one of each other thing that an agent may say: reasoning, a command, a tool, a file change, a notice, an error that passes |
//!
//! Directives are done in their order, between the texts around them. `[[…]]` with another first word is text.

use std::time::Duration;

use codeswarm_protocol::turn::{ErrorClass, TurnError};

/// The longest answer, so that a script cannot eat the memory.
pub const LONGEST_ANSWER: u64 = 64 << 20;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Say this, a word a delta; the number is how many bytes of it are said.
    Text(String, usize),
    /// Say numbered words: from this number up to that one.
    Numbered(u64, u64),
    /// Say this many bytes more.
    Long(u64),
    /// Do nothing for a while.
    Pause(Duration),
    /// End the turn as failed.
    Fail(TurnError),
    /// Do nothing any more.
    Hang {
        /// Whether interrupts are ignored.
        deaf: bool,
    },
    /// Die.
    Crash,
    /// Ask for approval of a command.
    Approve(String),
    /// Say one of everything.
    Noise,
}

/// A prompt, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The time from a delta to the next.
    pub pace: Duration,
    /// Die after this many deltas.
    pub crash_after: Option<u64>,
}

impl Script {
    /// Reads a prompt. The error says which directive is wrong, and how.
    pub fn parse(prompt: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut rest = prompt;
        let mut text = String::new();
        while let Some(start) = rest.find("[[") {
            let Some(length) = rest[start..].find("]]") else {
                break;
            };
            let inside = &rest[start + 2..start + length];
            let arguments = Arguments::parse(inside);
            text.push_str(&rest[..start]);
            rest = &rest[start + length + 2..];
            if !NAMES.contains(&arguments.name) {
                text.push_str(&format!("[[{inside}]]"));
                continue;
            }
            script.say(&mut text);
            script
                .take(&arguments)
                .map_err(|wrong| format!("[[{inside}]]: {wrong}"))?;
        }
        text.push_str(rest);
        script.say(&mut text);
        Ok(script)
    }

    fn say(&mut self, text: &mut String) {
        if !text.trim().is_empty() {
            self.steps.push(Step::Text(text.trim().to_owned(), 0));
        }
        text.clear();
    }

    fn take(&mut self, arguments: &Arguments<'_>) -> Result<(), String> {
        match arguments.name {
            "echo" => {
                if let Some(pace) = arguments.number("pace_ms")? {
                    self.pace = Duration::from_millis(pace);
                }
                if let Some(deltas) = arguments.number("deltas")? {
                    if deltas > LONGEST_ANSWER / 8 {
                        return Err(format!("deltas is above {}", LONGEST_ANSWER / 8));
                    }
                    self.steps.push(Step::Numbered(1, deltas));
                }
            }
            "long" => {
                let bytes = arguments.needed("bytes")?;
                if bytes > LONGEST_ANSWER {
                    return Err(format!("bytes is above {LONGEST_ANSWER}"));
                }
                self.steps.push(Step::Long(bytes));
            }
            "slow" => {
                let seconds = arguments.value("seconds").ok_or("seconds is missing")?;
                let pause = seconds
                    .parse()
                    .ok()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .ok_or_else(|| format!("seconds is {seconds:?}, not a number"))?;
                self.steps.push(Step::Pause(pause));
            }
            "fail" => self.steps.push(Step::Fail(arguments.failure()?)),
            "hang" => self.steps.push(Step::Hang {
                deaf: arguments.has("deaf"),
            }),
            "crash" => self.steps.push(Step::Crash),
            "crash_after" => self.crash_after = Some(arguments.needed("deltas")?),
            "approve" => {
                let command = arguments.value("command").ok_or("command is missing")?;
                self.steps.push(Step::Approve(command.to_owned()));
            }
            _ => self.steps.push(Step::Noise),
        }
        Ok(())
    }
}

const NAMES: [&str; 9] = [
    "echo",
    "long",
    "slow",
    "fail",
    "hang",
    "crash",
    "crash_after",
    "approve",
    "noise",
];

/// The inside of a directive: a name, then words and `key=value`, the value in double quotes if it holds a space.
struct Arguments<'text> {
    name: &'text str,
    pairs: Vec<(&'text str, &'text str)>,
}

impl<'text> Arguments<'text> {
    fn parse(inside: &'text str) -> Self {
        let inside = inside.trim();
        let (name, mut rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
        let mut pairs = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Self { name, pairs };
            }
            let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
            let key = &rest[..end];
            let Some(value) = rest[end..].strip_prefix('=') else {
                pairs.push((key, ""));
                rest = &rest[end..];
                continue;
            };
            let quoted = value.strip_prefix('"').and_then(|value| value.split_once('"'));
            let (value, after) =
                quoted.unwrap_or_else(|| value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())));
            pairs.push((key, value));
            rest = after;
        }
    }

    fn has(&self, word: &str) -> bool {
        self.pairs.iter().any(|(key, _)| *key == word)
    }

    fn value(&self, wanted: &str) -> Option<&'text str> {
        let found = self.pairs.iter().find(|(key, _)| *key == wanted)?;
        Some(found.1)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.value(key)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| format!("{key} is {value:?}, not a whole number"))
            })
            .transpose()
    }

    fn needed(&self, key: &str) -> Result<u64, String> {
        self.number(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    fn failure(&self) -> Result<TurnError, String> {
        let class = match self.value("class") {
            None => ErrorClass::Other,
            Some(word) => class_named(word).ok_or_else(|| format!("class: there is no class {word:?}"))?,
        };
        let message = self.value("message").unwrap_or("asked to fail");
        Ok(TurnError::new(class, message))
    }
}

/// The class that is called this in records; a reader of records takes an unknown word for `other`, a script may not.
fn class_named(word: &str) -> Option<ErrorClass> {
    let class: ErrorClass = serde_json::from_value(word.into()).ok()?;
    let name = serde_json::to_value(class).ok()?;
    (name == word).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_directives_keep_their_order() {
        let script =
            Script::parse("Hello [[slow seconds=0.5]] big [[wiki link]] world [[echo deltas=3 pace_ms=20]][[noise]]")
                .unwrap();
        assert_eq!(
            script.steps,
            [
                Step::Text("Hello".into(), 0),
                Step::Pause(Duration::from_millis(500)),
                Step::Text("big [[wiki link]] world".into(), 0),
                Step::Numbered(1, 3),
                Step::Noise,
            ]
        );
        assert_eq!(script.pace, Duration::from_millis(20));
    }

    #[test]
    fn values_with_spaces_stand_in_quotes() {
        let script = Script::parse("[[approve command=\"rm -rf x\"]] [[fail class=rate_limit message=slow]]").unwrap();
        assert_eq!(
            script.steps,
            [
                Step::Approve("rm -rf x".into()),
                Step::Fail(TurnError::new(ErrorClass::RateLimit, "slow")),
            ]
        );
        let script = Script::parse("[[echo deltas=5 at once]] [[crash_after deltas=3]] [[hang deaf]] [[").unwrap();
        assert_eq!(
            script.steps,
            [
                Step::Numbered(1, 5),
                Step::Hang { deaf: true },
                Step::Text("[[".into(), 0)
            ]
        );
        assert_eq!((script.crash_after, script.pace), (Some(3), Duration::ZERO));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (prompt, want) in [
            ("[[long]]", "[[long]]: bytes is missing"),
            (
                "[[long bytes=x]]",
                "[[long bytes=x]]: bytes is \"x\", not a whole number",
            ),
            ("[[long bytes=99999999999]]", "bytes is above 67108864"),
            ("[[slow seconds=-1]]", "seconds is \"-1\", not a number"),
            ("[[fail class=nope]]", "class: there is no class \"nope\""),
            ("[[approve]]", "command is missing"),
        ] {
            let wrong = Script::parse(prompt).unwrap_err();
            assert!(wrong.contains(want), "{wrong}");
        }
    }
}
