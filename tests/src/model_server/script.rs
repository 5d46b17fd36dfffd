//! What a prompt asks the model to do: markers such as `[[exec pwd]]` anywhere in the last user message, in order.
//!
//! | marker | the model … |
//! |---|---|
//! | `[[reason TEXT]]` | … sends a summary of its reasoning before it goes on |
//! | `[[say TEXT]]` | … sends a whole message before it goes on |
//! | `[[exec COMMAND]]` | … runs a command; the next marker comes into force with the command's result |
//! | `[[call TOOL ARGUMENTS]]` | … calls a tool, such as `mcp__server.tool`, with a JSON object |
//! | `[[patch PATCH]]` | … changes files; PATCH is what stands between `*** Begin Patch` and `*** End Patch` |
//! | `[[stream n=50 pace_ms=5]]` | … answers with n short words, one delta each |
//! | `[[slow]]` | … the same with n=600 pace_ms=100: a minute, to be interrupted |
//! | `[[big bytes=1000000 delta_bytes=4096]]` | … answers with that much text |
//! | `[[usage input=1 cached=0 output=1 reasoning=0]]` | … counts these tokens for the response |
//! | `[[http 500]]` | … is not there: HTTP status, with `code=…` and `retry_after=SECONDS` as wished |
//! | `[[fail code=CODE]]` | … reports a failure in the stream |
//! | `[[cut after=3]]` | … sends some deltas, then the connection breaks |
//! | `[[hang]]` | … opens the stream and falls silent |
//! | `[[empty]]`, `[[incomplete]]` | … ends without a word, or says that it stopped early |
//!
//! `http`, `fail`, `cut` and `hang` happen at every attempt; with `times=2` at the first two. After the last marker, or
//! without any, the model answers by quoting the prompt without its markers. A marker ends at the first `]]`.

use std::fmt;

use super::options::Options;

/// The parsed markers of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// What to do, in order.
    pub acts: Vec<Act>,
    /// The prompt without its markers.
    pub rest: String,
}

/// One marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Reasoning, within a response.
    Reason(String),
    /// A message, within a response.
    Say(String),
    /// Tokens of the response.
    Usage(Usage),
    /// A command; ends the response.
    Exec(String),
    /// A tool by its name, with its arguments; ends the response.
    Call(String, String),
    /// A change of files; ends the response.
    Patch(String),
    /// The final answer instead of the quote; ends the turn.
    Text(Text),
    /// Trouble, at the first `times` attempts or at all of them.
    Trouble { trouble: Trouble, times: Option<u32> },
}

/// A final answer that is not the quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// `count` short words, one delta each, `pace_ms` apart.
    Stream { count: usize, pace_ms: u64 },
    /// Text of `bytes` bytes in deltas of `delta_bytes`.
    Big { bytes: usize, delta_bytes: usize },
    /// No message at all.
    Empty,
    /// A message, and the word that it was cut short.
    Incomplete,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// An HTTP error instead of a stream.
    Http {
        status: u16,
        code: String,
        retry_after: Option<u32>,
    },
    /// `response.failed` in the stream.
    Fail { code: String },
    /// The connection breaks after so many deltas.
    Cut { after: usize },
    /// Nothing more comes.
    Hang,
}

/// The tokens that a response counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input: u64,
    /// Of these, cached.
    pub cached: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Of these, reasoning.
    pub reasoning: u64,
}

impl Default for Usage {
    /// 1000 read (200 cached) and 50 written (10 of reasoning), 1050 in all.
    fn default() -> Self {
        Self {
            input: 1000,
            cached: 200,
            output: 50,
            reasoning: 10,
        }
    }
}

/// A marker that the server does not understand; sent back as HTTP 400, so that a slip in a test shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError(pub(super) String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Script {
    /// Reads the markers of a prompt.
    pub fn parse(prompt: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        let mut rest = prompt;
        while let Some(start) = rest.find("[[") {
            let inside = &rest[start + 2..];
            // Shell text such as `[[ -f x ]]` is no marker.
            let is_marker = inside.starts_with(|first: char| first.is_ascii_lowercase());
            let Some(end) = inside.find("]]").filter(|_| is_marker) else {
                script.rest.push_str(&rest[..start + 2]);
                rest = inside;
                continue;
            };
            script.rest.push_str(&rest[..start]);
            script.acts.push(Act::parse(&inside[..end])?);
            rest = &inside[end + 2..];
        }
        script.rest.push_str(rest);
        script.rest = script.rest.trim().to_owned();
        Ok(script)
    }
}

