//! `docs/PROTOCOL.md`: `page.md` with its marks replaced by what the schemas and the golden lines say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use codeswarm_protocol::command::Spelling;
use codeswarm_protocol::schema;
use serde_json::Value;

use crate::example;
use crate::markdown::{block, cell, fields, meaning, type_of, words as word_table};

const TEMPLATE: &str = include_str!("page.md");

/// Fields that most events have, described once.
const OF_MOST_EVENTS: [&str; 9] = [
    "type",
    "timestamp",
    "swarm_id",
    "job_id",
    "node_id",
    "injection_id",
    "request_id",
    "seq",
    "sub",
];

/// Heads the column of what a reader insists on, and of what a writer always says.
const REQUIRED: &str = "required";
const ALWAYS: &str = "always";

/// The whole page.
pub fn page() -> String {
    let marks = [
        ("{{commands}}", commands()),
        ("{{event_index}}", event_index()),
        ("{{events}}", events()),
        ("{{inbox_records}}", inbox_records()),
        ("{{outbox_records}}", outbox_records()),
        ("{{launch}}", launch()),
        ("{{rejection_codes}}", word_table(&definitions()["RejectionCode"])),
        ("{{error_classes}}", word_table(&definitions()["ErrorClass"])),
        ("{{types}}", types()),
    ];
    let mut page = TEMPLATE.to_owned();
    for (mark, text) in marks {
        assert_eq!(page.matches(mark).count(), 1, "{mark} must stand in page.md once");
        page = page.replace(mark, text.trim_end());
    }
    assert!(!page.contains("{{"), "page.md has an unknown mark");
    page
}

/// The object schemas that a schema file lists.
pub fn words(schema: &Value) -> Vec<Value> {
    schema
        .get("oneOf")
        .or_else(|| schema.get("anyOf"))
        .and_then(Value::as_array)
        .unwrap()
        .clone()
}

fn title(word: &Value) -> &str {
    word["title"].as_str().unwrap()
}

fn commands() -> String {
    let mut text = String::new();
    for word in words(&schema::flat_command()) {
        let name = title(&word);
        let first = |enveloped: bool| {
            let fits = |line: &&str| {
                line.contains(&format!("\"command\":\"{name}\"")) && line.starts_with("{\"protocol\"") == enveloped
            };
            example::COMMANDS
                .lines()
                .find(fits)
                .unwrap_or_else(|| panic!("{name} has no golden line"))
                .to_owned()
        };
        let mut table = fields(&word, REQUIRED, &["command", "action", "request_id"]);
        if table.is_empty() {
            table.push_str("It has no fields of its own.\n\n");
        }
        let examples = block(&[first(false), first(true)]);
        write!(text, "### Command `{name}`\n\n{}\n\n{table}{examples}", meaning(&word)).unwrap();
    }
    text
}

/// The event schemas by name, in the order in which the types list them; some are said by two.
fn events_by_name() -> Vec<(String, Vec<Value>)> {
    let mut named: Vec<(String, Vec<Value>)> = Vec::new();
    for word in words(&schema::flat_event()) {
        match named.iter_mut().find(|(name, _)| name == title(&word)) {
            // The worker's stands behind the router's in the schema; on the page it comes first, being the rule.
            Some((_, variants)) => variants.insert(0, word),
            None => named.push((title(&word).to_owned(), vec![word])),
        }
    }
    named
}

fn said_by(word: &Value) -> &str {
    word[schema::SAID_BY].as_str().unwrap()
}

fn event_index() -> String {
    let mut by = BTreeMap::<&str, Vec<String>>::new();
    let events = events_by_name();
    for (name, variants) in &events {
        for word in variants {
            by.entry(said_by(word))
                .or_default()
                .push(format!("[`{name}`](#event-{name})"));
        }
    }
    by.iter()
        .map(|(who, names)| format!("- The {who} says {}.\n", names.join(", ")))
        .collect()
}

fn events() -> String {
    let mut text = String::new();
    for (name, variants) in events_by_name() {
        write!(text, "### Event `{name}`\n\n").unwrap();
        for word in &variants {
            let who = said_by(word);
            write!(text, "Said by the {who}. {}\n\n{}", meaning(word), own_fields(word)).unwrap();
            let golden = if who == "worker" {
                example::OUTBOX
            } else {
                example::ROUTER_EVENTS
            };
            let start = format!("{{\"type\":\"{name}\"");
            let line = golden.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("{name} of the {who} has no golden line"));
            text.push_str(&block(&[example::event_line(line, Spelling::Flat)]));
        }
    }
    text
}

