//! Names of things: checked where they enter, carried as types afterwards.
//!
//! An id may become part of a file name and of a line of JSON, so its alphabet is `[A-Za-z0-9._-]`, at most 128 bytes,
//! and it never starts with a dot: no id can leave its folder, hide a file, or need quoting.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_ID_BYTES`].
    #[error("has {0} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong(usize),
    /// A character outside the alphabet, or a dot at the start.
    #[error("has the character {0:?}; allowed are letters, digits, '.', '_' and '-', and no '.' at the start")]
    Character(char),
    /// A control character in a request's name.
    #[error("has a control character")]
    Control,
    /// A task rank that is not a number.
    #[error("is not a task rank (a whole number from 0 to {MAX_NODE})")]
    NotARank,
}

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// The highest task rank.
pub const MAX_NODE: u32 = 999_999;

/// Checks the alphabet that all ids share.
pub fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    if text.starts_with('.') {
        return Err(IdError::Character('.'));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! text_of {
    ($name:ident) => {
        impl $name {
            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"))]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_id(text)?;
                Ok(Self(text.into()))
            }

        }

        text_of! { $name }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }
    };
}

text_id! {
    /// A Slurm job, or what the local provider calls one.
    JobId
}
text_id! {
    /// A swarm: one launch, one allocation, its nodes.
    SwarmId
}
text_id! {
    /// One prompt to one node. A prompt to four nodes is four injections.
    InjectionId
}
/// A client's name for one of its commands; the same name again is the same command. It never reaches a file name,
/// so any text of 1 to 128 bytes without control characters will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("minLength" = 1, "maxLength" = 128))]
pub struct RequestId(std::sync::Arc<str>);

impl RequestId {
    /// Checks `text` and keeps it.
    pub fn new(text: &str) -> Result<Self, IdError> {
        match text.chars().find(|c| c.is_control()) {
            _ if text.is_empty() => Err(IdError::Empty),
            _ if text.len() > MAX_ID_BYTES => Err(IdError::TooLong(text.len())),
            Some(_) => Err(IdError::Control),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for RequestId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

text_of! { RequestId }

/// A task's rank in its job (`SLURM_PROCID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u32")]
#[schemars(with = "u32", extend("maximum" = 999_999))]
pub struct NodeId(u32);

impl NodeId {
    /// Rank 0, which every job has.
    pub const FIRST: Self = Self(0);

    /// A rank from a number; at most [`MAX_NODE`].
    pub fn new(rank: u32) -> Result<Self, IdError> {
        if rank > MAX_NODE {
            Err(IdError::NotARank)
        } else {
            Ok(Self(rank))
        }
    }

    /// The rank as a number.
    pub fn rank(self) -> u32 {
        self.0
    }

    /// The form in file names: two digits at least.
    pub fn padded(self) -> String {
        format!("{:02}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    /// Accepts the padded form too.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdError::NotARank);
        }
        text.parse().map_err(|_| IdError::NotARank).and_then(Self::new)
    }
}

impl TryFrom<u64> for NodeId {
    type Error = IdError;
    fn try_from(rank: u64) -> Result<Self, IdError> {
        u32::try_from(rank).map_err(|_| IdError::NotARank).and_then(Self::new)
    }
}

impl From<NodeId> for u32 {
    fn from(node: NodeId) -> u32 {
        node.0
    }
}

/// A worker's incarnation: 1 for the first life, one more for each restart or requeue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The highest that is believed of a file or a wire, so that there always is a next one.
    pub const MAX: Self = Self(i32::MAX.cast_unsigned());
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let epoch = Self(u32::deserialize(deserializer)?);
        let wrong = || serde::de::Error::custom(format!("no worker has lived {epoch} times"));
        (epoch <= Self::MAX).then_some(epoch).ok_or_else(wrong)
    }
}

/// The number of a record in its outbox, from 1 without gaps, across restarts of the worker. 0 means 'before the first'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::believed(u64::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("no outbox has so many records"))
    }
}

impl Seq {
    /// The highest that is believed of a file or a wire, so that there always is a next one and a database can hold it.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned() - 1);

    /// This number, if an outbox can have so many records.
    pub fn believed(number: u64) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One node's place: which job, which rank. Names the three mailbox files of that node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The job.
    pub job_id: JobId,
    /// The rank in it.
    pub node_id: NodeId,
}

impl Place {
    /// Both parts together.
    pub fn new(job_id: JobId, node_id: NodeId) -> Self {
        Self { job_id, node_id }
    }

    /// `<JOB>_<NODE>`, the stem of the mailbox files.
    pub fn stem(&self) -> String {
        format!("{}_{}", self.job_id, self.node_id.padded())
    }

    /// Reads a stem back; the last `_` divides, so a job id may contain one.
    pub fn from_stem(stem: &str) -> Result<Self, IdError> {
        let (job, node) = stem.rsplit_once('_').ok_or(IdError::NotARank)?;
        Ok(Self {
            job_id: job.parse()?,
            node_id: node.parse()?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.job_id, self.node_id.padded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_folder() {
        for bad in [
            "",
            ".",
            "..",
            "../../etc",
            "a/b",
            "a b",
            "a\nb",
            "a\0",
            ".hidden",
            "é",
            "$(reboot)",
            &"x".repeat(129),
        ] {
            assert!(JobId::new(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["272900", "local-1a2b", "272900_4", "a.b-c_d"] {
            assert_eq!(JobId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_stem_reads_back_padded_or_not() {
        let place = Place::new(JobId::new("27_2").unwrap(), NodeId::new(3).unwrap());
        assert_eq!(place.stem(), "27_2_03");
        assert_eq!(Place::from_stem("27_2_03").unwrap(), place);
        assert_eq!(Place::from_stem("27_2_3").unwrap(), place);
        assert!(Place::from_stem("272900").is_err());
        assert!(Place::from_stem("272900_x").is_err());
        assert!(Place::from_stem("272900_99999999").is_err());
    }

    #[test]
    fn ids_are_checked_when_they_are_deserialized() {
        assert!(serde_json::from_str::<JobId>("\"../x\"").is_err());
        assert!(serde_json::from_str::<NodeId>("-1").is_err());
        assert!(serde_json::from_str::<NodeId>("5000000000").is_err());
    }
}
