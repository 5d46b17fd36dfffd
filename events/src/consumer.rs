//! The name of a consumer: a word that is part of file names and cannot be a path.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerName(String);

/// The text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a consumer's name is 1 to {LONGEST} letters, digits, '.', '_' or '-', and does not begin with '.'")]
pub struct ConsumerNameError;

impl ConsumerName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConsumerName {
    type Err = ConsumerNameError;
    fn from_str(text: &str) -> Result<Self, ConsumerNameError> {
        let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > LONGEST || text.starts_with('.') || !text.chars().all(harmless) {
            return Err(ConsumerNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        for good in ["openclaw", "a", "ci.nightly-2_x", &"x".repeat(LONGEST)] {
            assert_eq!(good.parse::<ConsumerName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in [
            "",
            ".",
            "..",
            ".x",
            "../x",
            "a/b",
            "a b",
            "a\0",
            "a\n",
            "é",
            long.as_str(),
        ] {
            assert_eq!(bad.parse::<ConsumerName>(), Err(ConsumerNameError), "{bad:?}");
        }
    }
}
