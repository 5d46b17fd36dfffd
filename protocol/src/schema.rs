//! JSON Schemas (draft 2020-12) of everything that others read or write, made from the types.
//!
//! They are committed in `protocol/schema/`; a test holds them to the types, and the reference page `docs/PROTOCOL.md` is
//! made from them. Each file lists one object schema for every command, event or record, with all its fields in one place,
//! so that a reader, or a program that generates code, needs no merging.
//!
//! What a schema cannot say: a client must expect events and fields that are newer than its schema. So no schema forbids
//! further fields, and the event schemas describe what this version says, not what a client may refuse.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::ROUTER_PROTOCOL;
use crate::command::Command;
use crate::event::RouterEvent;
use crate::ids::{RequestId, SwarmId};
use crate::inbox::InboxRecord;
use crate::launch::LaunchSpec;
use crate::record::WorkerRecord;

/// All schemas with their file names in `protocol/schema/`.
pub fn files() -> Vec<(&'static str, Value)> {
    vec![
        ("command.flat.json", flat_command()),
        ("command.enveloped.json", enveloped_command()),
        ("event.flat.json", flat_event()),
        ("event.enveloped.json", enveloped_event()),
        ("inbox_record.json", inbox_record()),
        ("outbox_record.json", outbox_record()),
        ("launch.json", launch()),
    ]
}

/// What a client may write, all fields at the top level.
pub fn flat_command() -> Value {
    let mut commands = Messages::read::<FlatCommand>();
    for word in &mut commands.words {
        allow_action(word);
    }
    commands.schema(
        "A command, flat",
        "One line of a client, all fields at the top level.",
        "oneOf",
    )
}

/// What a client may write, the fields in `payload`.
pub fn enveloped_command() -> Value {
    let mut commands = Messages::read::<Command>();
    let request_id = commands.define::<RequestId>();
    for word in &mut commands.words {
        let (name, payload) = take_apart(word, "command");
        let needs_payload = payload.get("required").is_some();
        *word = json!({
            "title": name,
            "type": "object",
            "properties": {
                "protocol": {"type": "string", "const": ROUTER_PROTOCOL},
                "type": {"type": "string", "const": "command"},
                "command": {"type": "string", "const": name},
                "request_id": request_id,
                "payload": payload,
            },
            "required": ["protocol", "type", "command"],
        });
        if let (true, Some(Value::Array(required))) = (needs_payload, word.get_mut("required")) {
            required.push("payload".into());
        }
    }
    commands.schema(
        "A command, enveloped",
        "One line of a client, the fields in `payload`.",
        "oneOf",
    )
}

/// What the router says, all fields at the top level.
pub fn flat_event() -> Value {
    events().schema(
        "An event, flat",
        "One line of the router, all fields at the top level.",
        "anyOf",
    )
}

/// What the router says, the fields in `data`.
pub fn enveloped_event() -> Value {
    let mut events = events();
    for word in &mut events.words {
        let said_by = word.get(SAID_BY).cloned().unwrap_or_default();
        let timestamp = word
            .pointer("/properties/timestamp")
            .cloned()
            .unwrap_or(Value::Bool(true));
        let (name, data) = take_apart(word, "type");
        *word = json!({
            "title": name,
            SAID_BY: said_by,
            "type": "object",
            "properties": {
                "protocol": {"type": "string", "const": ROUTER_PROTOCOL},
                "type": {"type": "string", "const": "event"},
                "timestamp": timestamp,
                "event": {"type": "string", "const": name},
                "data": data,
            },
            "required": ["protocol", "type", "timestamp", "event", "data"],
        });
    }
    events.schema(
        "An event, enveloped",
        "One line of the router, the fields in `data`.",
        "anyOf",
    )
}

/// One line of `mailbox/inbox/<JOB>_<NODE>.jsonl`.
pub fn inbox_record() -> Value {
    Messages::written::<InboxRecord>().schema("An inbox record", "What the router asks of a worker.", "oneOf")
}

/// One line of `mailbox/outbox/<JOB>_<NODE>.jsonl`.
pub fn outbox_record() -> Value {
    Messages::written::<WorkerRecord>().schema("An outbox record", "What a worker says.", "oneOf")
}

/// The file `runs/<JOB>/launch.json`.
pub fn launch() -> Value {
    let settings = SchemaSettings::draft2020_12();
    settings
        .into_generator()
        .into_root_schema_for::<LaunchSpec>()
        .to_value()
}

