//! What single values must keep beyond their type. Each rule says what is wrong, in words that follow the key's name.

use std::path::{Component, Path};

/// An ssh host that cannot be taken for an option of ssh.
pub(crate) fn login_alias(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        return Err("begins with `-`, which ssh would take for an option".to_owned());
    }
    if text.chars().any(char::is_whitespace) {
        return Err("has a blank; it is one host, alias or `user@host`".to_owned());
    }
    Ok(())
}

/// A folder that stays below the workspace.
pub(crate) fn cluster_subdir(text: &str) -> Result<(), String> {
    let plain = Path::new(text)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(())
    } else {
        Err("is not a folder below workspace_root; write it without `/` first, `.` and `..`".to_owned())
    }
}

/// A path on another machine, where nothing can be expanded.
pub(crate) fn remote_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(
            "is a path on the cluster and must be absolute; `~` and relative paths are not expanded there".to_owned(),
        );
    }
    if text.contains("${") {
        return Err("is a path on the cluster, where `${…}` is not expanded; write it out".to_owned());
    }
    if Path::new(text).components().any(|part| part == Component::ParentDir) {
        return Err("has `..`; write the path straight".to_owned());
    }
    Ok(())
}

/// An option of `sbatch`, written whole.
pub(crate) fn sbatch_argument(text: &str) -> Result<(), String> {
    if text.starts_with('-') && !text.trim_start_matches('-').is_empty() {
        Ok(())
    } else {
        Err("is not an option; write option and value in one string, such as \"--reservation=tuesday\"".to_owned())
    }
}

/// A time limit as sbatch(1) describes it under `--time`, or the word for none.
pub(crate) fn time_limit(text: &str) -> Result<(), String> {
    let numbers = |text: &str| {
        text.split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let fits = match text.split_once('-') {
        Some((days, hours)) => numbers(days) && !days.contains(':') && numbers(hours) && hours.split(':').count() <= 3,
        None => numbers(text) && text.split(':').count() <= 3,
    };
    if fits || text.eq_ignore_ascii_case("unlimited") || text.eq_ignore_ascii_case("infinite") {
        return Ok(());
    }
    Err(
        "is not a time limit; write minutes (\"90\"), \"hours:minutes:seconds\" or \"days-hours:minutes:seconds\""
            .to_owned(),
    )
}

/// Whether a variable of this name usually holds a secret.
pub(crate) fn names_a_secret(variable: &str) -> bool {
    let variable = variable.to_ascii_uppercase();
    ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"]
        .iter()
        .any(|ending| variable.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["hpcfund", "ada@login.cluster.edu", "10.0.0.1"] {
            assert_eq!(login_alias(good), Ok(()), "{good}");
        }
        for bad in ["-oProxyCommand=reboot", "a b", "a\tb"] {
            assert!(login_alias(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_below_the_workspace() {
        for good in ["codeswarm", "a/b", "..a"] {
            assert_eq!(cluster_subdir(good), Ok(()), "{good}");
        }
        for bad in ["/a", "..", "a/../b", "./a", "."] {
            assert!(cluster_subdir(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_on_the_cluster() {
        assert_eq!(remote_path("/work1/amd/ada"), Ok(()));
        for bad in ["~/w", "w", "/w/${USER}", "/w/../x", "${WORK}/x"] {
            assert!(remote_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options() {
        for good in ["--exclusive", "--mail-type=END", "-t10", "-N1"] {
            assert_eq!(sbatch_argument(good), Ok(()), "{good}");
        }
        for bad in ["exclusive", "", "-", "--"] {
            assert!(sbatch_argument(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_limits() {
        for good in [
            "90",
            "90:00",
            "1:30:00",
            "2-0",
            "2-12:30",
            "2-12:30:00",
            "UNLIMITED",
            "infinite",
        ] {
            assert_eq!(time_limit(good), Ok(()), "{good}");
        }
        for bad in ["", "1h", "1:2:3:4", "1-", "-1", "1:-2", "1:2-3", "1-2-3", "1::2"] {
            assert!(time_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets() {
        for secret in ["OPENAI_API_KEY", "Hf_Token", "AWS_SECRET", "PG_PASSWORD"] {
            assert!(names_a_secret(secret), "{secret}");
        }
        for plain in ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM"] {
            assert!(!names_a_secret(plain), "{plain}");
        }
    }
}
