//! `list` and `status` for people: columns as wide as what stands in them.

use std::collections::BTreeMap;

use codeswarm_protocol::SwarmId;
use codeswarm_protocol::event::{NodeState, NodeStatus, SwarmState, SwarmSummary};

use crate::plain::one_line;
use crate::render::colours::{Colours, Look};

/// A cell: its text and its look.
type Cell = (String, Option<Look>);

/// The swarms, the latest first.
pub fn swarms(colours: Colours, swarms: &BTreeMap<SwarmId, SwarmSummary>) -> String {
    let mut latest: Vec<_> = swarms.iter().collect();
    latest.sort_by_key(|(_, swarm)| std::cmp::Reverse(swarm.created));
    let mut rows = vec![header(&[
        "SWARM", "STATE", "NODES", "JOB", "PROVIDER", "AGENT", "LAUNCHED", "PROMPT",
    ])];
    for (id, swarm) in latest {
        rows.push(vec![
            (id.to_string(), None),
            (swarm_state(swarm.status).to_owned(), swarm_look(swarm.status)),
            (swarm.node_count.to_string(), None),
            (swarm.job_id.to_string(), None),
            (one_line(&swarm.provider, 20), None),
            (one_line(&swarm.agent, 20), None),
            (moment(&swarm.created.to_string()), None),
            (
                one_line(swarm.system_prompt.as_deref().unwrap_or_default(), 40),
                Some(Look::Dim),
            ),
        ]);
    }
    aligned(colours, &rows, &[2])
}

/// How a swarm is, in the answer to `swarm_status`.
#[derive(Debug, Clone)]
pub struct SwarmView<'a> {
    /// The swarm.
    pub swarm_id: &'a str,
    /// Its job.
    pub job_id: Option<&'a str>,
    /// Its state.
    pub status: SwarmState,
    /// The provider's word for it.
    pub provider_state: Option<&'a str>,
    /// Why its job waits, or what became of it.
    pub reason: Option<&'a str>,
    /// How many nodes.
    pub node_count: u32,
    /// Each of them.
    pub nodes: &'a [NodeStatus],
}

/// A swarm, node by node.
pub fn swarm(colours: Colours, view: &SwarmView<'_>) -> String {
    let mut title = vec![paint(
        colours,
        &(swarm_state(view.status).to_owned(), swarm_look(view.status)),
    )];
    title.extend(view.provider_state.map(|state| one_line(state, 40)));
    title.push(if view.node_count == 1 {
        "1 node".to_owned()
    } else {
        format!("{} nodes", view.node_count)
    });
    title.extend(view.job_id.map(|job| format!("job {job}")));
    let tokens: u64 = view.nodes.iter().map(|node| node.tokens).sum();
    title.push(format!("{tokens} tokens"));
    let mut text = format!("swarm {}: {}\n", view.swarm_id, title.join(", "));
    if let Some(reason) = view.reason {
        text += &format!("{}\n", one_line(reason, 400));
    }
    if view.nodes.is_empty() {
        return text;
    }
    let titles = [
        "NODE",
        "STATE",
        "HOST",
        "AGENT",
        "TURNS",
        "OPEN",
        "TOKENS",
        "LAST EVENT",
        "AT",
        "HEARTBEAT",
        "INJECTION",
        "TROUBLE",
    ];
    let mut rows = vec![header(&titles)];
    for node in view.nodes {
        let optional = |text: &Option<String>, most| (one_line(text.as_deref().unwrap_or("-"), most), None);
        rows.push(vec![
            (node.node_id.to_string(), None),
            (node_state(node.state).to_owned(), node_look(node.state)),
            optional(&node.host, 30),
            optional(&node.agent, 20),
            (node.turns.to_string(), None),
            (node.open_injections.to_string(), None),
            (node.tokens.to_string(), None),
            optional(&node.last_event, 30),
            (
                node.last_event_at
                    .map_or_else(|| "-".to_owned(), |at| moment(&at.to_string())),
                None,
            ),
            (
                node.heartbeat_at
                    .map_or_else(|| "-".to_owned(), |at| moment(&at.to_string())),
                None,
            ),
            (
                node.injection_id
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                None,
            ),
            (one_line(node.error.as_deref().unwrap_or_default(), 80), Some(Look::Bad)),
        ]);
    }
    text += &aligned(colours, &rows, &[0, 4, 5, 6]);
    text
}

/// A swarm's state in a word.
pub fn swarm_state(state: SwarmState) -> &'static str {
    match state {
        SwarmState::Pending => "pending",
        SwarmState::Running => "running",
        SwarmState::Terminating => "terminating",
        SwarmState::Terminated => "terminated",
        SwarmState::Failed => "failed",
    }
}

