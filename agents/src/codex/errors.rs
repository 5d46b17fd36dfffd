//! What went wrong, from Codex's words to ours.
//!
//! `codexErrorInfo` is a string, or an object with one key and perhaps the model server's HTTP status in it; new ones come
//! with new versions, so an unknown one is `other` and its message is passed on.

use codeswarm_protocol::turn::{ErrorClass, TurnError};
use serde::Deserialize;
use serde_json::Value;

/// An error as `turn/completed` and `error` carry it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodexError {
    message: String,
    #[serde(default)]
    codex_error_info: Value,
    #[serde(default)]
    additional_details: Option<String>,
}

impl CodexError {
    /// In neutral words.
    pub fn to_turn_error(&self) -> TurnError {
        let (name, http_status) = self.info();
        let message = match self.additional_details.as_deref() {
            Some(details) if !details.is_empty() && details != self.message => {
                format!("{}: {details}", self.message)
            }
            _ => self.message.clone(),
        };
        TurnError {
            class: class_of(name, http_status, &message),
            message,
            http_status,
            stderr_tail: None,
        }
    }

    fn info(&self) -> (&str, Option<u16>) {
        match &self.codex_error_info {
            Value::String(name) => (name, None),
            Value::Object(object) => {
                let Some((name, inside)) = object.iter().next() else {
                    return ("other", None);
                };
                let status = inside.get("httpStatusCode").and_then(Value::as_u64);
                (name, status.and_then(|status| u16::try_from(status).ok()))
            }
            _ => ("other", None),
        }
    }
}

fn class_of(name: &str, http_status: Option<u16>, message: &str) -> ErrorClass {
    match name {
        "contextWindowExceeded" => ErrorClass::ContextFull,
        "usageLimitExceeded" | "sessionBudgetExceeded" => ErrorClass::Quota,
        "rateLimitExceeded" => ErrorClass::RateLimit,
        "unauthorized" => ErrorClass::Auth,
        "modelNotFound" => ErrorClass::Model,
        "serverOverloaded" | "internalServerError" | "flexUnavailable" | "policyCapacityUnavailable" => {
            ErrorClass::Overloaded
        }
        "cyberPolicy" | "misalignmentPolicyViolation" | "inferenceHookDenied" => ErrorClass::Refused,
        "badRequest" => ErrorClass::BadRequest,
        "httpConnectionFailed"
        | "responseStreamConnectionFailed"
        | "responseStreamDisconnected"
        | "responseTooManyFailedAttempts" => http_status.map_or(ErrorClass::Network, class_of_status),
        _ => class_of_message(message),
    }
}

fn class_of_status(status: u16) -> ErrorClass {
    match status {
        401 | 403 => ErrorClass::Auth,
        402 => ErrorClass::Quota,
        404 => ErrorClass::Model,
        429 => ErrorClass::RateLimit,
        400..=499 => ErrorClass::BadRequest,
        500..=599 => ErrorClass::Overloaded,
        _ => ErrorClass::Network,
    }
}

/// For the errors that Codex calls `other`; the words are those of version 0.169.
fn class_of_message(message: &str) -> ErrorClass {
    if message.starts_with("Missing environment variable") {
        ErrorClass::Auth
    } else if message.starts_with("stream disconnected before completion") {
        ErrorClass::Network
    } else if is_error_body(message) {
        ErrorClass::BadRequest
    } else {
        ErrorClass::Other
    }
}

/// An answer of the model server's with status 400 is passed on as it came, without its status.
fn is_error_body(message: &str) -> bool {
    serde_json::from_str::<Value>(message).is_ok_and(|body| body.get("error").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str, info: &str) -> TurnError {
        CodexError {
            message: message.into(),
            codex_error_info: serde_json::from_str(info).unwrap(),
            additional_details: None,
        }
        .to_turn_error()
    }

    #[test]
    fn each_known_info_has_its_class() {
        for (info, class) in [
            (r#""contextWindowExceeded""#, ErrorClass::ContextFull),
            (r#""usageLimitExceeded""#, ErrorClass::Quota),
            (r#""internalServerError""#, ErrorClass::Overloaded),
            (r#""serverOverloaded""#, ErrorClass::Overloaded),
            (r#""modelNotFound""#, ErrorClass::Model),
            (r#""unauthorized""#, ErrorClass::Auth),
            (r#""cyberPolicy""#, ErrorClass::Refused),
            (r#""somethingNew""#, ErrorClass::Other),
            (r#"{"somethingNew":{"a":1}}"#, ErrorClass::Other),
            ("{}", ErrorClass::Other),
            ("null", ErrorClass::Other),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":null}}"#,
                ErrorClass::Network,
            ),
            (r#"{"httpConnectionFailed":{"httpStatusCode":401}}"#, ErrorClass::Auth),
            (
                r#"{"responseTooManyFailedAttempts":{"httpStatusCode":429}}"#,
                ErrorClass::RateLimit,
            ),
            (
                r#"{"responseStreamDisconnected":{"httpStatusCode":502}}"#,
                ErrorClass::Overloaded,
            ),
        ] {
            assert_eq!(error("m", info).class, class, "{info}");
        }
        let error = error("m", r#"{"responseTooManyFailedAttempts":{"httpStatusCode":429}}"#);
        assert_eq!(error.http_status, Some(429));
    }

    #[test]
    fn some_others_are_known_by_their_words() {
        for (message, class) in [
            ("Missing environment variable: `KEY`.", ErrorClass::Auth),
            (
                "stream disconnected before completion: idle timeout waiting for SSE",
                ErrorClass::Network,
            ),
            (
                r#"{"error": {"message": "Unsupported parameter"}}"#,
                ErrorClass::BadRequest,
            ),
            (
                "Incomplete response returned, reason: max_output_tokens",
                ErrorClass::Other,
            ),
        ] {
            assert_eq!(error(message, r#""other""#).class, class, "{message}");
        }
    }

    #[test]
    fn details_are_part_of_the_message() {
        let error = CodexError {
            message: "Reconnecting... 1/2".into(),
            codex_error_info: Value::Null,
            additional_details: Some("connection refused".into()),
        };
        assert_eq!(error.to_turn_error().message, "Reconnecting... 1/2: connection refused");
    }
}
