//! What the end of a channel means. Pure.

use crate::trouble::{Moment, Trouble, TroubleKind, of_ssh};

/// The most that a command may print on each of its outputs, in bytes.
pub(crate) const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It ended with this exit status.
    Ended(i32),
    /// The remote shell did not find it.
    NotFound,
    /// It was never started.
    NotStarted(Trouble),
    /// It may have run.
    Unknown(String),
}

/// What the end of a channel means: the exit status of ssh (`None` for 255, which is its own) and what came on standard error.
pub(crate) fn meaning_of(alias: &str, program: &str, code: Option<i32>, stderr: &[u8]) -> Meaning {
    match code {
        Some(127) => return Meaning::NotFound,
        // csh has no status of its own for it.
        Some(1) if stderr.trim_ascii() == format!("{program}: Command not found.").as_bytes() => {
            return Meaning::NotFound;
        }
        Some(code) => return Meaning::Ended(code),
        None => {}
    }
    let words = String::from_utf8_lossy(stderr);
    let trouble = of_ssh(alias, &words, Moment::Channel);
    // Only of these it is certain that no command was sent; and ssh says them last, whatever a program has said before.
    let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let unsent = ["hostname none:", "connect to host none"];
    if unsent.iter().any(|part| last.contains(part)) {
        return Meaning::NotStarted(match trouble.kind {
            TroubleKind::Busy => trouble,
            _ => of_ssh(alias, last, Moment::Channel),
        });
    }
    if last.trim().is_empty() {
        return Meaning::Unknown(format!("the channel to {alias} ended without an exit status"));
    }
    Meaning::Unknown(trouble.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_is_an_answer_and_127_is_no_program() {
        assert_eq!(meaning_of("hpc", "sbatch", Some(0), b""), Meaning::Ended(0));
        assert_eq!(
            meaning_of("hpc", "sbatch", Some(1), b"Connection closed"),
            Meaning::Ended(1)
        );
        assert_eq!(
            meaning_of("hpc", "sbatch", Some(127), b"sh: sbatch: not found"),
            Meaning::NotFound
        );
    }

    #[test]
    fn what_certainly_did_not_run_is_told_apart_from_what_may_have() {
        let gone = b"Control socket connect(/s/m): Connection refused\nssh: Could not resolve hostname none: Name or service not known\n";
        let full = b"mux_client_request_session: session request failed: Session open refused by peer\r\nssh: Could not resolve hostname none: Name or service not known\n";
        let Meaning::NotStarted(trouble) = meaning_of("hpc", "sbatch", None, gone) else {
            panic!("it did not run")
        };
        assert_eq!(trouble.kind, TroubleKind::Closed);
        let Meaning::NotStarted(trouble) = meaning_of("hpc", "sbatch", None, full) else {
            panic!("it did not run")
        };
        assert_eq!(trouble.kind, TroubleKind::Busy);
        for words in [
            &b""[..],
            b"mux_client_read_packet_timeout: read header failed: Broken pipe\n",
            b"Shared connection to 127.0.0.1 closed.\n",
            b"ssh: Could not resolve hostname none: said by the program\nand then it died\n",
        ] {
            assert!(
                matches!(meaning_of("hpc", "sbatch", None, words), Meaning::Unknown(_)),
                "{words:?}"
            );
        }
    }
}
