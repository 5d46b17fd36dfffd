//! What was seen means: ok, a warning or a failure, and what to do. Functions of values; nothing is looked at here.

pub mod login;
pub mod node;
pub mod slurm;
pub mod workspace;

use codeswarm_link::{RunError, Trouble};
use codeswarm_slurm::SlurmError;

use crate::check::Verdict;

/// What keeps us from the login node, as a link tells it.
pub fn trouble(trouble: &Trouble) -> Verdict {
    Verdict::failure(&trouble.what, once(&trouble.advice)).passing(!trouble.kind.is_lasting())
}

/// A link tries again by itself; the doctor does not.
fn once(advice: &str) -> &str {
    let advice = advice.strip_prefix("it is tried again; ").unwrap_or(advice);
    let advice = advice.strip_suffix("; it is tried again").unwrap_or(advice);
    let advice = advice.strip_suffix(" It is tried again").unwrap_or(advice);
    if advice == "it is tried again" {
        "try again"
    } else {
        advice
    }
}

/// What Slurm's commands say when they fail, as a launch tells it.
pub fn slurm_error(error: &SlurmError) -> Verdict {
    let (whole, advice) = (error.to_string(), error.advice());
    let seen = whole
        .strip_suffix(advice)
        .map_or(whole.as_str(), |seen| seen.trim_end_matches("; "));
    Verdict::failure(seen, advice).passing(error.may_pass())
}

/// A command on the login node that has no answer.
pub fn run_error(error: &RunError) -> Verdict {
    match error {
        RunError::NotConnected { trouble: why, .. } => trouble(why),
        RunError::MayHaveRun { .. } => {
            Verdict::failure(error.to_string(), "is the login node slow? Try again").passing(true)
        }
        RunError::NotFound { .. } | RunError::TooMuchOutput { .. } => {
            Verdict::failure(error.to_string(), "run it on the login node by hand")
        }
    }
}

/// A duration as people read it.
pub fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => "under 1 ms".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut left = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB", "TiB"] {
        if left < 1024.0 {
            let digits = usize::from(left < 10.0 && unit != "bytes");
            return format!("{left:.digits$} {unit}");
        }
        left /= 1024.0;
    }
    format!("{left:.1} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_that_only_a_link_does() {
        for (told, left) in [
            ("it is tried again; is the network up?", "is the network up?"),
            ("mend what it names; it is tried again", "mend what it names"),
            ("is the VPN up? It is tried again", "is the VPN up?"),
            ("it is tried again", "try again"),
        ] {
            assert_eq!(once(told), left);
        }
    }

    #[test]
    fn quantities_are_short() {
        let spans = [0.0001, 0.0123, 1.25, 300.0].map(span);
        assert_eq!(spans, ["under 1 ms", "12 ms", "1.2 s", "5 min"]);
        let sizes = [12, 2048, 50 << 20, 3 << 30, 5 << 50].map(size);
        assert_eq!(sizes, ["12 bytes", "2.0 KiB", "50 MiB", "3.0 GiB", "5.0 PiB"]);
    }

    #[test]
    fn slurm_s_words_and_the_advice_are_told_apart() {
        let error = SlurmError::MissingCommand {
            command: "sbatch",
            said: "sbatch: command not found".into(),
        };
        let verdict = slurm_error(&error);
        assert_eq!(
            verdict.seen,
            "sbatch cannot be run on the login node (sbatch: command not found)"
        );
        assert_eq!(verdict.advice, error.advice());
    }
}
