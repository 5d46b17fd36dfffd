//! A command for the login node, and what it answered.

/// A program with its arguments. No shell interprets them: they reach the program as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// Its name, looked up in the `PATH` of a non-interactive login there, or its path.
    pub program: String,
    /// Its arguments. A NUL cannot be in an argument.
    pub arguments: Vec<String>,
    /// What it can read; then its input ends.
    pub stdin: Vec<u8>,
}

/// What a program said before it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status; 128 and the signal's number where a signal ended it.
    pub exit_code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}