impl Act {
    fn parse(marker: &str) -> Result<Self, ScriptError> {
        let (name, rest) = marker.split_once(char::is_whitespace).unwrap_or((marker, ""));
        let text = rest.trim().to_owned();
        let mut options = Options::parse(name, rest);
        let act = match name {
            "reason" => return Ok(Self::Reason(text)),
            "say" => return Ok(Self::Say(text)),
            "exec" => return Ok(Self::Exec(text)),
            "call" => {
                let (tool, arguments) = text.split_once(char::is_whitespace).unwrap_or((&text, "{}"));
                return Ok(Self::Call(tool.to_owned(), arguments.trim().to_owned()));
            }
            "patch" => return Ok(Self::Patch(text)),
            "usage" => {
                let usual = Usage::default();
                Self::Usage(Usage {
                    input: options.take("input")?.unwrap_or(usual.input),
                    cached: options.take("cached")?.unwrap_or(usual.cached),
                    output: options.take("output")?.unwrap_or(usual.output),
                    reasoning: options.take("reasoning")?.unwrap_or(usual.reasoning),
                })
            }
            "stream" | "slow" => {
                let (count, pace_ms) = if name == "slow" { (600, 100) } else { (50, 0) };
                Self::Text(Text::Stream {
                    count: options.take("n")?.unwrap_or(count),
                    pace_ms: options.take("pace_ms")?.unwrap_or(pace_ms),
                })
            }
            "big" => Self::Text(Text::Big {
                bytes: options.take("bytes")?.unwrap_or(1_000_000),
                delta_bytes: options.take("delta_bytes")?.unwrap_or(4096).max(1),
            }),
            "empty" => Self::Text(Text::Empty),
            "incomplete" => Self::Text(Text::Incomplete),
            _ => Self::Trouble {
                times: options.take("times")?,
                trouble: Trouble::parse(name, &mut options)?,
            },
        };
        options.finish()?;
        Ok(act)
    }
}

impl Trouble {
    fn parse(name: &str, options: &mut Options<'_>) -> Result<Self, ScriptError> {
        Ok(match name {
            "http" => Self::Http {
                status: options
                    .take_word()?
                    .ok_or_else(|| ScriptError("[[http]] needs a status, as in [[http 500]]".into()))?,
                code: options.take("code")?.unwrap_or_else(|| "scripted".into()),
                retry_after: options.take("retry_after")?,
            },
            "fail" => Self::Fail {
                code: options.take("code")?.unwrap_or_else(|| "server_error".into()),
            },
            "cut" => Self::Cut {
                after: options.take("after")?.unwrap_or(2),
            },
            "hang" => Self::Hang,
            _ => {
                return Err(ScriptError(format!(
                    "the model server knows no marker [[{name}]]; it knows reason, say, exec, call, patch, stream, slow, big, \
                     usage, http, fail, cut, hang, empty, incomplete"
                )));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_in_order_and_left_out_of_the_rest() {
        let script = Script::parse("[[http 500 times=1]] please [[exec echo 'a  b'; pwd]] now").unwrap();
        let http = Trouble::Http {
            status: 500,
            code: "scripted".into(),
            retry_after: None,
        };
        let expected = [
            Act::Trouble {
                trouble: http,
                times: Some(1),
            },
            Act::Exec("echo 'a  b'; pwd".into()),
        ];
        assert_eq!(script.acts, expected);
        assert_eq!(script.rest, "please  now");
    }

    #[test]
    fn shell_brackets_and_open_markers_are_plain_text() {
        for prompt in ["if [[ -f x ]]; then", "a [[hang", "[[", "[[]]"] {
            let script = Script::parse(prompt).unwrap();
            assert_eq!((script.acts.len(), script.rest.as_str()), (0, prompt));
        }
    }

    #[test]
    fn a_slip_names_the_marker() {
        for (prompt, said) in [
            ("[[strem n=1]]", "no marker [[strem]]"),
            ("[[stream m=1]]", "[[stream]] does not take \"m=1\""),
            ("[[stream n=x]]", "[[stream]] cannot take the value \"x\""),
            ("[[http]]", "needs a status"),
        ] {
            let error = Script::parse(prompt).unwrap_err().to_string();
            assert!(error.contains(said), "{prompt}: {error}");
        }
    }
}
