//! JSON Schemas (draft 2020-12) of everything that others read or write, made from the types.
//!
//! They are committed in `protocol/schema/`; a test holds them to the types, and the reference page `docs/PROTOCOL.md` is
//! made from them. Each file lists one object schema for every command, event or record, with all its fields in one place,
//! so that a reader, or a program that generates code, needs no merging.
//!
//! What a schema cannot say: a client must expect events and fields that are newer than its schema. So no schema forbids
//! further fields, and the event schemas describe what this version says, not what a client may refuse.

mod messages;

pub use messages::definition_name;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::ROUTER_PROTOCOL;
use crate::command::Command;
use crate::event::RouterEvent;
use crate::ids::{RequestId, SwarmId};
use crate::inbox::InboxRecord;
use crate::launch::LaunchSpec;
use crate::record::WorkerRecord;
use messages::{Messages, allow_action, open_ended, take_apart};

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

#[cfg(test)]
mod tests {
    use super::messages::references;
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
