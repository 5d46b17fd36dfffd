//! A refused command, told to the person who gave it.

use codeswarm_protocol::RejectionCode;
use codeswarm_protocol::event::RouterWord;

use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::plain::one_line;

/// The refusal that an event tells, if it is one.
pub fn refusal(event: &Event) -> Option<(RejectionCode, Failure)> {
    if event.head.kind != "command_rejected" {
        return None;
    }
    let (code, reason) = match event.said() {
        Said::Router(RouterWord::CommandRejected { code, reason, .. }) => (code, one_line(&reason, 1000)),
        // A newer router may know codes that we do not.
        _ => (
            RejectionCode::State,
            one_line(&String::from_utf8_lossy(event.line()), 1000),
        ),
    };
    let exit = match code {
        RejectionCode::Link => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, format!("the router refused the command: {reason}"), advice(code));
    Some((code, failure))
}

fn advice(code: RejectionCode) -> &'static str {
    match code {
        RejectionCode::UnknownSwarm => {
            "codeswarm list shows the swarms that this router knows; another --config means another router"
        }
        RejectionCode::NodeOutOfRange => "codeswarm status <swarm> shows its nodes",
        RejectionCode::SwarmEnded => "codeswarm launch starts a new swarm",
        RejectionCode::PromptTooLong => {
            "shorten the prompt, put the material into files, or raise router.max_prompt_bytes"
        }
        RejectionCode::Overloaded => "wait until some of the work is done, then try again",
        RejectionCode::State => "look at the router's log beside its state, and at the disk it is on; nothing was done",
        RejectionCode::Provider => "look at cluster.backend in the configuration",
        RejectionCode::UnknownCommand | RejectionCode::NotJson | RejectionCode::MissingField => {
            "the router may be of another version: codeswarm ping tells, codeswarm shutdown ends it"
        }
        _ => "",
    }
}
