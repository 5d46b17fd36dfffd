//! Why a command ends early, for the person who must act: what failed, what to do, and the exit code.

use std::fmt;
use std::io;

use codeswarm_configs::ConfigError;

use crate::exit::Exit;

/// An error that ends the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, one sentence without its full stop. Empty: there is nobody to tell.
    pub what: String,
    /// What to do about it; empty if the sentence says it already.
    pub advice: String,
}

impl Failure {
    /// A failure with advice.
    pub fn new(exit: Exit, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// A mistake on the command line that clap cannot see.
    pub fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, advice)
    }

    /// The reader of standard output went away: nothing to say, nobody to say it to.
    pub fn broken_pipe() -> Self {
        Self::new(Exit::BrokenPipe, "", "")
    }

    /// Standard output could not be written.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::broken_pipe();
        }
        Self::new(
            Exit::Failed,
            format!("cannot write to standard output: {error}"),
            "look at where the output goes (a full disk, a closed terminal), then come back with codeswarm attach",
        )
    }

    /// One line of JSON for `--json`.
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "type": "error",
            "exit_code": self.exit.code(),
            "error": self.what,
            "advice": self.advice,
        })
        .to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.advice.is_empty() {
            write!(f, "\n  {}", self.advice)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_two_lines_and_a_program_one() {
        let failure = Failure::usage("no prompt", "give --prompt");
        assert_eq!(failure.to_string(), "no prompt\n  give --prompt");
        insta::assert_snapshot!(failure.to_json(), @r#"{"advice":"give --prompt","error":"no prompt","exit_code":2,"type":"error"}"#);
    }
}
