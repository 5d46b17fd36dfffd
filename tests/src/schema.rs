//! The committed JSON Schema of events, which every line of a router must satisfy.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

/// Checks a client's lines in the flat spelling.
#[track_caller]
pub fn assert_flat_events(lines: &[Value]) {
    assert_valid("event.flat.json", lines);
}

/// Checks a client's lines in the enveloped spelling.
#[track_caller]
pub fn assert_enveloped_events(lines: &[Value]) {
    assert_valid("event.enveloped.json", lines);
}

#[track_caller]
fn assert_valid(schema: &str, lines: &[Value]) {
    let validator = validator(schema);
    for line in lines {
        if let Err(error) = validator.validate(line) {
            panic!("not an event as {schema} describes it: {error}\n{line:#}");
        }
    }
}

fn validator(name: &str) -> Validator {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../protocol/schema")
        .join(name);
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let schema: Value =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{} is not JSON: {error}", file.display()));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{} is no schema: {error}", file.display()))
}
