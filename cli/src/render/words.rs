//! The text of single events. Every line ends with its newline; an empty text is nothing to show.

use std::fmt::Write as _;

use codeswarm_protocol::event::{RouterWord, SwarmState};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{CallStatus, Decision, ErrorClass, FileOperation, TurnError, TurnStatus, Usage};
use codeswarm_protocol::{JobId, NodeId, SwarmId};

use super::colours::{Colours, Look};
use crate::plain::{one_line, plain};

/// So many lines of a command's output are shown; `--json` has all.
const OUTPUT_LINES: usize = 20;

/// `$ command`.
pub fn command_line(colours: Colours, command: &str) -> String {
    painted(colours, Look::Command, &format!("$ {}", plain(command).trim_end()))
}

/// A tool that is no command.
pub fn tool_line(colours: Colours, kind: &str, name: &str) -> String {
    let tool = format!("* {} {}", one_line(kind, 40), one_line(name, 200));
    painted(colours, Look::Command, &tool)
}

/// What a command printed: its last lines, indented.
pub fn command_output(colours: Colours, output: &str, truncated: bool) -> String {
    let output = plain(output);
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(OUTPUT_LINES);
    let mut text = String::new();
    if left_out > 0 || truncated {
        let what = if truncated {
            "the output was cut".to_owned()
        } else {
            format!("{left_out} lines before")
        };
        text += &painted(colours, Look::Dim, &format!("  … {what}"));
    }
    for line in lines.iter().skip(left_out) {
        text += &painted(colours, Look::Dim, &format!("  {line}"));
    }
    text
}

/// How a command ended.
pub fn command_end(colours: Colours, status: CallStatus, exit_code: Option<i32>, duration_ms: Option<u64>) -> String {
    let (look, mut text) = match (status, exit_code) {
        (CallStatus::Completed, None) => (Look::Dim, "  done".to_owned()),
        (CallStatus::Completed, Some(0)) => (Look::Dim, "  exit 0".to_owned()),
        (CallStatus::Completed | CallStatus::Failed, Some(code)) => (Look::Bad, format!("  exit {code}")),
        (CallStatus::Failed, None) => (Look::Bad, "  failed".to_owned()),
        (CallStatus::Declined, _) => (Look::Warn, "  not allowed".to_owned()),
        (CallStatus::Aborted, _) => (Look::Warn, "  stopped".to_owned()),
    };
    if let Some(ms) = duration_ms {
        let _ = write!(text, " · {}", duration(ms));
    }
    painted(colours, look, &text)
}

/// The end of a turn and what it took.
pub fn turn_end(
    colours: Colours,
    status: TurnStatus,
    error: Option<&TurnError>,
    duration_ms: Option<u64>,
    usage: Option<&Usage>,
) -> String {
    let mut text = String::new();
    match status {
        TurnStatus::Completed => {}
        TurnStatus::Interrupted => {
            let why = error
                .map(|error| format!(": {}", one_line(&error.message, 400)))
                .unwrap_or_default();
            text += &painted(colours, Look::Warn, &format!("interrupted{why}"));
        }
        TurnStatus::Failed => {
            text += &painted(colours, Look::Bad, &format!("the turn failed: {}", failure(error)));
            if let Some(tail) = error.and_then(|error| error.stderr_tail.as_deref()) {
                text += &command_output(colours, tail, false);
            }
        }
    }
    let parts: Vec<String> = duration_ms.map(duration).into_iter().chain(usage.map(tokens)).collect();
    if !parts.is_empty() {
        text += &painted(colours, Look::Dim, &format!("({})", parts.join(" · ")));
    }
    text
}

/// A turn's tokens, when they come by themselves.
pub fn usage_line(colours: Colours, usage: &Usage) -> String {
    painted(colours, Look::Dim, &format!("({})", tokens(usage)))
}

