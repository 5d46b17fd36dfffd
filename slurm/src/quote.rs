//! Quoting for the two readers of a batch script: the shell, and sbatch's own reader of `#SBATCH` lines.

/// One word for a POSIX shell.
pub(crate) fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// One word for a `#SBATCH` line. sbatch takes a backslash as an escape also within single quotes, a `#` outside of quotes
/// as the start of a comment, and rewrites `packjob` to `hetjob` wherever it stands (tried on 22.05), hence the backslash
/// within that word.
pub(crate) fn for_directive(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 8);
    let lower = word.to_ascii_lowercase();
    let escaped: Vec<usize> = lower.match_indices("packjob").map(|(at, _)| at + 4).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+%*".contains(c);
    for (at, c) in word.char_indices() {
        if matches!(c, '"' | '\\') || escaped.contains(&at) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    if word.chars().all(plain) {
        quoted
    } else {
        format!("\"{quoted}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(for_directive("--x=/PackJob/1"), r"--x=/Pack\Job/1");
    }
}
