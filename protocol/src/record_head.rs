//! The head of a record as this software writes it, found in one pass without making anything: the fast way of
//! [`RecordHead::parse`](crate::record::RecordHead::parse), through which every record goes at each of its stations.
//!
//! Whatever is not plainly JSON as it is written without spaces, with each field of the head once and without escapes in it, is left
//! to the JSON reader (`None`), which alone decides what is refused. So this must never take what that would refuse, nor
//! read it otherwise; a test lays the two side by side.

use std::borrow::Cow;

use memchr::memchr2;

use crate::ids::{Epoch, Seq};
use crate::record::RecordHead;

/// How deep values may be nested here.
const DEEPEST: u32 = 16;

/// The head of this line, with or without its newline.
pub(crate) fn quick(line: &str) -> Option<RecordHead<'_>> {
    let mut scan = Scan { text: line, at: 0 };
    let (mut kind, mut seq, mut epoch, mut timestamp, mut injection_id) = (None, None, None, None, None);
    scan.expect(b'{')?;
    loop {
        let key = scan.plain()?;
        scan.expect(b':')?;
        // A field that comes twice is for the JSON reader to refuse.
        let again = match key {
            "type" => kind.replace(scan.plain()?).is_some(),
            "seq" => seq.replace(Seq::believed(scan.whole_number()?)?).is_some(),
            "epoch" => epoch.replace(believed(scan.whole_number()?)?).is_some(),
            "timestamp" => timestamp.replace(scan.plain()?).is_some(),
            "injection_id" => injection_id.replace(scan.plain()?).is_some(),
            _ => scan.value(DEEPEST)?,
        };
        if again {
            return None;
        }
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    matches!(scan.rest(), b"" | b"\n").then_some(())?;
    Some(RecordHead {
        kind: Cow::Borrowed(kind?),
        seq: seq.unwrap_or_default(),
        epoch: epoch.unwrap_or_default(),
        timestamp: Cow::Borrowed(timestamp.unwrap_or_default()),
        injection_id: injection_id.map(Cow::Borrowed),
    })
}

fn believed(number: u64) -> Option<Epoch> {
    let epoch = Epoch(u32::try_from(number).ok()?);
    (epoch <= Epoch::MAX).then_some(epoch)
}

struct Scan<'line> {
    text: &'line str,
    at: usize,
}

