//! Arguments through whatever login shell there is. Pure.
//!
//! ssh hands the login shell one string. Quoting as POSIX has it, which the `openssh` crate does, is understood by every shell but
//! for three characters: csh takes no newline and sees history in `!` inside quotes, fish takes one of two backslashes away. A
//! command that has one of them travels as octal digits, which no shell reads anything into, and is put together by `sh`.
//!
//! ssh says 255 of its own failures, and so do programs of theirs: sbatch(1) of every option that it does not know. So no
//! command may end with 255 there; `sh`, which waits for it, says [`INSTEAD_OF_255`]. It also has a number for a program that a
//! signal ended, for which ssh has none.

use crate::call::Call;

/// The exit status that stands for 255.
pub(crate) const INSTEAD_OF_255: i32 = 254;

/// What `sh` does with words that may stand as they are.
const RUN: &str = r#""$0" "$@"; s=$?; if [ $s = 255 ]; then s=254; fi; exit $s"#;

/// What `sh` does with the digits.
const DECODE: &str = r#"eval "$(printf %b "$0")"; s=$?; if [ $s = 255 ]; then s=254; fi; exit $s"#;

/// What `sh` is given for a command, to be quoted and sent.
pub(crate) fn for_any_shell(call: &Call) -> Vec<String> {
    let words = || std::iter::once(&call.program).chain(&call.arguments);
    let (script, words) = if words().any(|word| word.contains(['\n', '!', '\\'])) {
        let line: Vec<String> = words()
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        (DECODE, vec![in_octal(&line.join(" "))])
    } else {
        (RUN, words().cloned().collect())
    };
    ["-c", script].map(str::to_owned).into_iter().chain(words).collect()
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

    fn run(sent: &[String]) -> std::process::Output {
        std::process::Command::new("sh").args(sent).output().unwrap()
    }

    #[test]
    fn ordinary_words_stay_readable() {
        let plain = call(&["%s,", "a b", "it's $(x)", "Größe"]);
        let sent = for_any_shell(&plain);
        assert_eq!(sent[2], "printf");
        assert_eq!(sent[3..], plain.arguments);
        assert_eq!(run(&sent).stdout, "a b,it's $(x),Größe,".as_bytes());
    }

    #[test]
    fn no_command_ends_with_what_ssh_says_of_itself() {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", INSTEAD_OF_255),
            ("exit 255 # !", INSTEAD_OF_255),
            ("kill -9 $$", 128 + 9),
            ("kill -9 $$ # !", 128 + 9),
        ] {
            let call = Call {
                program: "sh".into(),
                arguments: vec!["-c".into(), script.into()],
                stdin: Vec::new(),
            };
            assert_eq!(run(&for_any_shell(&call)).status.code(), Some(status), "{script}");
        }
        let missing = Call {
            program: "no-such-program".into(),
            arguments: Vec::new(),
            stdin: Vec::new(),
        };
        assert_eq!(run(&for_any_shell(&missing)).status.code(), Some(127));
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
        let sent = for_any_shell(&hard);
        let digits = sent.last().unwrap();
        assert!(digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'\\') && !digits.contains("\\\\"));
        let said = String::from_utf8(run(&sent).stdout).unwrap();
        assert_eq!(said.split_terminator('\0').collect::<Vec<_>>(), words);
    }
}