/// The key in an event's schema that tells who says it: `router` or `worker`. Some events both can say.
pub const SAID_BY: &str = "x-said-by";

fn events() -> Messages {
    let mut router = Messages::written::<RouterEvent>();
    let mut worker = Messages::written::<WorkerEvent>();
    for (messages, who) in [(&mut router, "router"), (&mut worker, "worker")] {
        for word in &mut messages.words {
            word[SAID_BY] = who.into();
            open_ended(word);
        }
    }
    router.words.append(&mut worker.words);
    router.definitions.append(&mut worker.definitions);
    router
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct FlatCommand {
    #[serde(flatten)]
    command: Command,
    /// The client's name for this command.
    #[serde(default)]
    request_id: Option<RequestId>,
}

/// A worker's record as clients see it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct WorkerEvent {
    #[serde(flatten)]
    record: WorkerRecord,
    /// The swarm, where the router launched the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    swarm_id: Option<SwarmId>,
    /// The command that caused the injection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
}

/// The object schemas of one kind of line, and what they refer to.
struct Messages {
    words: Vec<Value>,
    definitions: Map<String, Value>,
}

impl Messages {
    /// What is accepted of others.
    fn read<T: JsonSchema>() -> Self {
        Self::of(
            SchemaSettings::draft2020_12()
                .into_generator()
                .into_root_schema_for::<T>(),
        )
    }

    /// What is written here: an absent value is left out, never `null`.
    fn written<T: JsonSchema>() -> Self {
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
    fn define<T: JsonSchema>(&mut self) -> Value {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let reference = generator.subschema_for::<T>().to_value();
        self.definitions.append(&mut generator.take_definitions(true));
        reference
    }

    fn schema(mut self, title: &str, description: &str, combined: &str) -> Value {
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
fn references(schema: &Value, names: &mut Vec<String>) {
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
fn take_apart(word: &mut Value, tag: &str) -> (String, Value) {
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
fn allow_action(word: &mut Value) {
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
fn open_ended(schema: &mut Value) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn word<'schema>(schema: &'schema Value, name: &str) -> &'schema Value {
        let words = schema.get("oneOf").or_else(|| schema.get("anyOf")).unwrap();
        words
            .as_array()
            .unwrap()
            .iter()
            .find(|word| word["title"] == name)
            .unwrap()
    }

    #[test]
    fn a_flat_command_has_all_its_fields_in_one_place() {
        let schema = flat_command();
        let inject = word(&schema, "inject");
        for field in [
            "command",
            "action",
            "request_id",
            "swarm_id",
            "nodes",
            "content",
            "steer",
        ] {
            assert!(inject["properties"].get(field).is_some(), "{field}");
        }
        assert_eq!(inject["required"], json!(["content"]));
        assert!(word(&schema, "ping").get("required").is_none());
    }

    #[test]
    fn an_envelope_holds_the_same_fields_inside() {
        let schema = enveloped_command();
        let inject = word(&schema, "inject");
        assert_eq!(inject["properties"]["payload"]["required"], json!(["content"]));
        assert_eq!(inject["required"], json!(["protocol", "type", "command", "payload"]));
        assert_eq!(
            word(&schema, "ping")["required"],
            json!(["protocol", "type", "command"])
        );
        assert!(schema["$defs"].get("RequestId").is_some());
    }

    #[test]
    fn what_is_written_is_left_out_and_never_null() {
        let schema = outbox_record();
        let delta = word(&schema, "assistant_delta");
        assert_eq!(delta["properties"]["item_id"]["type"], "string");
        assert_eq!(delta["properties"]["injection_id"]["$ref"], "#/$defs/InjectionId");
        let nullable = flat_command().to_string();
        assert!(nullable.contains("null") && !schema.to_string().contains("null"));
    }

    #[test]
    fn a_worker_and_the_router_both_say_how_an_injection_ends() {
        let schema = flat_event();
        for name in ["inject_failed", "turn_complete"] {
            let said_by: Vec<&Value> = schema["anyOf"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|word| word["title"] == name)
                .map(|word| &word[SAID_BY])
                .collect();
            assert_eq!(said_by, ["router", "worker"], "{name}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_nothing_is_left_over() {
        for (name, schema) in files() {
            let mut used = Vec::new();
            references(&schema, &mut used);
            let defined: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
            used.sort();
            assert_eq!(used.iter().collect::<Vec<_>>(), defined, "{name}");
        }
    }
}
