//! From the schema of an enum of messages to one flat object schema for each message.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::SAID_BY;

/// The object schemas of one kind of line, and what they refer to.
pub(super) struct Messages {
    /// An object schema each, with the word's name as its `title`.
    pub(super) words: Vec<Value>,
    /// The types that they refer to, by name.
    pub(super) definitions: Map<String, Value>,
}

impl Messages {
    /// What is accepted of others.
    pub(super) fn read<T: JsonSchema>() -> Self {
        Self::of(
            SchemaSettings::draft2020_12()
                .into_generator()
                .into_root_schema_for::<T>(),
        )
    }

    /// What is written here: an absent value is left out, never `null`.
    pub(super) fn written<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let mut messages = Self::of(settings.into_generator().into_root_schema_for::<T>());
        messages
            .words
            .iter_mut()
            .chain(messages.definitions.values_mut())
            .for_each(without_null);
        messages
    }

    fn of(root: Schema) -> Self {
        let mut root = root.to_value();
        let mut definitions = Map::new();
        if let Some(Value::Object(found)) = root.get_mut("$defs").map(Value::take) {
            definitions = found;
        }
        let mut words = Vec::new();
        if let Some(Value::Array(found)) = root.get_mut("oneOf").map(Value::take) {
            words = found;
        }
        for word in &mut words {
            if let Some(name) = word.get("$ref").and_then(Value::as_str).and_then(definition_name) {
                let of_its_own = definitions.get(name).cloned().unwrap_or_default();
                join(word, &of_its_own);
            }
            join(word, &root);
            if let Some(fields) = word.as_object_mut() {
                fields.remove("$ref");
                let name = ["command", "type"].iter().find_map(|tag| constant(fields, tag));
                fields.insert("title".into(), name.unwrap_or_default().into());
            }
        }
        Self { words, definitions }
    }

    /// A reference to another type.
    pub(super) fn define<T: JsonSchema>(&mut self) -> Value {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let reference = generator.subschema_for::<T>().to_value();
        self.definitions.append(&mut generator.take_definitions(true));
        reference
    }

    pub(super) fn schema(mut self, title: &str, description: &str, combined: &str) -> Value {
        self.drop_unused();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "description": description,
            combined: self.words,
            "$defs": self.definitions,
        })
    }

    fn drop_unused(&mut self) {
        let mut used = Vec::new();
        for word in &self.words {
            references(word, &mut used);
        }
        let mut seen = 0;
        while let Some(name) = used.get(seen).cloned() {
            references(self.definitions.get(&name).unwrap_or(&Value::Null), &mut used);
            seen += 1;
        }
        self.definitions.retain(|name, _| used.contains(name));
    }
}

/// The name in `#/$defs/<name>`.
pub fn definition_name(reference: &str) -> Option<&str> {
    reference.strip_prefix("#/$defs/")
}

/// Adds the names of definitions that `schema` refers to.
pub(super) fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value.as_str().and_then(definition_name)) {
                    ("$ref", Some(name)) if !names.iter().any(|known| known == name) => names.push(name.to_owned()),
                    _ => references(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// Adds the fields of `more`, required ones behind the word's own.
fn join(word: &mut Value, more: &Value) {
    if let Some(Value::Object(fields)) = more.get("properties") {
        for (name, schema) in fields {
            word["properties"][name] = schema.clone();
        }
    }
    if let Some(Value::Array(names)) = more.get("required") {
        if word["required"].is_null() {
            word["required"] = json!([]);
        }
        if let Some(required) = word["required"].as_array_mut() {
            required.extend(names.iter().cloned());
        }
    }
}

/// The one text that a field may have.
fn constant(word: &Map<String, Value>, field: &str) -> Option<String> {
    let text = word.get("properties")?.get(field)?.get("const")?.as_str()?;
    Some(text.to_owned())
}

/// The message's name, and the schema of what stands beside it.
pub(super) fn take_apart(word: &mut Value, tag: &str) -> (String, Value) {
    let mut fields = word.take();
    let name = fields
        .get("title")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("title");
        fields.remove(SAID_BY);
        if let Some(Value::Object(properties)) = fields.get_mut("properties") {
            properties.remove(tag);
        }
        if let Some(Value::Array(required)) = fields.get_mut("required") {
            required.retain(|name| name != tag);
            if required.is_empty() {
                fields.remove("required");
            }
        }
    }
    (name, fields)
}

/// A flat command may be named by `action` as well as by `command`.
pub(super) fn allow_action(word: &mut Value) {
    word["properties"]["action"] = word["properties"]["command"].clone();
    if let Some(Value::Array(required)) = word.get_mut("required") {
        required.retain(|name| name != "command");
        if required.is_empty()
            && let Some(fields) = word.as_object_mut()
        {
            fields.remove("required");
        }
    }
    word["anyOf"] = json!([{"required": ["command"]}, {"required": ["action"]}]);
}

/// Takes `null` out of the fields that need not be there, at any depth.
fn without_null(schema: &mut Value) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let needed = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|n| n == name));
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        for (_, field) in fields.iter_mut().filter(|(name, _)| !needed(name)) {
            not_null(field);
        }
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(without_null),
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// A later version may spell ids with more letters, which says nothing about the fields beside them.
pub(super) fn open_ended(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("patternProperties") {
                fields.remove("additionalProperties");
            }
            fields.values_mut().for_each(open_ended);
        }
        Value::Array(items) => items.iter_mut().for_each(open_ended),
        _ => {}
    }
}

fn not_null(field: &mut Value) {
    let Some(field) = field.as_object_mut() else { return };
    if let Some(Value::Array(types)) = field.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            field.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = field.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            field.remove("anyOf");
            field.extend(only);
        }
    }
}
