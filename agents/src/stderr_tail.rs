//! The last of what an agent wrote to its standard error, for the error that will need it.

/// How much is kept, in bytes.
const KEPT: usize = 8 << 10;

/// Keeps the end of a stream of bytes.
#[derive(Debug, Default)]
pub struct StderrTail {
    bytes: Vec<u8>,
    cut: bool,
}

impl StderrTail {
    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
            self.cut = true;
        }
    }

    /// The last lines without terminal colours and control characters; none when nothing was written.
    pub fn text(&self) -> Option<String> {
        let start = self.bytes.len().saturating_sub(KEPT);
        let mut tail = &self.bytes[start..];
        if (start > 0 || self.cut) && tail.contains(&b'\n') {
            let line = tail.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            tail = &tail[line + 1..];
        }
        let text = plain(&String::from_utf8_lossy(tail));
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Leaves out escape sequences (ECMA-48: `ESC [ … final`, `ESC ] … BEL`, `ESC x`) and control characters but tab and newline.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            if !character.is_control() || matches!(character, '\n' | '\t') {
                out.push(character);
            }
            continue;
        }
        match characters.next() {
            Some('[') => {
                for next in characters.by_ref() {
                    if ('\u{40}'..='\u{7e}').contains(&next) {
                        break;
                    }
                }
            }
            Some(']') => {
                for next in characters.by_ref() {
                    if matches!(next, '\u{7}' | '\u{1b}' | '\n') {
                        break;
                    }
                }
            }
            Some(_) | None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out() {
        let mut tail = StderrTail::default();
        tail.push(b"\x1b[2m2026\x1b[0m \x1b[31mERROR\x1b[0m a\tb\r\n\x1b]0;title\x07c\n");
        assert_eq!(tail.text().as_deref(), Some("2026 ERROR a\tb\nc"));
        assert_eq!(StderrTail::default().text(), None);
    }

    #[test]
    fn the_end_is_kept_from_a_line_s_beginning() {
        let mut tail = StderrTail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.text().unwrap();
        assert!(text.len() <= KEPT && text.len() > KEPT / 2, "{}", text.len());
        assert!(text.starts_with("line ") && text.ends_with("line 9999"), "{text}");
        assert!(tail.bytes.capacity() < 64 << 10);
    }
}
