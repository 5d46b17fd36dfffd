//! Which keys there are and what each takes, read off the types in [`crate::file`] by way of their JSON Schema.
//!
//! The check of a file and the reference page both work from this, so neither can forget a key.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::file::ConfigFile;

/// A key of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub name: String,
    pub meaning: String,
    pub shape: Shape,
    pub required: bool,
    /// `null` means the same as leaving it out.
    pub nullable: bool,
    pub default: Option<Value>,
}

/// What a value must look like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// These keys and no other.
    Section(Vec<Key>),
    /// One of these words.
    Words(Vec<Word>),
    Text,
    Flag,
    /// A whole number within bounds, both included.
    Whole {
        least: u64,
        most: u64,
    },
    List(Box<Shape>),
    /// Any keys, values of one shape.
    Map(Box<Shape>),
    /// A value of one of these shapes.
    Either(Vec<Shape>),
    /// Any JSON.
    Anything,
}

/// A word and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub word: String,
    pub meaning: String,
}

/// The shape of a whole file.
pub(crate) fn file_shape() -> Shape {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    shape(
        settings
            .into_generator()
            .into_root_schema_for::<ConfigFile>()
            .as_value(),
    )
}

/// The shape of `cluster.slurm` alone.
pub(crate) fn slurm_shape() -> Shape {
    let slurm = file_shape()
        .dotted_keys()
        .into_iter()
        .find(|(dotted, _)| dotted == "cluster.slurm")
        .map(|(_, key)| key.shape.clone());
    slurm.unwrap_or(Shape::Anything)
}

fn shape(schema: &Value) -> Shape {
    if let Some(words) = words(schema) {
        return Shape::Words(words);
    }
    if let Some(actual) = without_null(schema) {
        return shape(actual);
    }
    if let Some(Value::Array(shapes)) = schema.get("anyOf") {
        return Shape::Either(shapes.iter().map(shape).collect());
    }
    match type_name(schema) {
        Some("object") => match (schema.get("properties"), schema.get("additionalProperties")) {
            (Some(Value::Object(properties)), _) => Shape::Section(keys(schema, properties)),
            (None, Some(values @ Value::Object(_))) => Shape::Map(Box::new(shape(values))),
            _ => Shape::Map(Box::new(Shape::Anything)),
        },
        Some("array") => Shape::List(Box::new(schema.get("items").map_or(Shape::Anything, shape))),
        Some("string") => Shape::Text,
        Some("boolean") => Shape::Flag,
        Some("integer") => {
            let bound = |name| schema.get(name).and_then(Value::as_u64);
            Shape::Whole {
                least: bound("minimum").unwrap_or(0),
                most: bound("maximum").unwrap_or(u64::MAX),
            }
        }
        _ => Shape::Anything,
    }
}

fn keys(schema: &Value, properties: &Map<String, Value>) -> Vec<Key> {
    let is_required = |name: &str| {
        schema
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|n| n == name))
    };
    let mut keys: Vec<Key> = properties
        .iter()
        .map(|(name, property)| Key {
            name: name.clone(),
            meaning: text_of(property, "description"),
            shape: shape(property),
            required: is_required(name),
            nullable: without_null(property).is_some() || type_list(property).any(|t| t == "null"),
            default: property.get("default").filter(|value| !value.is_null()).cloned(),
        })
        .collect();
    // serde_json orders a map by insertion or by name, as its features (any crate may set them) want; we do not depend on it.
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    keys
}

/// The words of an enumeration: `oneOf` constants where variants have doc comments, a plain `enum` where they have none.
fn words(schema: &Value) -> Option<Vec<Word>> {
    let listed = |list: &Vec<Value>, word: fn(&Value) -> Option<Word>| list.iter().map(word).collect::<Option<_>>();
    match (schema.get("oneOf"), schema.get("enum")) {
        (Some(Value::Array(variants)), _) => listed(variants, |variant| {
            let word = variant.get("const")?.as_str()?.to_owned();
            Some(Word {
                word,
                meaning: text_of(variant, "description"),
            })
        }),
        (None, Some(Value::Array(constants))) => listed(constants, |constant| {
            Some(Word {
                word: constant.as_str()?.to_owned(),
                meaning: String::new(),
            })
        }),
        _ => None,
    }
}

/// What `anyOf: [X, null]` may be besides null.
fn without_null(schema: &Value) -> Option<&Value> {
    match schema.get("anyOf")?.as_array()?.as_slice() {
        [actual, null] | [null, actual] if type_name(null).is_none() && type_list(null).eq(["null"]) => Some(actual),
        _ => None,
    }
}

/// All names under `type`, which is a name or a list of names.
fn type_list(schema: &Value) -> impl Iterator<Item = &str> {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => vec![],
    }
    .into_iter()
}

fn type_name(schema: &Value) -> Option<&str> {
    type_list(schema).find(|name| *name != "null")
}

/// A description with its line breaks, which are the source's, taken out.
fn text_of(schema: &Value, name: &str) -> String {
    schema
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .replace('\n', " ")
}

impl Shape {
    /// What is expected, in the words of an error message.
    pub fn expected(&self) -> String {
        match self {
            Self::Section(_) | Self::Map(_) => "an object".to_owned(),
            Self::Either(shapes) => shapes.iter().map(Self::alternative).collect::<Vec<_>>().join(", or "),
            Self::Words(words) => {
                format!(
                    "one of {}",
                    words
                        .iter()
                        .map(|w| format!("{:?}", w.word))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
            Self::Text => "a string".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Whole { least, most } if *most == u64::MAX => format!("a whole number from {least}"),
            Self::Whole { least, most } => format!("a whole number from {least} to {most}"),
            Self::List(item) if **item == Self::Text => "a list of strings".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Anything => "any value".to_owned(),
        }
    }

    /// The same as one of several: an object with the keys that tell it.
    pub fn alternative(&self) -> String {
        match self {
            Self::Section(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| format!("{:?}: …", key.name)).collect();
                format!("an object {{{}}}", keys.join(", "))
            }
            other => other.expected(),
        }
    }

    /// The dotted names of all keys below, each with its key.
    pub fn dotted_keys(&self) -> Vec<(String, &Key)> {
        let Self::Section(keys) = self else { return vec![] };
        let mut all = Vec::new();
        for key in keys {
            all.push((key.name.clone(), key));
            all.extend(
                key.shape
                    .dotted_keys()
                    .into_iter()
                    .map(|(name, inner)| (format!("{}.{name}", key.name), inner)),
            );
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_meaning_and_a_shape_that_is_checked() {
        let file = file_shape();
        let keys = file.dotted_keys();
        assert!(keys.len() > 30, "only {} keys were found", keys.len());
        for (name, key) in keys {
            assert!(!key.meaning.is_empty(), "{name} has no doc comment");
            let unchecked = matches!(&key.shape, Shape::Anything)
                || matches!(&key.shape, Shape::Map(values) | Shape::List(values) if **values == Shape::Anything);
            assert_eq!(unchecked, name == "agent.config", "{name} is {:?}", key.shape);
            if let Shape::Whole { least, most } = key.shape {
                assert!(least >= 1 && most < u64::MAX, "{name} takes {least} to {most}");
            }
            if let Shape::Words(words) = &key.shape {
                assert!(
                    words.iter().all(|w| !w.meaning.is_empty()),
                    "a word of {name} has no doc comment"
                );
            }
        }
    }
}
