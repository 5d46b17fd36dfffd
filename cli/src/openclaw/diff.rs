//! A change of a text, shown line by line.

/// How many unchanged lines are shown around a change.
const CONTEXT: usize = 2;
/// A text that comes or goes as a whole is shown up to so many lines.
const WHOLE: usize = 40;

/// What becomes of `before`; each line is indented and marked.
pub fn lines(before: Option<&str>, after: Option<&str>) -> String {
    match (before, after) {
        (None, Some(text)) => whole('+', text),
        (Some(text), None) => whole('-', text),
        (Some(before), Some(after)) => {
            let before: Vec<&str> = before.lines().collect();
            let after: Vec<&str> = after.lines().collect();
            shortened(&marked(&before, &after))
        }
        (None, None) => String::new(),
    }
}

fn whole(mark: char, text: &str) -> String {
    let count = text.lines().count();
    let shown = if count > WHOLE { 3 } else { count };
    let mut said: String = text
        .lines()
        .take(shown)
        .map(|line| format!("  {mark} {line}\n"))
        .collect();
    if shown < count {
        said.push_str(&format!("  {mark} … ({} more lines)\n", count - shown));
    }
    said
}

/// All lines with their marks: what is common to both, in the longest way.
fn marked<'t>(before: &[&'t str], after: &[&'t str]) -> Vec<(char, &'t str)> {
    // How many lines are common from here on; one more row and column of zeros.
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            common[i][j] = match old == new {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut said) = (0, 0, Vec::new());
    loop {
        match (before.get(i), after.get(j)) {
            (Some(old), Some(new)) if old == new => {
                said.push((' ', *old));
                (i, j) = (i + 1, j + 1);
            }
            (Some(old), new) if new.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                said.push(('-', *old));
                i += 1;
            }
            (_, Some(new)) => {
                said.push(('+', *new));
                j += 1;
            }
            _ => return said,
        }
    }
}

fn shortened(marked: &[(char, &str)]) -> String {
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        marked[from..marked.len().min(at + CONTEXT + 1)]
            .iter()
            .any(|(mark, _)| *mark != ' ')
    };
    let (mut text, mut is_left_out) = (String::new(), false);
    for (at, (mark, line)) in marked.iter().enumerate() {
        if near(at) {
            text.push_str(&format!("  {mark} {line}\n"));
            is_left_out = false;
        } else if !is_left_out {
            text.push_str("    …\n");
            is_left_out = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let before = "a\nb\nc\nd\ne\nf\n";
        let after = "a\nb\nc\nX\nY\ne\nf\ng\n";
        assert_eq!(
            lines(Some(before), Some(after)),
            "    …\n    b\n    c\n  - d\n  + X\n  + Y\n    e\n    f\n  + g\n"
        );
        assert_eq!(lines(Some(before), Some(before)), "    …\n");
    }

    #[test]
    fn a_long_text_that_comes_is_counted() {
        assert_eq!(lines(None, Some("a\nb\n")), "  + a\n  + b\n");
        let long = "x\n".repeat(90);
        assert_eq!(lines(Some(&long), None), "  - x\n  - x\n  - x\n  - … (87 more lines)\n");
    }
}
