//! Holds what is committed, `protocol/schema/*.json` and `docs/PROTOCOL.md`, to the types, and every example on the page to
//! the parser and the schemas. `UPDATE_REFERENCE=1` writes the committed files again.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test: what panics fails it and says where"
)]

mod example;
mod markdown;
mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use codeswarm_protocol::command::{COMMANDS, Request, Spelling};
use codeswarm_protocol::schema;
use serde_json::Value;

const AGAIN: &str = "UPDATE_REFERENCE=1 cargo test -p codeswarm-protocol --test reference";

fn committed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn updates() -> bool {
    std::env::var_os("UPDATE_REFERENCE").is_some_and(|value| value == "1")
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let folder = committed("schema");
    if updates() {
        std::fs::create_dir_all(&folder).unwrap();
    }
    let mut names = BTreeSet::new();
    for (name, made) in schema::files() {
        names.insert(name.to_owned());
        let path = folder.join(name);
        if updates() {
            let mut text = serde_json::to_string_pretty(&made).unwrap();
            text.push('\n');
            std::fs::write(&path, text).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "null".into());
        let found: Value = serde_json::from_str(&text).unwrap();
        assert!(
            found == made,
            "protocol/schema/{name} differs from the types; write it again with\n    {AGAIN}"
        );
    }
    let there: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        there, names,
        "protocol/schema has files that nothing makes, or lacks some"
    );
}

#[test]
fn the_committed_page_is_that_of_the_types() {
    let path = committed("../docs/PROTOCOL.md");
    let made = page::page();
    if updates() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(made.lines()).position(|(old, new)| old != new);
    assert!(
        found == made,
        "docs/PROTOCOL.md differs from the types (first in line {}); write it again with\n    {AGAIN}",
        differs.unwrap_or_else(|| found.lines().count().min(made.lines().count())) + 1,
    );
}

#[test]
fn every_command_event_and_record_is_on_the_page() {
    let page = page::page();
    for name in COMMANDS {
        assert!(page.contains(&format!("### Command `{name}`\n")), "{name}");
        assert!(page.contains(&format!("\n| `{name}` | `")), "what answers {name}?");
    }
    for (file, heading) in [
        ("event.flat.json", "### Event "),
        ("inbox_record.json", "### Inbox record "),
    ] {
        for word in page::words(&schema_named(file)) {
            let name = word["title"].as_str().unwrap();
            assert!(page.contains(&format!("{heading}`{name}`\n")), "{heading}{name}");
            for field in word["properties"].as_object().unwrap().keys() {
                assert!(page.contains(&format!("| `{field}` |")), "{name}.{field}");
            }
        }
    }
    for word in page::words(&schema_named("outbox_record.json")) {
        let name = word["title"].as_str().unwrap();
        assert!(page.contains(&format!("| [`{name}`](#event-{name}) |")), "{name}");
    }
}

#[test]
fn every_link_on_the_page_has_its_heading() {
    let page = page::page();
    let headings: Vec<String> = page.lines().filter_map(markdown::anchor_of_heading).collect();
    let unique: BTreeSet<&String> = headings.iter().collect();
    assert_eq!(unique.len(), headings.len(), "two headings have the same anchor");
    let mut links = 0;
    for part in page.split("](#").skip(1) {
        let anchor = part.split(')').next().unwrap().to_owned();
        assert!(unique.contains(&anchor), "no heading for #{anchor}");
        links += 1;
    }
    assert!(links > 100, "{links} links");
}

fn schema_named(name: &str) -> Value {
    schema::files().into_iter().find(|(file, _)| *file == name).unwrap().1
}

struct Validators {
    by_name: Vec<(&'static str, jsonschema::Validator)>,
}

impl Validators {
    fn new() -> Self {
        let compile = |(name, schema)| (name, jsonschema::validator_for(&schema).unwrap());
        Self {
            by_name: schema::files().into_iter().map(compile).collect(),
        }
    }

    /// Why `line` is not what the schema says.
    fn complaint(&self, name: &str, line: &Value) -> Option<String> {
        let (_, validator) = self.by_name.iter().find(|(file, _)| *file == name).unwrap();
        validator
            .validate(line)
            .err()
            .map(|error| format!("{name}: {error}\n{line}"))
    }

