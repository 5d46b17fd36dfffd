//! Text of agents made safe to show: what an agent or its commands print must not move the cursor, set the window's
//! title or hide a line.

use std::borrow::Cow;

/// `text` without escape sequences and control characters; newlines and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.peek() {
                Some('[') => {
                    rest.next();
                    // ECMA-48: parameters and intermediates, then one final byte from '@' to '~'.
                    while let Some(part) = rest.next_if(|c| (' '..='~').contains(c)) {
                        if ('@'..='~').contains(&part) {
                            break;
                        }
                    }
                }
                Some(']') => {
                    // An operating system command ends with BEL or ESC \.
                    while let Some(part) = rest.next() {
                        if part == '\x07' || (part == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            c if harmless(c) => shown.push(c),
            _ => {}
        }
    }
    Cow::Owned(shown)
}

/// The same on one line, at most `most` characters, for tables and messages.
pub fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let joined = plain(&words.join(" ")).into_owned();
    if joined.chars().count() <= most {
        return joined;
    }
    joined.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_controls_go_and_text_stays() {
        assert_eq!(plain("a\tb\nµ€"), "a\tb\nµ€");
        assert_eq!(plain("\x1b[1;31mred\x1b[0m and \x1b]0;title\x07on\r\n"), "red and on\n");
        assert_eq!(plain("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "link");
        assert_eq!(plain("bell\x07 back\x08 \u{9b}31m end\x1b"), "bell back 31m end");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line(" a\n\n b\tc ", 10), "a b c");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
