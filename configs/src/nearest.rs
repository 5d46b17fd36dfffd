//! The name that somebody probably meant.

/// Below this similarity a suggestion confuses more than it helps.
const LEAST_SIMILARITY: f64 = 0.55;

/// The known name that is most like `written`, whatever its case and separators, if one is like it at all.
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let written = plain(written);
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&written, &plain(name)), name))
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["inject_timeout_seconds", "state_dir", "max_prompt_bytes"];
        assert_eq!(nearest("inject_timeout_secnds", known), Some("inject_timeout_seconds"));
        assert_eq!(nearest("injectTimeoutSeconds", known), Some("inject_timeout_seconds"));
        assert_eq!(nearest("State-Dir", known), Some("state_dir"));
        assert_eq!(nearest("inject_timeout", known), Some("inject_timeout_seconds"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