impl<'line> Scan<'line> {
    fn rest(&self) -> &'line [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A short string without escapes.
    fn plain(&mut self) -> Option<&'line str> {
        self.expect(b'"')?;
        let begin = self.at;
        let stops = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
        let length = self.rest().iter().position(stops)?;
        self.at += length;
        self.expect(b'"')?;
        self.text.get(begin..begin + length)
    }

    /// Digits alone.
    fn whole_number(&mut self) -> Option<u64> {
        let begin = self.at;
        let mut number = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        let digits = self.at - begin;
        let leading_zero = digits > 1 && self.text.as_bytes().get(begin) == Some(&b'0');
        let goes_on = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        (digits > 0 && !leading_zero && !goes_on).then_some(number)
    }

    /// Passes over any value. Always answers `false`: what it passed over is no field of the head.
    fn value(&mut self, deepest: u32) -> Option<bool> {
        match self.peek()? {
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            b'{' => self.nested(deepest.checked_sub(1)?, b'}')?,
            b'[' => self.nested(deepest.checked_sub(1)?, b']')?,
            _ => return None,
        }
        Some(false)
    }

    fn nested(&mut self, deepest: u32, end: u8) -> Option<()> {
        self.at += 1;
        if self.peek()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            if end == b'}' {
                self.plain()?;
                self.expect(b':')?;
            }
            self.value(deepest)?;
            match self.next()? {
                b',' => {}
                last if last == end => return Some(()),
                _ => return None,
            }
        }
    }

    /// A string of any length, with whatever escapes.
    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let rest = self.rest();
            let stop = memchr2(b'"', b'\\', rest)?;
            // Counted rather than searched for, which a processor does many bytes at a time.
            let controls: u8 = rest
                .get(..stop)?
                .iter()
                .fold(0, |found, byte| found | u8::from(*byte < 0x20));
            if controls != 0 {
                return None;
            }
            self.at += stop + 1;
            if rest.get(stop) == Some(&b'"') {
                return Some(());
            }
            match self.next()? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => {
                    let digits = self.rest().get(..4)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    self.at += 4;
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let begin = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes().get(begin) == Some(&b'0') {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// How many digits stand here: at least one.
    fn digits(&mut self) -> Option<usize> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let digits = self.at - begin;
        (digits > 0).then_some(digits)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest().starts_with(word).then_some(())?;
        self.at += word.len();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 8] = [
        r#"{"type":"assistant_delta","content":"a\n\"b\\ é ü \u00e9 \ud83d","seq":5,"epoch":2,"timestamp":"1970-01-01T00:00:00.000Z","job_id":"27","node_id":1,"injection_id":"i1"}"#,
        r#"{"type":"usage","total_tokens":3,"more":{"a":[1,-2.5e3,true,null,{"b":"c"}],"d":[]},"seq":1,"epoch":1,"timestamp":"t","job_id":"27","node_id":1}"#,
        r#"{"seq":18446744073709551615,"epoch":4294967295,"type":"x"}"#,
        r#"{"seq":9223372036854775806,"epoch":2147483647,"type":"x","injection_id":null}"#,
        r#"{ "type" : "x" , "seq" : 7 }"#,
        r#"{"type":"a\u0062c","seq":07,"number":-0,"other":1e5}"#,
        r#"{"type":"x","seq":3,"seq":4}"#,
        "{\"type\":\"x\",\"seq\":3,\"payload\":{\"deep\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}}\n",
    ];

    /// Both read the same, or the fast way leaves it to the other.
    fn agree(line: &str) -> bool {
        let slow = serde_json::from_str::<RecordHead<'_>>(line);
        let quick = quick(line);
        if let Some(quick) = &quick {
            let slow = slow
                .as_ref()
                .unwrap_or_else(|error| panic!("{error}, and yet taken: {line:?}"));
            assert_eq!(quick, slow, "{line:?}");
        }
        quick.is_some()
    }

    #[test]
    fn what_this_software_writes_is_read_the_fast_way() {
        let taken: Vec<bool> = LINES.iter().map(|line| agree(line)).collect();
        assert_eq!(taken, [true, true, false, false, false, false, false, false]);
    }

    #[test]
    fn p5_the_fast_way_takes_nothing_that_the_json_reader_refuses() {
        // Numbers that look like chance and are the same in every run.
        let mut state = 7_u64;
        let mut below = |limit: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        let pieces: [&[u8]; 24] = [
            b"\"",
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"0",
            b"1",
            b"-",
            b".",
            b"e",
            b"E+",
            b"\n",
            b" ",
            b"\0",
            b"\x1f",
            b"\\u12",
            b"null",
            b"true",
            "é".as_bytes(),
            b"\"seq\":2,",
            b"\"type\":\"y\",",
        ];
        let mut taken = 0;
        for _ in 0..300_000 {
            let mut line = LINES[below(LINES.len())].as_bytes().to_vec();
            for _ in 0..=below(3) {
                let at = below(line.len());
                match below(4) {
                    0 => drop(line.remove(at)),
                    1 => drop(line.splice(at..at, pieces[below(pieces.len())].iter().copied())),
                    2 => drop(line.splice(at..=at, pieces[below(pieces.len())].iter().copied())),
                    _ => {
                        let end = (at + below(20)).min(line.len());
                        drop(line.drain(at..end));
                    }
                }
                if line.is_empty() {
                    line.push(b'{');
                }
            }
            if let Ok(line) = std::str::from_utf8(&line) {
                taken += u32::from(agree(line));
            }
        }
        assert!(taken > 10_000, "only {taken} were taken");
    }
}
