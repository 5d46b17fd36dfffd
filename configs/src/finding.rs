//! What is wrong with a configuration file, said to the person who edits it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in a text; both numbers count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPosition {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl TextPosition {
    /// The place of byte `offset` in `text`; its end if `offset` lies behind it.
    pub(crate) fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for TextPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One problem or warning. Shown as `file:line:column: dotted.key: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where in it; for something that is missing, the object that should hold it.
    pub position: TextPosition,
    /// The dotted key; empty if it is about the whole file.
    pub key: String,
    /// What is wrong, what was expected, and the nearest known name.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.position)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration. Trying again without a change never helps.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}; {}", file.display(), advice(source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read and cannot be used: all that is wrong with it, in the order of the text, never empty.
    #[error("{}", lines(.0))]
    Wrong(Vec<Finding>),
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "name an existing file with --config, or leave --config out for a local swarm",
        io::ErrorKind::PermissionDenied => "give yourself permission to read it",
        io::ErrorKind::IsADirectory => "name a file in that folder",
        _ => "--config takes a JSON file",
    }
}

fn lines(findings: &[Finding]) -> String {
    let mut text = match findings.len() {
        0 | 1 => String::new(),
        count => format!("{count} problems in the configuration:\n"),
    };
    text.push_str(&findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "a\nµ€x\n";
        let at = |offset| TextPosition::of_offset(text, offset).to_string();
        assert_eq!(at(0), "1:1");
        assert_eq!(at(2), "2:1");
        assert_eq!(at(text.find('x').unwrap()), "2:3");
        assert_eq!(at(99), "3:1");
    }
}
