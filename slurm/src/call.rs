//! One command for the login node, and what came back from it.

use std::fmt;

use codeswarm_protocol::JobId;

use crate::error::SlurmError;
use crate::quote;

/// One command to be run on the login node. Each argument is whole: whoever hands it to a shell quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program, to be found on the login node's `PATH`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads on its standard input, which is closed behind it.
    pub stdin: Vec<u8>,
    /// Variables that must not be in its environment: Slurm's commands take options from there, and a person's own
    /// (`SBATCH_OUTPUT`, `SQUEUE_PARTITION`, …) would win over a script's directives or hide jobs.
    pub unset: Vec<String>,
}

impl Call {
    pub(crate) fn new<const N: usize>(program: &str, arguments: [&str; N]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.map(str::to_owned).into(),
            stdin: Vec::new(),
            unset: Vec::new(),
        }
    }

    pub(crate) fn reading(mut self, stdin: String) -> Self {
        self.stdin = stdin.into_bytes();
        self
    }

    pub(crate) fn without(mut self, variables: &[&str]) -> Self {
        self.unset = variables.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Everything as words to run, [`Call::unset`] through env(1).
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::with_capacity(self.arguments.len() + 2 * self.unset.len() + 2);
        if !self.unset.is_empty() {
            words.push("env".to_owned());
            for name in &self.unset {
                words.extend(["-u".to_owned(), name.clone()]);
            }
        }
        words.push(self.program.clone());
        words.extend(self.arguments.iter().cloned());
        words
    }

    /// [`Call::words`] as one line for a POSIX shell, each word quoted.
    pub fn shell_line(&self) -> String {
        let words: Vec<_> = self.words().iter().map(|word| quote::for_shell(word)).collect();
        words.join(" ")
    }
}

impl fmt::Display for Call {
    /// As a person would type it, for logs and errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", quote::for_shell(argument)))
    }
}

/// What came back from a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Its exit code; absent when it was killed or the connection broke, and then nothing follows from what it printed.
    pub exit_code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
}

impl Answer {
    /// Standard output if the command ended well, else what it said as an error.
    pub(crate) fn good(&self, command: &'static str) -> Result<String, SlurmError> {
        if self.exit_code == Some(0) {
            Ok(self.out())
        } else {
            Err(SlurmError::read(command, self))
        }
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The job's number as Slurm's commands take it. One name that is no number makes them refuse all others beside it.
pub(crate) fn number(job_id: &JobId) -> Result<&str, SlurmError> {
    let text = job_id.as_str();
    let slurm = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    slurm
        .then_some(text)
        .ok_or_else(|| SlurmError::NotASlurmJob { job_id: job_id.clone() })
}

#[cfg(test)]
pub(crate) fn answer(exit_code: i32, stdout: &str, stderr: &str) -> Answer {
    Answer {
        exit_code: Some(exit_code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_words_and_a_line_in_which_nothing_is_left_to_the_shell() {
        let call = Call::new("squeue", ["--name=$(reboot)", "-o", "%A|%T", ""]).without(&["SQUEUE_PARTITION"]);
        assert_eq!(
            call.words(),
            [
                "env",
                "-u",
                "SQUEUE_PARTITION",
                "squeue",
                "--name=$(reboot)",
                "-o",
                "%A|%T",
                ""
            ]
        );
        assert_eq!(
            call.shell_line(),
            "env -u SQUEUE_PARTITION squeue '--name=$(reboot)' -o '%A|%T' ''"
        );
        assert_eq!(call.to_string(), "squeue '--name=$(reboot)' -o '%A|%T' ''");
    }

    #[test]
    fn only_a_number_is_a_job_of_slurm() {
        assert_eq!(number(&"272900".parse().unwrap()).unwrap(), "272900");
        for other in ["local-12", "272900_4", "-1", "99999999999"] {
            let error = number(&other.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains(other), "{error}");
        }
    }
}
