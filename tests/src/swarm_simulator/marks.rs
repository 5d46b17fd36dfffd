//! When a delta was written, as its text: `@` and the nanoseconds since 1970. Writer and reader are on one machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a marked delta's field begins, in a record as in an event.
const BEFORE: &[u8] = b"\"content\":\"@";

/// The text of a delta that is written now.
pub fn mark(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("@{} and so on ", since.as_nanos())
}

/// When the delta in this line was written, if it is a marked one.
pub fn find(line: &[u8]) -> Option<SystemTime> {
    let nanoseconds = number_behind(line, BEFORE)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// The number that stands behind the first occurrence of `key`. Within a JSON string a key's quotes would be escaped.
pub fn number_behind(line: &[u8], key: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, key)? + key.len();
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let sum: u64 = number.unwrap_or(0);
        number = Some(sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_again_to_the_nanosecond() {
        let now = UNIX_EPOCH + Duration::from_nanos(1_790_000_000_123_456_789);
        let line = format!(
            "{{\"type\":\"assistant_delta\",\"content\":\"{}\",\"seq\":17}}",
            mark(now)
        );
        assert_eq!(find(line.as_bytes()), Some(now));
        assert_eq!(number_behind(line.as_bytes(), b"\"seq\":"), Some(17));
        assert_eq!(find(b"{\"type\":\"assistant\",\"content\":\"a\",\"seq\":1}"), None);
    }
}
