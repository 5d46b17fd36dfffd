//! Where somebody begins who has been told nothing yet.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use codeswarm_protocol::Timestamp;
use serde::{Deserialize, Serialize};

/// What stands behind `--since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With everything that there is.
    Beginning,
    /// With what happens from now on.
    Now,
    /// With the first event of each node that is not older than this.
    Time(Timestamp),
    /// With the first event of each node that is not older than so long before now.
    Ago(Duration),
}

/// What is left out for good because of where a consumer began. It stands in the cursor until everything of that time was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// What happened before the first subscription.
    BeforeNow,
    /// Of each node, what comes before its first event that is not older.
    Before(Timestamp),
}

impl Since {
    /// What it leaves out.
    pub fn left_out(self, now: SystemTime) -> Option<LeftOut> {
        match self {
            Self::Beginning => None,
            Self::Now => Some(LeftOut::BeforeNow),
            Self::Time(moment) => Some(LeftOut::Before(moment)),
            Self::Ago(ago) => {
                let moment = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
                Some(LeftOut::Before(moment.into()))
            }
        }
    }
}

impl FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "now" => return Ok(Self::Now),
            _ => {}
        }
        if let Some(ago) = span(text) {
            return Ok(Self::Ago(ago));
        }
        let wrong = |_| {
            "write beginning, now, a moment such as 2026-03-01T12:00:00Z, or how long ago: a number with s, m, h or d, such as 2h"
                .to_owned()
        };
        Timestamp::try_from(text.to_owned()).map(Self::Time).map_err(wrong)
    }
}

/// `90s`, `30m`, `2h`, `7d`.
fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text.get(..text.len() - unit.len_utf8())?;
    if !number.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_time_are_read() {
        assert_eq!("beginning".parse(), Ok(Since::Beginning));
        assert_eq!("now".parse(), Ok(Since::Now));
        assert_eq!("90s".parse(), Ok(Since::Ago(Duration::from_secs(90))));
        assert_eq!("2h".parse(), Ok(Since::Ago(Duration::from_secs(7200))));
        assert_eq!("7d".parse(), Ok(Since::Ago(Duration::from_secs(604_800))));
        let moment = Timestamp::try_from("2026-03-01T12:00:00Z".to_owned()).unwrap();
        assert_eq!("2026-03-01T12:00:00Z".parse(), Ok(Since::Time(moment)));
        for bad in [
            "",
            "yesterday",
            "2 h",
            "-2h",
            "h",
            "2",
            "2w",
            "99999999999999999999d",
            "2026-03-01",
        ] {
            assert!(bad.parse::<Since>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn how_long_ago_is_a_moment_once_it_is_meant() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let left_out = |text: &str| text.parse::<Since>().unwrap().left_out(now);
        assert_eq!(left_out("1h"), Some(LeftOut::Before(Timestamp(6_400_000))));
        assert_eq!(left_out("9d"), Some(LeftOut::Before(Timestamp(0))));
        assert_eq!(left_out("beginning"), None);
    }
}
