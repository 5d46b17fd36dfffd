//! Arguments through whatever login shell there is. Pure.
//!
//! ssh hands the login shell one string. Quoting as POSIX has it, which the `openssh` crate does, is understood by every shell but
//! for three characters: csh takes no newline and sees history in `!` inside quotes, fish takes one of two backslashes away. A
//! command that has one of them travels as octal digits, which no shell reads anything into, and is put together by `sh`.

use std::borrow::Cow;

use crate::call::Call;

/// What `sh` does with the digits.
const DECODE: &str = r#"eval "exec $(printf %b "$0")""#;

/// The words to be quoted and sent for a command.
pub(crate) fn for_any_shell(call: &Call) -> (Cow<'_, str>, Cow<'_, [String]>) {
    let words = || std::iter::once(&call.program).chain(&call.arguments);
    if !words().any(|word| word.contains(['\n', '!', '\\'])) {
        return (Cow::Borrowed(&call.program), Cow::Borrowed(&call.arguments));
    }
    let line: Vec<String> = words()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    let arguments = vec!["-c".to_owned(), DECODE.to_owned(), in_octal(&line.join(" "))];
    (Cow::Borrowed("sh"), Cow::Owned(arguments))
}

/// Letters and digits as they are, any other byte as printf(1)'s `%b` reads it.
fn in_octal(text: &str) -> String {
    let mut octal = String::with_capacity(text.len() * 2);
    let mut last_was_octal = false;
    for byte in text.bytes() {
        // A digit behind an octal number would be taken for a part of a number.
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && !last_was_octal) {
            octal.push(char::from(byte));
            last_was_octal = false;
        } else {
            octal.push_str(&format!("\\0{byte:03o}"));
            last_was_octal = true;
        }
    }
    octal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> Call {
        Call {
            program: "printf".into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            stdin: Vec::new(),
        }
    }

    #[test]
    fn ordinary_words_stay_readable() {
        let plain = call(&["%s", "a b", "it's $(x)", "Größe"]);
        let (program, arguments) = for_any_shell(&plain);
        assert_eq!(
            (program.as_ref(), arguments.as_ref()),
            ("printf", plain.arguments.as_slice())
        );
    }

    #[test]
    fn the_three_characters_travel_as_digits_and_arrive_as_they_are() {
        let words = [
            "a\nb\n",
            "!!",
            "\\\\",
            "\\'",
            "1\n2\n%d\\0333",
            "-n",
            "",
            "🦀 'x' \"$(reboot)\"",
        ];
        let mut arguments = vec!["%s\\0"];
        arguments.extend(words);
        let hard = call(&arguments);
        let (program, sent) = for_any_shell(&hard);
        let digits = sent.last().unwrap();
        assert!(digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'\\') && !digits.contains("\\\\"));
        let said = std::process::Command::new(program.as_ref())
            .args(sent.as_ref())
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.split_terminator('\0').collect::<Vec<_>>(), words);
    }
}
