//! The options of a marker, such as `n=50 pace_ms=5`.

use std::str::FromStr;

use super::script::ScriptError;

/// The words of a marker after its name: one without a key at most, the others `key=value`.
pub struct Options<'a> {
    marker: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Splits what stands behind the name of a marker.
    pub fn parse(marker: &'a str, rest: &'a str) -> Self {
        let words = rest.split_whitespace().collect();
        Self { marker, words }
    }

    /// Takes the value of `key=value` out.
    pub fn take<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, ScriptError> {
        let found = self
            .words
            .iter()
            .position(|word| word.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
        let Some(word) = found.map(|index| self.words.remove(index)) else {
            return Ok(None);
        };
        self.value(&word[key.len() + 1..]).map(Some)
    }

    /// Takes the word without a key out.
    pub fn take_word<T: FromStr>(&mut self) -> Result<Option<T>, ScriptError> {
        let Some(index) = self.words.iter().position(|word| !word.contains('=')) else {
            return Ok(None);
        };
        let word = self.words.remove(index);
        self.value(word).map(Some)
    }

    fn value<T: FromStr>(&self, text: &str) -> Result<T, ScriptError> {
        text.parse()
            .map_err(|_| ScriptError(format!("[[{}]] cannot take the value {text:?}", self.marker)))
    }

    /// Refuses what has not been taken.
    pub fn finish(self) -> Result<(), ScriptError> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(ScriptError(format!("[[{}]] does not take {word:?}", self.marker))),
        }
    }
}
