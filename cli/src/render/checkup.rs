//! What `doctor` says to people: a line a check, under it what to do, and a line that sums up.

use std::time::Duration;

use codeswarm_doctor::{Check, Status};

use super::colours::{Colours, Look};

/// How wide the words `warning` and a check's name are.
const STATUS: usize = 8;
const NAME: usize = 19;

/// A check; lines are broken at `columns`, if there is such a width.
pub fn check(colours: Colours, columns: Option<usize>, check: &Check) -> String {
    let verdict = &check.verdict;
    let look = match verdict.status {
        Status::Ok => Look::Good,
        Status::Warning => Look::Warn,
        Status::Failure => Look::Bad,
        Status::Skipped => Look::Dim,
    };
    let word = colours.paint(look, verdict.status.as_str());
    let gap = " ".repeat(STATUS.saturating_sub(verdict.status.as_str().len()));
    let mut text = format!("{word}{gap} {:<NAME$} ", check.name.to_string());
    let seen = broken(&verdict.seen, columns, STATUS + NAME + 2);
    if verdict.status == Status::Skipped {
        text.push_str(&colours.paint(Look::Dim, &seen));
    } else {
        text.push_str(&seen);
    }
    text.push('\n');
    if !verdict.advice.is_empty() {
        let indent = STATUS + NAME + 4;
        let advice = broken(&verdict.advice, columns, indent);
        text.push_str(&format!("{}→ {advice}\n", " ".repeat(indent - 2)));
    }
    text
}

/// Breaks a text into lines of words, all but the first indented.
fn broken(text: &str, columns: Option<usize>, indent: usize) -> String {
    let clean: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let Some(width) = columns.map(|columns| columns.saturating_sub(indent).max(30)) else {
        return clean;
    };
    let mut lines: Vec<String> = Vec::new();
    for word in clean.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// How many checks ended how, and what follows.
pub fn summary(colours: Colours, checks: &[Check], took: Duration) -> String {
    let count = |status| checks.iter().filter(|check| check.verdict.status == status).count();
    let (failures, warnings, skipped) = (count(Status::Failure), count(Status::Warning), count(Status::Skipped));
    let many = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let mut parts = vec![
        format!("{} ok", count(Status::Ok)),
        many(warnings, "warning"),
        many(failures, "failure"),
    ];
    if skipped > 0 {
        parts.push(format!("{skipped} skipped"));
    }
    let counts = format!("{} in {:.1} s", parts.join(", "), took.as_secs_f64());
    let first = checks.iter().find(|check| check.verdict.status == Status::Failure);
    match first {
        Some(first) => {
            let told = format!("A launch cannot work: mend `{}` first", first.name);
            format!("{} ({counts}).\n", colours.paint(Look::Bad, &told))
        }
        None if skipped > 0 => format!(
            "{} ({counts}).\n",
            colours.paint(Look::Good, "Nothing that was looked at is in the way of a launch")
        ),
        None => format!("{} ({counts}).\n", colours.paint(Look::Good, "A launch can work")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codeswarm_doctor::{Name, Verdict};

    fn of(name: Name, verdict: Verdict) -> Check {
        Check {
            name,
            verdict,
            seconds: 0.1,
        }
    }

    #[test]
    fn a_check_is_a_line_and_its_advice_another() {
        let failure = of(
            Name::SlurmCommands,
            Verdict::failure("sbatch is not there", "set PATH in ~/.bashrc"),
        );
        assert_eq!(
            check(Colours::OFF, None, &failure),
            "failure  slurm commands      sbatch is not there\n                             → set PATH in ~/.bashrc\n"
        );
        let narrow = check(
            Colours::OFF,
            Some(60),
            &of(Name::Ssh, Verdict::ok("one two three four five six seven")),
        );
        assert_eq!(
            narrow,
            "ok       ssh                 one two three four five six\n                             seven\n"
        );
        assert!(check(Colours::ON, None, &failure).starts_with("\u{1b}[31mfailure\u{1b}[0m  slurm"));
    }

    #[test]
    fn nothing_of_a_check_is_obeyed_by_a_terminal() {
        let odd = of(Name::LoginShell, Verdict::warning("\u{1b}]0;x\u{7}", "a\nb"));
        let shown = check(Colours::OFF, None, &odd);
        assert!(!shown.contains('\u{1b}') && shown.contains("a b"), "{shown:?}");
    }

    #[test]
    fn the_last_line_names_what_to_mend_first() {
        let took = Duration::from_millis(3210);
        let good = [
            of(Name::Ssh, Verdict::ok("")),
            of(Name::Partition, Verdict::warning("", "")),
        ];
        assert_eq!(
            summary(Colours::OFF, &good, took),
            "A launch can work (1 ok, 1 warning, 0 failures in 3.2 s).\n"
        );
        let bad = [
            of(Name::Ssh, Verdict::failure("", "")),
            of(Name::Partition, Verdict::skipped("")),
        ];
        assert_eq!(
            summary(Colours::OFF, &bad, took),
            "A launch cannot work: mend `ssh` first (0 ok, 0 warnings, 1 failure, 1 skipped in 3.2 s).\n"
        );
    }
}
