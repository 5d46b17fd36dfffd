//! Holds a file against the shape it must have: unknown and duplicate keys, wrong types, numbers out of range, unknown
//! words, missing keys. Everything is reported, not only the first.

use serde_json::Value;

use crate::located::{Located, Member, Node, shortened};
use crate::nearest::nearest;
use crate::shape::{Key, Shape, Word};

/// A problem at a byte of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub offset: usize,
    pub key: String,
    pub message: String,
}

/// All problems of `tree`, in no particular order.
pub(crate) fn check(tree: &Located, file: &Shape) -> Vec<Problem> {
    let mut check = Check {
        file,
        problems: Vec::new(),
    };
    if let Node::Object(_) = tree.node {
        check.value("", tree, file);
        check.duplicates("", tree);
    } else {
        check.report(
            tree.offset,
            "",
            format!("is {}; a configuration is an object, `{{…}}`", tree.describe()),
        );
    }
    check.problems
}

/// `key` below `path`; a key that is no plain word goes into brackets.
pub(crate) fn dotted(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (path.is_empty(), plain) {
        (_, false) => format!("{path}[{}]", shortened(key)),
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
    }
}

struct Check<'s> {
    file: &'s Shape,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, offset: usize, key: &str, message: String) {
        self.problems.push(Problem {
            offset,
            key: key.to_owned(),
            message,
        });
    }

    fn value(&mut self, path: &str, value: &Located, shape: &Shape) {
        match (shape, &value.node) {
            (Shape::Anything, _) => {}
            (Shape::Either(shapes), _) => {
                // The one of the same kind tells best what is wrong.
                let fits = |shape: &&Shape| match shape {
                    Shape::Section(_) | Shape::Map(_) => matches!(value.node, Node::Object(_)),
                    Shape::Words(_) | Shape::Text => value.is_text(),
                    _ => false,
                };
                match shapes.iter().find(fits) {
                    Some(shape) => self.value(path, value, shape),
                    None => self.report(
                        value.offset,
                        path,
                        format!("expected {}, found {}", shape.expected(), value.describe()),
                    ),
                }
            }
            (Shape::Section(keys), Node::Object(members)) => self.section(path, value, keys, members),
            (Shape::Map(values), Node::Object(members)) => {
                for member in members {
                    // Strings under free names are the agent's; any character may be meant.
                    if !(**values == Shape::Text && member.value.is_text()) {
                        self.value(&dotted(path, &member.key), &member.value, values);
                    }
                }
            }
            (Shape::List(items), Node::Array(values)) => {
                for (index, item) in values.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, items);
                }
            }
            (Shape::Words(words), Node::Scalar(Value::String(written))) => self.word(path, value, words, written),
            (Shape::Text, Node::Scalar(Value::String(text))) => {
                if let Some(control) = text.chars().find(|c| c.is_control()) {
                    self.report(value.offset, path, format!("has the control character {control:?}"));
                }
            }
            (Shape::Flag, Node::Scalar(Value::Bool(_))) => {}
            (Shape::Whole { least, most }, Node::Scalar(Value::Number(number)))
                if number.as_u64().is_some_and(|n| (*least..=*most).contains(&n)) => {}
            (Shape::Flag | Shape::Whole { .. }, Node::Scalar(Value::String(text)))
                if matches!(
                    (shape, serde_json::from_str(text)),
                    (Shape::Flag, Ok(Value::Bool(_))) | (Shape::Whole { .. }, Ok(Value::Number(_)))
                ) =>
            {
                let (expected, found) = (shape.expected(), value.describe());
                self.report(
                    value.offset,
                    path,
                    format!("expected {expected}, found {found}; write it without quotes"),
                );
            }
            _ => self.report(
                value.offset,
                path,
                format!("expected {}, found {}", shape.expected(), value.describe()),
            ),
        }
    }

    fn section(&mut self, path: &str, section: &Located, keys: &[Key], members: &[Member]) {
        for member in members {
            let name = dotted(path, &member.key);
            match keys.iter().find(|key| key.name == member.key) {
                None => self.unknown(&name, member, keys),
                Some(key) if key.nullable && member.value.node == Node::Scalar(Value::Null) => {}
                Some(key) if key.shape == Shape::Text && member.value.node == Node::Scalar("".into()) => {
                    let message = match key.required {
                        true => "is empty",
                        false => "is empty; leave the key out if it has no value",
                    };
                    self.report(member.value.offset, &name, message.to_owned());
                }
                Some(key) => self.value(&name, &member.value, &key.shape),
            }
        }
        for key in keys
            .iter()
            .filter(|key| key.required && section.member(&key.name).is_none())
        {
            self.report(
                section.offset,
                &dotted(path, &key.name),
                format!("is missing; expected {}", key.shape.expected()),
            );
        }
    }

    fn unknown(&mut self, name: &str, member: &Member, keys: &[Key]) {
        let known = || keys.iter().map(|key| key.name.as_str());
        // First what this section has, then whether the key was only written into the wrong section.
        let meant = nearest(&member.key, known()).map(str::to_owned).or_else(|| {
            let everywhere = self.file.dotted_keys();
            everywhere
                .into_iter()
                .find(|(_, key)| key.name == member.key)
                .map(|(dotted, _)| dotted)
        });
        let message = match meant {
            Some(meant) => format!("unknown key; did you mean {meant:?}?"),
            None => format!("unknown key; known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.report(member.key_offset, name, message);
    }

    fn word(&mut self, path: &str, value: &Located, words: &[Word], written: &str) {
        if words.iter().any(|word| word.word == written) {
            return;
        }
        let expected = Shape::Words(words.to_vec()).expected();
        let meant = match nearest(written, words.iter().map(|word| word.word.as_str())) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None => String::new(),
        };
        self.report(
            value.offset,
            path,
            format!("expected {expected}, found {}{meant}", value.describe()),
        );
    }

    /// A key that stands twice in one object, at any depth, also where anything is allowed.
    fn duplicates(&mut self, path: &str, value: &Located) {
        match &value.node {
            Node::Object(members) => {
                for (index, member) in members.iter().enumerate() {
                    let name = dotted(path, &member.key);
                    if members[..index].iter().any(|earlier| earlier.key == member.key) {
                        self.report(
                            member.key_offset,
                            &name,
                            "stands twice in the same object; keep one".to_owned(),
                        );
                    }
                    self.duplicates(&name, &member.value);
                }
            }
            Node::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.duplicates(&format!("{path}[{index}]"), item);
                }
            }
            Node::Scalar(_) => {}
        }
    }
}
