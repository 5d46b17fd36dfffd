//! Time limits as `sbatch --time` takes them and `sinfo` prints them (sbatch(1), `--time`).

/// A time limit in seconds: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`,
/// `days-hours:minutes:seconds`. `None` for one without end, and for what is none.
pub fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    // Bounded, so that no sum is too large.
    let number = |text: &str| text.parse().ok().filter(|number: &u64| *number <= 1_000_000_000);
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(number(days)?), clock),
        None => (None, text),
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    Some(((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_is_read() {
        for (text, wanted) in [
            ("10", 600),
            ("1:30", 90),
            ("02:00:00", 7200),
            ("1-0", 86_400),
            ("1-00:30", 88_200),
            ("2-01:02:03", 176_523),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
        for other in ["infinite", "UNLIMITED", "n/a", "", "1-", "1:2:3:4", "-5", "99999999999"] {
            assert_eq!(seconds(other), None, "{other}");
        }
    }
}