/// A worker's words that need no memory of earlier ones.
pub fn worker(colours: Colours, word: &Word, swarm: Option<&SwarmId>, node: NodeId) -> String {
    match word {
        Word::AgentExit {
            message,
            stderr_tail,
            restart_in_ms,
            ..
        } => {
            let next = match restart_in_ms {
                Some(ms) => format!("; it is started again in {}", duration(*ms)),
                None => String::new(),
            };
            let mut text = painted(
                colours,
                Look::Bad,
                &format!("the agent ended: {}{next}", one_line(message, 400)),
            );
            text += &command_output(colours, stderr_tail.as_deref().unwrap_or_default(), false);
            text
        }
        Word::AgentError { error, will_retry } => {
            let next = if *will_retry { "; it tries again" } else { "" };
            painted(
                colours,
                Look::Bad,
                &format!("the agent reports: {}{next}", one_line(&error.message, 400)),
            )
        }
        Word::Notice { message } => painted(colours, Look::Dim, &one_line(message, 400)),
        Word::FileChange { changes, status, .. } => {
            let mut text = String::new();
            for edit in changes {
                let verb = match edit.operation {
                    FileOperation::Add => "added",
                    FileOperation::Update => "changed",
                    FileOperation::Delete => "deleted",
                    FileOperation::Move => "moved",
                };
                let to = edit
                    .moved_to
                    .as_deref()
                    .map(|to| format!(" to {}", one_line(to, 400)))
                    .unwrap_or_default();
                text += &painted(
                    colours,
                    Look::Command,
                    &format!("{verb} {}{to}", one_line(&edit.path, 400)),
                );
            }
            if *status != CallStatus::Completed {
                text += &command_end(colours, *status, None, None);
            }
            text
        }
        Word::ApprovalRequired {
            call_id,
            kind,
            command,
            reason,
            available_decisions,
            ..
        } => {
            let asked = format!("may I? ({}) {}", one_line(kind, 40), plain(command).trim_end());
            let mut text = painted(colours, Look::Warn, &asked);
            if let Some(reason) = reason {
                text += &painted(colours, Look::Warn, &format!("  {}", one_line(reason, 400)));
            }
            if let Some(swarm) = swarm {
                let answers: Vec<&str> = available_decisions.iter().copied().map(decision).collect();
                let answers = if answers.is_empty() {
                    "accept|decline".to_owned()
                } else {
                    answers.join("|")
                };
                let call = one_line(call_id, 200);
                let how = format!("  answer: codeswarm approve {swarm} --node {node} --call {call} {answers}");
                text += &painted(colours, Look::Dim, &how);
            }
            text
        }
        Word::ApprovalResolved {
            decision: answer, by, ..
        } => {
            let look = if matches!(answer, Decision::Accept | Decision::AcceptForSession) {
                Look::Dim
            } else {
                Look::Warn
            };
            painted(
                colours,
                look,
                &format!("  {} by {}", decision(*answer), one_line(by, 40)),
            )
        }
        Word::ControlIgnored { reason } => painted(colours, Look::Dim, &format!("ignored: {}", one_line(reason, 400))),
        Word::InjectFailed { error, reason } => inject_failed(colours, error, reason),
        Word::WorkerError { message } => painted(
            colours,
            Look::Bad,
            &format!("the worker reports: {}", one_line(message, 400)),
        ),
        Word::WorkerExit { reason, .. } if !matches!(reason.as_str(), "shutdown" | "sigterm") => painted(
            colours,
            Look::Dim,
            &format!("the worker ended: {}", one_line(reason, 200)),
        ),
        _ => String::new(),
    }
}

/// The router's words about one node.
pub fn router(colours: Colours, word: &RouterWord) -> String {
    match word {
        RouterWord::InjectPending { reason, .. } => painted(
            colours,
            Look::Warn,
            &format!("not known yet whether the prompt arrived: {}", one_line(reason, 400)),
        ),
        RouterWord::InjectFailed { error, reason } => inject_failed(colours, error, reason),
        RouterWord::TurnComplete { status, error, usage } => {
            turn_end(colours, *status, error.as_ref(), None, usage.as_ref())
        }
        RouterWord::NodeLost { reason } => painted(
            colours,
            Look::Bad,
            &format!("the node is lost: {}", one_line(reason, 400)),
        ),
        RouterWord::RecordsSkipped {
            file, offset, length, ..
        } => {
            let text = format!(
                "{length} bytes at {offset} of {} are no records and were passed over",
                one_line(file, 400)
            );
            painted(colours, Look::Warn, &text)
        }
        RouterWord::RouterTrouble { message } => painted(
            colours,
            Look::Bad,
            &format!("the router reports: {}", one_line(message, 400)),
        ),
        _ => String::new(),
    }
}

/// That a swarm exists.
pub fn launched(swarm: &SwarmId, node_count: u32, provider: &str, job: Option<&JobId>) -> String {
    let nodes = if node_count == 1 {
        "1 node".to_owned()
    } else {
        format!("{node_count} nodes")
    };
    let job = job.map(|job| format!(", job {job}")).unwrap_or_default();
    format!("launched swarm {swarm}: {nodes}, {}{job}", one_line(provider, 40))
}

