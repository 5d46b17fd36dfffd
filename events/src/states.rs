//! What the router's words about no node's stream say, as far as telling them once goes.

use codeswarm_client::event::{Event, Said};
use codeswarm_protocol::event::{RouterWord, SwarmState};

use crate::cursor::State;

/// The word of a swarm's state, as on the wire.
pub fn word(status: SwarmState) -> &'static str {
    match status {
        SwarmState::Pending => "pending",
        SwarmState::Running => "running",
        SwarmState::Terminating => "terminating",
        SwarmState::Terminated => "terminated",
        SwarmState::Failed => "failed",
    }
}

/// Whether nothing more will come of a swarm that is so.
pub fn is_over(state: &State) -> bool {
    [SwarmState::Terminated, SwarmState::Failed]
        .iter()
        .any(|over| word(*over) == state.is)
}

/// How the event says that its swarm is.
pub fn of_swarm(event: &Event) -> Option<State> {
    let Said::Router(said) = event.said() else {
        return None;
    };
    let (status, detail) = match said {
        RouterWord::SwarmStatus {
            status,
            slurm_state,
            reason,
            ..
        } => (status, [slurm_state, reason]),
        RouterWord::SwarmLaunched {
            status,
            slurm_state,
            slurm_reason,
            ..
        } => (status, [slurm_state, slurm_reason]),
        RouterWord::SwarmAdopted { status, .. } => (status, [None, None]),
        RouterWord::SwarmTerminated { status, .. } => return Some(State::word(word(status))),
        _ => return None,
    };
    let detail: Vec<String> = detail.into_iter().flatten().collect();
    Some(State {
        is: word(status).to_owned(),
        // A swarm that is over is so once, whatever is said of it.
        detail: (!status.is_over()).then(|| detail.join(": ")),
    })
}

/// How the event says that the link is.
pub fn of_link(event: &Event) -> Option<State> {
    match event.said() {
        Said::Router(RouterWord::Link { up, reason, .. }) => Some(State {
            is: if up { "up" } else { "down" }.to_owned(),
            detail: Some(reason.unwrap_or_default()),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_every_word_about_a_swarm() {
        let state = |line: &str| of_swarm(&Event::parse(line.into()).unwrap());
        let launched = r#"{"type":"swarm_launched","node_count":1,"status":"pending","provider":"local","timestamp":"2026-03-01T12:00:00Z"}"#;
        assert_eq!(state(launched).unwrap().is, "pending");
        let waits =
            r#"{"type":"swarm_status","node_count":1,"status":"pending","slurm_state":"PENDING","reason":"it waits"}"#;
        assert_eq!(
            state(waits),
            Some(State {
                is: "pending".into(),
                detail: Some("PENDING: it waits".into())
            })
        );
        let over = state(r#"{"type":"swarm_terminated","status":"failed","reason":"x"}"#).unwrap();
        assert_eq!(over, State::word("failed"));
        assert!(is_over(&over));
        assert_eq!(state(r#"{"type":"node_ready","host":"h","agent":"echo"}"#), None);
    }
}
