//! The page `docs/CONFIGURATION.md`, made from the shape of the file.

use std::fmt::Write as _;

use crate::shape::{Key, Shape, file_shape};

/// What no type can say: how the file is found, written and read.
const INTRODUCTION: &str = include_str!("reference_introduction.md");

/// Defaults that depend on other keys, which the types therefore leave open.
const DEPENDENT_DEFAULTS: [(&str, &str); 6] = [
    ("agent.kind", "`\"codex\"` with Slurm, else `\"echo\"`"),
    (
        "cluster.backend",
        "`\"slurm\"` if there is an `ssh` section, else `\"local\"`",
    ),
    (
        "cluster.workspace_root",
        "with Slurm none, it must be written; else the [state folder](#paths)",
    ),
    ("cluster.doorbell", "`\"auto\"`"),
    ("cluster.cluster_subdir", "`\"codeswarm\"` with Slurm, else `\"local\"`"),
    (
        "router.state_dir",
        "`router-<number>` in the [state folder](#paths), another number for each mailbox",
    ),
];

/// The reference page in Markdown, as it is committed in `docs/CONFIGURATION.md`.
pub fn reference_page() -> String {
    let mut page = String::from(INTRODUCTION);
    if let Shape::Section(sections) = file_shape() {
        for key in &sections {
            section(&mut page, "", key);
        }
    }
    page
}

/// A heading and a table for one section, then the sections inside it.
fn section(page: &mut String, path: &str, section_key: &Key) {
    let Shape::Section(keys) = &section_key.shape else {
        return;
    };
    let name = format!("{path}{}", section_key.name);
    let (inner, plain): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| matches!(key.shape, Shape::Section(_)));
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## `{name}`\n\n{}\n\n", section_key.meaning);
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in plain {
        let dotted = format!("{name}.{}", key.name);
        let _ = writeln!(
            page,
            "| `{dotted}` | {} | {} | {} |",
            cell(&type_of(&key.shape)),
            cell(&default_of(&dotted, key)),
            cell(&meaning_of(key))
        );
    }
    for key in inner {
        section(page, &format!("{name}."), key);
    }
}

fn type_of(shape: &Shape) -> String {
    match shape {
        Shape::Words(words) => words
            .iter()
            .map(|w| format!("`{:?}`", w.word))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Map(values) if **values == Shape::Text => "object of strings".to_owned(),
        Shape::Flag => "`true`, `false`".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(type_of).collect::<Vec<_>>().join(", "),
        Shape::Section(_) => format!("`{}`", shape.alternative().trim_start_matches("an object ")),
        other => other
            .expected()
            .trim_start_matches("an ")
            .trim_start_matches("a ")
            .to_owned(),
    }
}

fn default_of(dotted: &str, key: &Key) -> String {
    if let Some((_, words)) = DEPENDENT_DEFAULTS.iter().find(|(name, _)| *name == dotted) {
        return (*words).to_owned();
    }
    match &key.default {
        Some(value) => format!("`{value}`"),
        None if key.required => "none, it must be written".to_owned(),
        None => "absent".to_owned(),
    }
}

fn meaning_of(key: &Key) -> String {
    let mut meaning = key.meaning.clone();
    let shapes = match &key.shape {
        Shape::Either(shapes) => shapes.as_slice(),
        shape => std::slice::from_ref(shape),
    };
    for shape in shapes {
        let inner = match shape {
            Shape::Words(words) => words.iter().map(|word| (&word.word, &word.meaning)).collect(),
            Shape::Section(keys) => keys.iter().map(|key| (&key.name, &key.meaning)).collect(),
            _ => Vec::new(),
        };
        for (word, means) in inner {
            let _ = write!(meaning, " `{word:?}`: {means}");
        }
    }
    meaning
}

/// A text that cannot end its table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependent_defaults_belong_to_keys() {
        let file = file_shape();
        let keys = file.dotted_keys();
        for (name, _) in DEPENDENT_DEFAULTS {
            assert!(keys.iter().any(|(key, _)| key == name), "there is no key {name}");
        }
    }

    #[test]
    fn every_key_is_on_the_page() {
        let page = reference_page();
        for (name, key) in file_shape().dotted_keys() {
            let entry = match key.shape {
                Shape::Section(_) => format!("## `{name}`"),
                _ => format!("| `{name}` |"),
            };
            assert!(page.contains(&entry), "{name} is missing");
        }
    }
}
