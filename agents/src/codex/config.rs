//! Codex's own `config.toml`: what an unattended agent needs, and `agent.config` over it.

use serde_json::{Map, Value, json};

/// A value of `agent.config` that TOML cannot hold, or keys that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("agent.config{path}: {why}")]
pub struct ConfigError {
    path: String,
    why: String,
}

/// What is written unless `agent.config` says otherwise: no look for updates or plugins, no analytics, no key on disk, and
/// an end to the attempts to reconnect (they would go on for ever, and the turn with them).
fn defaults() -> Value {
    json!({
        "check_for_update_on_startup": false,
        "cli_auth_credentials_store": "ephemeral",
        "analytics": {"enabled": false},
        "features": {"plugins": false, "unbounded_connection_retries": false},
    })
}

/// The file's text, with the `config` of the agent's specification (dotted keys or nested objects) over the defaults.
pub fn config_toml(config: &Map<String, Value>) -> Result<String, ConfigError> {
    toml::to_string(&config_table(config)?).map_err(|error| ConfigError {
        path: String::new(),
        why: error.to_string(),
    })
}

/// The same as values.
pub fn config_table(config: &Map<String, Value>) -> Result<toml::Table, ConfigError> {
    let mut root = toml::Table::new();
    if let Value::Object(defaults) = defaults() {
        merge(&mut root, &defaults, "")?;
    }
    merge(&mut root, config, "")?;
    Ok(root)
}

fn merge(table: &mut toml::Table, object: &Map<String, Value>, path: &str) -> Result<(), ConfigError> {
    for (key, value) in object {
        let here = format!("{path}.{key}");
        let parts = split(key).ok_or_else(|| ConfigError {
            path: here.clone(),
            why: "this is no key; a part with dots or spaces stands in double quotes".into(),
        })?;
        let (last, folders) = match parts.split_last() {
            Some(split) => split,
            None => continue,
        };
        let mut place = &mut *table;
        for folder in folders {
            place = inner(place, folder, &here)?;
        }
        match value {
            Value::Object(object) => merge(inner(place, last, &here)?, object, &here)?,
            value => {
                place.insert(last.clone(), scalar(value, &here)?);
            }
        }
    }
    Ok(())
}

fn inner<'table>(
    table: &'table mut toml::Table,
    key: &str,
    path: &str,
) -> Result<&'table mut toml::Table, ConfigError> {
    table
        .entry(key.to_owned())
        .or_insert_with(|| toml::Value::Table(toml::Table::new()))
        .as_table_mut()
        .ok_or_else(|| ConfigError {
            path: path.to_owned(),
            why: format!("{key} is a plain value already, so it cannot hold others"),
        })
}

fn scalar(value: &Value, path: &str) -> Result<toml::Value, ConfigError> {
    let wrong = |why: &str| ConfigError {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    Ok(match value {
        Value::Null => return Err(wrong("TOML has no null; leave the key out")),
        Value::Bool(truth) => (*truth).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(fraction)) if !number.is_u64() => fraction.into(),
            _ => return Err(wrong("the number is too large for TOML")),
        },
        Value::Array(values) => toml::Value::Array(
            values
                .iter()
                .enumerate()
                .map(|(index, value)| scalar(value, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(object) => {
            let mut table = toml::Table::new();
            merge(&mut table, object, path)?;
            toml::Value::Table(table)
        }
    })
}

/// The parts of a dotted key; a part in double quotes may hold dots. None when it is malformed.
fn split(key: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = key;
    loop {
        let part = if let Some(quoted) = rest.strip_prefix('"') {
            let (part, after) = quoted.split_once('"')?;
            rest = after;
            part
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let part = &rest[..end];
            rest = &rest[end..];
            part
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part.to_owned());
        if rest.is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix('.')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(config: Value) -> Result<String, String> {
        let Value::Object(config) = config else {
            panic!("an object");
        };
        config_toml(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_stand_where_nothing_else_is_said() {
        insta::assert_snapshot!(written(json!({
            "model_provider": "mock",
            "features.plugins": true,
            "features": {"other": false},
            "model_providers.mock": {"name": "Mock", "base_url": "http://127.0.0.1:1/v1", "stream_max_retries": 2},
            "projects.\"/a.b c\".trust_level": "trusted",
            "list": [1, 2.5, {"a": [true]}],
            "text": "line\n\"quoted\"",
        })).unwrap(), @r##"
check_for_update_on_startup = false
cli_auth_credentials_store = "ephemeral"
list = [1, 2.5, { a = [true] }]
model_provider = "mock"
text = """
line
"quoted""""

[analytics]
enabled = false

[features]
other = false
plugins = true
unbounded_connection_retries = false

[model_providers.mock]
base_url = "http://127.0.0.1:1/v1"
name = "Mock"
stream_max_retries = 2

[projects."/a.b c"]
trust_level = "trusted"
"##);
    }

    #[test]
    fn what_toml_cannot_hold_is_named_by_its_path() {
        for (config, want) in [
            (json!({"a": {"b": null}}), "agent.config.a.b: TOML has no null"),
            (json!({"a": [1, null]}), "agent.config.a[1]: TOML has no null"),
            (json!({"a": u64::MAX}), "agent.config.a: the number is too large"),
            (json!({"a..b": 1}), "agent.config.a..b: this is no key"),
            (
                json!({"a": 1, "a.b": 1}),
                "agent.config.a.b: a is a plain value already",
            ),
            (json!({"": 1}), "this is no key"),
            (json!({"\"a\"b": 1}), "this is no key"),
        ] {
            let error = written(config).unwrap_err();
            assert!(error.starts_with(want) || error.contains(want), "{error}");
        }
    }
}
