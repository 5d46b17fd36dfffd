//! Pieces of the page: a schema's type in words, tables of fields, headings and their anchors.

use std::fmt::Write as _;

use codeswarm_protocol::schema::definition_name;
use serde_json::{Map, Value};

/// The anchor that a heading gets on a forge: lower case, spaces as dashes, other punctuation gone.
pub fn anchor_of_heading(line: &str) -> Option<String> {
    let text = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

/// What may stand in a field.
pub fn type_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(definition_name) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let choices = choices
            .iter()
            .filter(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        return choices.map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None => None,
    };
    match kind {
        Some("array") => format!("list of {}", type_of(schema.get("items").unwrap_or(&Value::Null))),
        Some("object") => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("object of {}", type_of(values)),
            _ => match schema
                .get("patternProperties")
                .and_then(Value::as_object)
                .and_then(|by| by.values().next())
            {
                Some(values) => format!("object of {}", type_of(values)),
                None => "object".to_owned(),
            },
        },
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some(other) => other.to_owned(),
        None => "any JSON".to_owned(),
    }
}

/// A table of an object's fields without those in `but`: the required ones in their order, then the others by name.
/// `needed` heads the column of the required ones.
pub fn fields(object: &Value, needed: &str, but: &[&str]) -> String {
    let nothing = Map::new();
    let properties = object.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
    let required: Vec<&str> = match object.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut others: Vec<&str> = properties
        .keys()
        .map(String::as_str)
        .filter(|n| !required.contains(n))
        .collect();
    others.sort_unstable();
    let mut rows = String::new();
    for name in required.iter().chain(&others).filter(|name| !but.contains(name)) {
        let schema = &properties[*name];
        let presence = if required.contains(name) { "yes" } else { "" };
        writeln!(
            rows,
            "| `{name}` | {} | {presence} | {} |",
            cell(&type_of(schema)),
            cell(meaning(schema))
        )
        .unwrap();
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("| field | type | {needed} | meaning |\n|---|---|---|---|\n{rows}\n")
}

/// A table of words and what each means.
pub fn words(choices: &Value) -> String {
    let mut table = "| word | meaning |\n|---|---|\n".to_owned();
    for choice in choices["oneOf"].as_array().unwrap() {
        let word = choice["const"].as_str().unwrap();
        writeln!(table, "| `{word}` | {} |", cell(meaning(choice))).unwrap();
    }
    table.push('\n');
    table
}

/// What the type says about itself.
pub fn meaning(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// A text that cannot end its table cell.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

pub fn block(lines: &[String]) -> String {
    format!("```json\n{}\n```\n\n", lines.join("\n"))
}
