//! Quoting for the two readers of a batch script: the shell, and sbatch's own reader of `#SBATCH` lines.

/// One word for a POSIX shell.
pub(crate) fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// One word for a `#SBATCH` line. sbatch takes a backslash as an escape also within single quotes, and a `#` outside of
/// quotes as the start of a comment (tried on 22.05).
pub(crate) fn for_directive(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+%*".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', r#"\""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How sbatch 22.05 takes the first word of a directive (`get_argument` in its source), and what it leaves.
    fn sbatch_reads(line: &str) -> (String, String) {
        let (mut word, mut quote, mut escaped) = (String::new(), None, false);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            if std::mem::take(&mut escaped) {
                word.push(c);
            } else if c == '\\' {
                escaped = true;
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_some() {
                word.push(c);
            } else if matches!(c, '"' | '\'') {
                quote = Some(c);
            } else if c == '#' || c.is_ascii_whitespace() {
                return (word, format!("{c}{}", chars.as_str()));
            } else {
                word.push(c);
            }
        }
        assert_eq!((quote, escaped), (None, false), "{line}");
        (word, String::new())
    }

    /// How a POSIX shell takes a word, and whether it would expand anything in it.
    fn shell_reads(line: &str) -> String {
        let (mut word, mut quoted, mut chars) = (String::new(), false, line.chars());
        while let Some(c) = chars.next() {
            match c {
                '\'' => quoted = !quoted,
                c if quoted => word.push(c),
                '\\' => word.extend(chars.next()),
                c => {
                    assert!(
                        c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c),
                        "{c:?} is open in {line}"
                    );
                    word.push(c);
                }
            }
        }
        assert!(!quoted, "{line}");
        word
    }

    proptest::proptest! {
        #[test]
        fn any_word_comes_out_of_both_readers_as_it_went_in(word in r#"[a-z0-9/=$`'"\\# ;&|()<>*?!%~é🦀]{1,40}"#) {
            let word = format!("--x={word}");
            proptest::prop_assert_eq!(sbatch_reads(&for_directive(&word)), (word.clone(), String::new()));
            proptest::prop_assert_eq!(shell_reads(&for_shell(&word)), word);
        }
    }

    #[test]
    fn words_are_whole_for_the_shell() {
        assert_eq!(for_shell("/home/me/run-1"), "/home/me/run-1");
        assert_eq!(for_shell("it's $(reboot); #"), r"'it'\''s $(reboot); #'");
        assert_eq!(for_shell(""), "''");
    }

    #[test]
    fn words_are_whole_for_sbatch() {
        assert_eq!(for_directive("--gres=gpu:1"), "--gres=gpu:1");
        assert_eq!(for_directive(r#"--x=a "b" \c #d"#), r#""--x=a \"b\" \\c #d""#);
    }
}