/// The router's words about no node, as notes.
pub fn note(word: &RouterWord, swarm: Option<&SwarmId>) -> Option<String> {
    let swarm = swarm.map_or_else(|| "the swarm".to_owned(), |swarm| format!("swarm {swarm}"));
    match word {
        RouterWord::SwarmTerminated {
            status: SwarmState::Failed,
            reason,
        } => {
            let why = reason
                .as_deref()
                .map(|reason| format!(": {}", one_line(reason, 400)))
                .unwrap_or_default();
            Some(format!("{swarm} ended without being asked to{why}"))
        }
        RouterWord::SwarmTerminated { .. } => Some(format!("{swarm} has ended")),
        RouterWord::SwarmStatus {
            status: SwarmState::Pending,
            reason: Some(reason),
            ..
        } => Some(format!("{swarm}: {}", one_line(reason, 400))),
        RouterWord::RouterTrouble { message } => Some(format!("the router reports: {}", one_line(message, 400))),
        // On its way up: nobody has to do anything.
        RouterWord::Link {
            up: false,
            reason: Some(reason),
            advice: None,
            ..
        } => Some(format!("connecting to the cluster: {}", one_line(reason, 400))),
        RouterWord::Link {
            up: false,
            reason,
            advice,
            ..
        } => {
            let why = reason
                .as_deref()
                .map(|reason| format!(": {}", one_line(reason, 400)))
                .unwrap_or_default();
            let what_to_do = advice
                .as_deref()
                .map(|advice| format!("; {}", one_line(advice, 400)))
                .unwrap_or_default();
            Some(format!(
                "the link to the cluster is down{why}{what_to_do}; what was accepted waits"
            ))
        }
        RouterWord::Link { up: true, host, .. } => {
            let host = host.as_deref().map(|host| format!(" ({host})")).unwrap_or_default();
            Some(format!("the link to the cluster is up{host}"))
        }
        RouterWord::RecordsSkipped {
            file, offset, length, ..
        } => Some(format!(
            "{length} bytes at {offset} of {} are no records and were passed over",
            one_line(file, 400)
        )),
        _ => None,
    }
}

/// The word on the wire.
pub fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "accept",
        Decision::AcceptForSession => "accept_for_session",
        Decision::Decline => "decline",
        Decision::Cancel => "cancel",
    }
}

/// Milliseconds as people say them.
pub fn duration(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..=3_599_999 => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

fn inject_failed(colours: Colours, error: &str, reason: &str) -> String {
    painted(
        colours,
        Look::Bad,
        &format!(
            "the prompt was not taken ({}): {}",
            one_line(error, 60),
            one_line(reason, 400)
        ),
    )
}

fn failure(error: Option<&TurnError>) -> String {
    let Some(error) = error else {
        return "no reason is known".to_owned();
    };
    let status = error
        .http_status
        .map(|status| format!(", HTTP {status}"))
        .unwrap_or_default();
    let advice = match error.class {
        ErrorClass::ContextFull => "; start a new swarm, the conversation is full",
        ErrorClass::Quota => "; the account's quota is used up",
        ErrorClass::Auth => "; look at agent.api_key_env and agent.env in the configuration",
        ErrorClass::Model => "; look at agent.model in the configuration",
        ErrorClass::Config => "; look at agent.config in the configuration",
        ErrorClass::Timeout => "; agent.turn_timeout_seconds limits a turn",
        class if class.may_pass() => "; the same prompt may succeed later",
        _ => "",
    };
    format!("{}{status}{advice}", one_line(&error.message, 600))
}

fn tokens(usage: &Usage) -> String {
    let unit = if usage.total_tokens == 1 { "token" } else { "tokens" };
    let mut text = format!("{} {unit}: {} in", usage.total_tokens, usage.input_tokens);
    if usage.cached_input_tokens > 0 {
        let _ = write!(text, " ({} cached)", usage.cached_input_tokens);
    }
    let _ = write!(text, ", {} out", usage.output_tokens);
    if usage.reasoning_output_tokens > 0 {
        let _ = write!(text, " ({} reasoning)", usage.reasoning_output_tokens);
    }
    text
}

/// Each line painted by itself, so that no colour reaches over a newline.
fn painted(colours: Colours, look: Look, text: &str) -> String {
    text.lines().map(|line| colours.paint(look, line) + "\n").collect()
}