/// The fields that are not described for all events; `epoch` is the mark of a worker's word.
fn own_fields(word: &Value) -> String {
    let mut but = OF_MOST_EVENTS.to_vec();
    but.push("epoch");
    fields(word, ALWAYS, &but)
}

fn inbox_records() -> String {
    let mut text = String::new();
    for word in words(&schema::inbox_record()) {
        let name = title(&word);
        let start = format!("{{\"type\":\"{name}\"");
        let lines: Vec<String> = example::INBOX
            .lines()
            .filter(|line| line.starts_with(&start))
            .map(str::to_owned)
            .collect();
        let table = fields(&word, REQUIRED, &["type"]);
        write!(
            text,
            "### Inbox record `{name}`\n\n{}\n\n{table}{}",
            meaning(&word),
            block(&lines)
        )
        .unwrap();
    }
    text
}

fn outbox_records() -> String {
    let mut text = "| record | meaning |\n|---|---|\n".to_owned();
    for word in words(&schema::outbox_record()) {
        let name = title(&word);
        writeln!(text, "| [`{name}`](#event-{name}) | {} |", cell(meaning(&word))).unwrap();
    }
    text
}

/// The sections of the configuration that a launch file holds have a page of their own.
const ON_THE_CONFIGURATION_PAGE: [(&str, &str); 2] = [("AgentSpec", "agent"), ("WorkerSpec", "worker")];

fn launch() -> String {
    let mut table = fields(&schema::launch(), REQUIRED, &[]);
    for (name, section) in ON_THE_CONFIGURATION_PAGE {
        let here = format!("[{name}](#{})", name.to_lowercase());
        table = table.replace(&here, &format!("[section `{section}`](CONFIGURATION.md#{section})"));
    }
    table
}

/// Every type that a line can contain, by name.
fn definitions() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (_, schema) in schema::files().into_iter().filter(|(file, _)| *file != "launch.json") {
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            all.insert(name.clone(), definition.clone());
        }
    }
    all
}

/// Types whose tables have a section of their own.
const TABLES_ABOVE: [(&str, &str); 2] = [
    ("RejectionCode", "[Refusals](#refusals)"),
    ("ErrorClass", "[Failures of a turn](#failures-of-a-turn)"),
];

fn types() -> String {
    let mut text = String::new();
    for (name, definition) in definitions() {
        write!(text, "### {name}\n\n{}\n\n", meaning(&definition)).unwrap();
        match TABLES_ABOVE.iter().find(|(above, _)| *above == name) {
            Some((_, link)) => writeln!(text, "Its words stand under {link}.\n").unwrap(),
            None => text.push_str(&body(&definition)),
        }
    }
    text
}

fn body(definition: &Value) -> String {
    if let Some(choices) = definition.get("oneOf").and_then(Value::as_array) {
        if choices.iter().all(|choice| choice.get("const").is_some()) {
            return word_table(definition);
        }
        let tagged = choices.iter().map(|choice| {
            let kind = choice["properties"]["type"]["const"].as_str().unwrap();
            format!(
                "With `\"type\":\"{kind}\"`: {}\n\n{}",
                meaning(choice),
                fields(choice, REQUIRED, &["type"])
            )
        });
        return tagged.collect();
    }
    if let Some(choices) = definition.get("anyOf").and_then(Value::as_array) {
        let line = |choice: &Value| format!("- {}: {}\n", type_of(choice), meaning(choice));
        return choices.iter().map(line).collect::<String>() + "\n";
    }
    if definition.get("properties").is_some() {
        return fields(definition, ALWAYS, &[]);
    }
    let mut line = format!("A {}", type_of(definition));
    for (key, words) in [
        ("pattern", "matching"),
        ("format", "as"),
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "with a length of at least"),
        ("maxLength", "at most"),
    ] {
        match definition.get(key) {
            Some(Value::String(format)) if key == "format" && format.starts_with("uint") => {}
            Some(Value::String(limit)) => write!(line, ", {words} `{limit}`").unwrap(),
            Some(limit) => write!(line, ", {words} {limit}").unwrap(),
            None => {}
        }
    }
    line + ".\n\n"
}

#[test]
fn what_most_events_have_is_what_most_events_have() {
    let common: BTreeSet<&str> = OF_MOST_EVENTS.into_iter().collect();
    for word in words(&schema::flat_event()) {
        let own: BTreeSet<&str> = word["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let missing: Vec<&&str> = common.difference(&own).collect();
        assert!(
            missing.is_empty() || (said_by(&word) == "worker" && missing == [&"sub"]),
            "{}: {missing:?}",
            title(&word)
        );
    }
}