    fn accept(&self, name: &str, line: &Value) {
        if let Some(complaint) = self.complaint(name, line) {
            panic!("{complaint}");
        }
    }
}

#[test]
fn every_command_on_the_page_is_parsed_and_fits_its_schema() {
    let validators = Validators::new();
    let mut seen = BTreeSet::new();
    for line in example::on_the_page(&page::page()).filter(example::is_command) {
        let request = Request::parse(line.to_string().as_bytes()).unwrap_or_else(|bad| panic!("{bad:?}\n{line}"));
        let file = match request.spelling {
            Spelling::Flat => "command.flat.json",
            Spelling::Enveloped => "command.enveloped.json",
        };
        validators.accept(file, &line);
        seen.insert((request.command.name(), request.spelling == Spelling::Flat));
    }
    assert_eq!(
        seen.len(),
        2 * COMMANDS.len(),
        "a command lacks an example in one of its spellings: {seen:?}"
    );
}

#[test]
fn every_event_on_the_page_fits_its_schema() {
    let validators = Validators::new();
    let mut flat = BTreeSet::new();
    let mut enveloped = 0;
    for line in example::on_the_page(&page::page()).filter(example::is_event) {
        if line.get("protocol").is_some() {
            validators.accept("event.enveloped.json", &line);
            enveloped += 1;
        } else {
            validators.accept("event.flat.json", &line);
            flat.insert(line["type"].as_str().unwrap().to_owned());
        }
    }
    assert!(enveloped > 0);
    for word in page::words(&schema_named("event.flat.json")) {
        assert!(
            flat.contains(word["title"].as_str().unwrap()),
            "{} has no example",
            word["title"]
        );
    }
}

#[test]
fn every_golden_line_fits_its_schema_and_as_an_event_in_both_spellings() {
    let validators = Validators::new();
    for line in example::lines(example::INBOX) {
        validators.accept("inbox_record.json", &line);
    }
    validators.accept("launch.json", &serde_json::from_str(example::LAUNCH).unwrap());
    for line in example::lines(example::OUTBOX) {
        validators.accept("outbox_record.json", &line);
    }
    for text in example::OUTBOX.lines().chain(example::ROUTER_EVENTS.lines()) {
        for (spelling, file) in [
            (Spelling::Flat, "event.flat.json"),
            (Spelling::Enveloped, "event.enveloped.json"),
        ] {
            validators.accept(file, &example::as_event(text, spelling));
        }
    }
    for line in example::lines(example::COMMANDS) {
        let enveloped = line.get("protocol").is_some();
        validators.accept(
            if enveloped {
                "command.enveloped.json"
            } else {
                "command.flat.json"
            },
            &line,
        );
    }
}

#[test]
fn the_schemas_refuse_what_the_parser_refuses() {
    let validators = Validators::new();
    for line in [
        r#"{"command":"explode"}"#,
        r#"{"content":"x"}"#,
        r#"{"command":"inject","swarm_id":"s","nodes":0}"#,
        r#"{"command":"inject","swarm_id":"s","nodes":0,"content":7}"#,
        r#"{"command":"inject","job_id":"../../etc","node_id":0,"content":"x"}"#,
        r#"{"command":"inject","job_id":"1","node_id":-1,"content":"x"}"#,
        r#"{"command":"inject","job_id":"1","nodes":[],"content":"x"}"#,
        r#"{"command":"inject","job_id":"1","nodes":[1000000],"content":"x"}"#,
        r#"{"command":"inject","job_id":"1","nodes":"two","content":"x"}"#,
        r#"{"command":"swarm_launch","nodes":"four"}"#,
        r#"{"command":"subscribe","since":"yesterday"}"#,
        r#"{"command":"subscribe","since":1.5}"#,
        r#"{"command":"ping","request_id":""}"#,
    ] {
        assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        let value = serde_json::from_str(line).unwrap();
        assert!(
            validators.complaint("command.flat.json", &value).is_some(),
            "the schema takes {line}"
        );
    }
}
