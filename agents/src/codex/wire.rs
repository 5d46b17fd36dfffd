//! The messages of `codex app-server`: JSON objects, one a line, JSON-RPC without its version member.
//!
//! Its own requests count their ids apart from ours, so what a message is shows by its members, never by its id.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What the server says to a request that it cannot take for now.
pub const OVERLOADED: i64 = -32001;

/// What we answer to a request of the server's that we do not serve (JSON-RPC: method not found).
const NOT_SERVED: i64 = -32601;

/// A message of the server's.
#[derive(Debug)]
pub enum Message<'line> {
    /// The answer to a request of ours.
    Response {
        /// Which.
        id: u64,
        /// The result as JSON, or the error.
        outcome: Result<&'line str, RpcError>,
    },
    /// A question to us, to be answered under its own id.
    Request {
        /// Its id: a number or a string.
        id: Value,
        /// What is asked.
        method: &'line str,
        /// With what.
        params: &'line str,
    },
    /// Something said.
    Notification {
        /// What.
        method: &'line str,
        /// With what.
        params: &'line str,
    },
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RpcError {
    /// The kind, as JSON-RPC counts them.
    pub code: i64,
    /// The server's words.
    pub message: String,
}

#[derive(Deserialize)]
struct Line<'line> {
    #[serde(default, borrow)]
    id: Option<&'line RawValue>,
    #[serde(default)]
    method: Option<&'line str>,
    #[serde(default, borrow)]
    params: Option<&'line RawValue>,
    #[serde(default, borrow)]
    result: Option<&'line RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

impl<'line> Message<'line> {
    /// Reads a line; none when it is no message.
    pub fn parse(line: &'line [u8]) -> Option<Self> {
        let Line {
            id,
            method,
            params,
            result,
            error,
        } = serde_json::from_slice(line).ok()?;
        let params = params.map_or("{}", RawValue::get);
        match (id, method) {
            (Some(id), Some(method)) => Some(Self::Request {
                id: serde_json::from_str(id.get()).ok()?,
                method,
                params,
            }),
            (None, Some(method)) => Some(Self::Notification { method, params }),
            (Some(id), None) => Some(Self::Response {
                id: serde_json::from_str(id.get()).ok()?,
                outcome: match error {
                    Some(error) => Err(error),
                    None => Ok(result.map_or("null", RawValue::get)),
                },
            }),
            (None, None) => None,
        }
    }
}

/// A request as a line.
pub fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"id": id, "method": method, "params": params}))
}

/// A notification as a line.
pub fn notification(method: &str) -> Vec<u8> {
    line(&json!({"method": method}))
}

/// The answer to a request of the server's, as a line.
pub fn answer(id: &Value, result: &Value) -> Vec<u8> {
    line(&json!({"id": id, "result": result}))
}

/// The answer to a request that we do not serve, as a line.
pub fn not_served(id: &Value, method: &str) -> Vec<u8> {
    let message = format!("codeswarm does not answer {method}");
    line(&json!({"id": id, "error": {"code": NOT_SERVED, "message": message}}))
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_members() {
        let parse = |line: &'static str| format!("{:?}", Message::parse(line.as_bytes()));
        assert_eq!(
            parse(r#"{"id":0,"method":"m","params":{"a":1}}"#),
            r#"Some(Request { id: Number(0), method: "m", params: "{\"a\":1}" })"#
        );
        assert_eq!(
            parse(r#"{"method":"m","emittedAtMs":3}"#),
            r#"Some(Notification { method: "m", params: "{}" })"#
        );
        assert_eq!(
            parse(r#"{"id":4,"result":null}"#),
            r#"Some(Response { id: 4, outcome: Ok("null") })"#
        );
        assert_eq!(
            parse(r#"{"error":{"code":-32600,"message":"no","data":1},"id":4}"#),
            r#"Some(Response { id: 4, outcome: Err(RpcError { code: -32600, message: "no" }) })"#
        );
        for junk in [
            "",
            "junk",
            "[]",
            "{}",
            "{\"id\":null}",
            "{\"id\":\"ours?\",\"result\":1}",
        ] {
            assert_eq!(parse(junk), "None", "{junk}");
        }
        assert!(Message::parse(b"\xff\xfe").is_none());
    }
}
