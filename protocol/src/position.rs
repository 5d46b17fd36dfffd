//! Where a client's copy of a node's stream ends.
//!
//! A node's stream has two sources. Records of its outbox are numbered by `seq`. What the router itself says about a
//! node (an injection was accepted, delivered, failed) stands after the record that the router had last passed on, and
//! is numbered behind it: `17.2` is the router's second word after record 17. So one pair orders everything, and a
//! client that names the last pair it has seen gets all that comes after, once.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Seq;

/// A place in one node's stream. Orders as its stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, JsonSchema)]
#[schemars(with = "PositionSchema")]
pub struct Position {
    /// The outbox record at or before this place.
    pub seq: Seq,
    /// 0 at the record itself, else the how-manieth of the router's words after it.
    pub sub: u32,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum PositionSchema {
    /// At a record.
    Record(u64),
    /// At a record (`"17"`), or at one of the router's words behind it (`"17.2"`).
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))] String),
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { seq: Seq(0), sub: 0 };

    /// At the record `seq`, before the router's words that follow it.
    pub fn at(seq: Seq) -> Self {
        Self { seq, sub: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            0 => write!(f, "{}", self.seq),
            sub => write!(f, "{}.{sub}", self.seq),
        }
    }
}

/// The text is neither `17` nor `17.2`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position; write a record's number such as 17, or 17.2")]
pub struct PositionError(String);

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let wrong = || PositionError(text.chars().take(64).collect());
        // The standard parser also takes a sign.
        if text.contains('+') {
            return Err(wrong());
        }
        let (seq, sub) = match text.split_once('.') {
            Some((seq, sub)) => (seq, sub.parse().map_err(|_| wrong())?),
            None => (text, 0),
        };
        Ok(Self {
            seq: seq.parse().ok().and_then(Seq::believed).ok_or_else(wrong)?,
            sub,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Number(u64),
            Text(String),
        }
        match Spelled::deserialize(deserializer)? {
            Spelled::Number(seq) => Seq::believed(seq)
                .map(Self::at)
                .ok_or_else(|| serde::de::Error::custom("no outbox has so many records")),
            Spelled::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_the_stream_does() {
        let order: Vec<Position> = ["0", "0.1", "17", "17.1", "17.2", "17.10", "18"]
            .iter()
            .map(|t| t.parse().unwrap())
            .collect();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(order.iter().all(|p| p.to_string().parse::<Position>().unwrap() == *p));
    }

    #[test]
    fn reads_numbers_and_texts_and_nothing_else() {
        assert_eq!(serde_json::from_str::<Position>("17").unwrap(), Position::at(Seq(17)));
        assert_eq!(
            serde_json::from_str::<Position>("\"17.2\"").unwrap(),
            Position { seq: Seq(17), sub: 2 }
        );
        for bad in [
            "18446744073709551615",
            "\"9223372036854775807.1\"",
            "\"\"",
            "\"x\"",
            "\"1.\"",
            "\"+1\"",
            "\"1.+1\"",
            "-1",
            "1.5",
            "null",
        ] {
            assert!(serde_json::from_str::<Position>(bad).is_err(), "{bad}");
        }
    }
}