fn swarm_look(state: SwarmState) -> Option<Look> {
    match state {
        SwarmState::Pending | SwarmState::Terminating => Some(Look::Warn),
        SwarmState::Running => None,
        SwarmState::Terminated => Some(Look::Dim),
        SwarmState::Failed => Some(Look::Bad),
    }
}

fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Pending => "pending",
        NodeState::Starting => "starting",
        NodeState::Idle => "idle",
        NodeState::Busy => "busy",
        NodeState::Exited => "exited",
        NodeState::Lost => "lost",
    }
}

fn node_look(state: NodeState) -> Option<Look> {
    match state {
        NodeState::Pending | NodeState::Starting => Some(Look::Warn),
        NodeState::Idle | NodeState::Busy => None,
        NodeState::Exited => Some(Look::Dim),
        NodeState::Lost => Some(Look::Bad),
    }
}

/// `2026-03-01T12:00:00.123Z` without what nobody reads.
fn moment(timestamp: &str) -> String {
    let seconds = timestamp.split('.').next().unwrap_or(timestamp).replace('T', " ");
    format!("{}Z", seconds.trim_end_matches('Z'))
}

fn header(titles: &[&str]) -> Vec<Cell> {
    titles
        .iter()
        .map(|title| ((*title).to_owned(), Some(Look::Dim)))
        .collect()
}

fn paint(colours: Colours, (text, look): &Cell) -> String {
    look.map_or_else(|| text.clone(), |look| colours.paint(look, text))
}

/// Rows as lines; the columns in `numbers` stand to the right. The last column is as wide as it is.
fn aligned(colours: Colours, rows: &[Vec<Cell>], numbers: &[usize]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, (text, _)) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut lines = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let room = " ".repeat(width - cell.0.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            line += gap;
            line += &match numbers.contains(&column) {
                true => room + &paint(colours, cell),
                false => paint(colours, cell) + &room,
            };
        }
        lines += line.trim_end();
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_aligned_and_the_latest_stands_first() {
        let summary = |job: &str, status: &str, nodes: u32, created: &str, prompt: &str| {
            serde_json::from_value::<SwarmSummary>(json!({"job_id": job, "node_count": nodes, "system_prompt": prompt,
                "status": status, "provider": "local", "agent": "echo", "created": created}))
            .unwrap()
        };
        let all = BTreeMap::from([
            (
                "s-a".parse().unwrap(),
                summary("1", "terminated", 4, "2026-03-01T12:00:00.000Z", "one\ntwo"),
            ),
            (
                "s-long".parse().unwrap(),
                summary("272900", "running", 1024, "2026-03-02T12:00:00.000Z", ""),
            ),
        ]);
        insta::assert_snapshot!(swarms(Colours::OFF, &all), @r"
        SWARM   STATE       NODES  JOB     PROVIDER  AGENT  LAUNCHED              PROMPT
        s-long  running      1024  272900  local     echo   2026-03-02 12:00:00Z
        s-a     terminated      4  1       local     echo   2026-03-01 12:00:00Z  one two
        ");
    }

    #[test]
    fn a_swarm_is_shown_node_by_node() {
        let nodes: Vec<NodeStatus> = serde_json::from_value(json!([
            {"node_id": 0, "state": "busy", "host": "c1", "agent": "codex", "epoch": 1, "injection_id": "i7",
             "open_injections": 2, "turns": 3, "tokens": 12345, "seq": 9, "last_event": "assistant_delta",
             "last_event_at": "2026-03-01T12:00:00.123Z", "heartbeat_at": "2026-03-01T12:00:09.123Z"},
            {"node_id": 1, "state": "lost", "epoch": 0, "open_injections": 0, "turns": 0, "tokens": 0, "seq": 0,
             "error": "no word\nfor 90 s"}
        ]))
        .unwrap();
        let view = SwarmView {
            swarm_id: "s1",
            job_id: Some("7"),
            status: SwarmState::Running,
            provider_state: Some("RUNNING"),
            reason: Some("the job was requeued"),
            node_count: 2,
            nodes: &nodes,
        };
        insta::assert_snapshot!(swarm(Colours::OFF, &view), @r"
        swarm s1: running, RUNNING, 2 nodes, job 7, 12345 tokens
        the job was requeued
        NODE  STATE  HOST  AGENT  TURNS  OPEN  TOKENS  LAST EVENT       AT                    HEARTBEAT             INJECTION  TROUBLE
           0  busy   c1    codex      3     2   12345  assistant_delta  2026-03-01 12:00:00Z  2026-03-01 12:00:09Z  i7
           1  lost   -     -          0     0       0  -                -                     -                     -          no word for 90 s
        ");
        assert!(swarm(Colours::ON, &view).contains("\x1b[31mlost\x1b[0m"));
    }
}
