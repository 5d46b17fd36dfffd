//! Telling records from garbage, without parsing: a record's line begins with `{`, ends with `}` and has no NUL in it
//! (JSON writes one as an escape). What passes here may still be no JSON; whoever parses it then reports that.

use memchr::memchr2_iter;

/// How many of the first bytes of garbage are shown.
const HEAD: usize = 64;

/// What stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// This many bytes of whole lines that look like records.
    Records(usize),
    /// This many bytes of whole lines that do not, none with a NUL.
    Garbage(usize),
    /// A whole line of `length` bytes with NULs in it, the last of them before byte `after`.
    Gap {
        /// The whole line, with its newline.
        length: usize,
        /// The byte after the last NUL.
        after: usize,
    },
    /// No whole line.
    Partial {
        /// Whether a NUL is in what is there.
        nul: bool,
    },
}

/// Looks at `bytes`, which begin at the start of a line.
pub fn front(bytes: &[u8]) -> Front {
    let mut records = 0;
    let mut garbage = 0;
    let mut line = 0;
    let mut last_nul = None;
    for at in memchr2_iter(b'\n', 0, bytes) {
        if bytes[at] == 0 {
            if records > 0 {
                return Front::Records(records);
            }
            if garbage > 0 {
                return Front::Garbage(garbage);
            }
            last_nul = Some(at);
            continue;
        }
        if let Some(nul) = last_nul {
            return Front::Gap {
                length: at + 1,
                after: nul + 1,
            };
        }
        let good = looks_like_record(&bytes[line..at]);
        line = at + 1;
        match (good, records, garbage) {
            (true, _, 0) => records = line,
            (false, 0, _) => garbage = line,
            (true, ..) => return Front::Garbage(garbage),
            (false, ..) => return Front::Records(records),
        }
    }
    match (records, garbage) {
        (0, 0) => Front::Partial {
            nul: last_nul.is_some(),
        },
        (0, garbage) => Front::Garbage(garbage),
        (records, _) => Front::Records(records),
    }
}

/// Whether a line (without its newline) looks like one JSON object.
pub fn looks_like_record(line: &[u8]) -> bool {
    match line {
        [b'{', .., b'}'] => true,
        _ => {
            let trimmed = line.trim_ascii();
            trimmed.starts_with(b"{") && trimmed.ends_with(b"}") && trimmed.len() > 1
        }
    }
}

/// The first bytes of garbage, readable on any terminal.
pub fn head(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(HEAD)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_some_bytes_is_told_without_parsing() {
        assert_eq!(front(b""), Front::Partial { nul: false });
        assert_eq!(front(b"{\"a\":1}"), Front::Partial { nul: false });
        assert_eq!(front(b"{}\n{}\n{\"b"), Front::Records(6));
        assert_eq!(front(b"{}\nnoise\n{}\n"), Front::Records(3));
        assert_eq!(front(b"noise\n\n{}\n"), Front::Garbage(7));
        assert_eq!(front(b"noise\nmore"), Front::Garbage(6));
        assert_eq!(front(b" {} \r\n"), Front::Records(6), "written by hand");
        assert_eq!(front(b"{\n"), Front::Garbage(2));
        assert_eq!(front(b"[1]\n"), Front::Garbage(4));
    }

    #[test]
    fn a_nul_is_never_passed_on_as_data() {
        assert_eq!(front(b"\0\0\0"), Front::Partial { nul: true });
        assert_eq!(front(b"{\"a\0\0}\n{}\n"), Front::Gap { length: 7, after: 5 });
        assert_eq!(front(b"{}\n\0\0{}\n"), Front::Records(3));
        assert_eq!(front(b"noise\n\0\n"), Front::Garbage(6));
        assert_eq!(front(b"\0\n{}\n"), Front::Gap { length: 2, after: 1 });
    }

    #[test]
    fn garbage_is_shown_escaped_and_short() {
        assert_eq!(head(b"\x1b[2J\0\"x"), "\\x1b[2J\\x00\\\"x");
        assert_eq!(head(&[b'a'; 1000]).len(), 64);
    }
}
