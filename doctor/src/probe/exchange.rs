//! Two machines and a folder: what one writes, the other sees, after how long, and whether a lock holds between them.
//!
//! The node says hello; the login node, which holds the lock, then writes a line and looks at its clock; the node answers
//! with its own clock and what trying the lock got; then it tells what it has seen of itself. Each line is synced, and each
//! look opens the file anew.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::folder::{Exchange, heard, say};
use super::{host, host_name, workspace};
use crate::facts::{Ask, ExchangeFacts, NodeFacts};
use crate::login::now;

/// The login node's end, until the node has told everything or the time is over.
pub fn attend(exchange: &Exchange, patience: Duration) -> ExchangeFacts {
    let until = Instant::now() + patience;
    let mut facts = ExchangeFacts {
        round_trip_ms: None,
        node_clock_ahead: None,
        no_lock: None,
        node: None,
    };
    // Held until this process has the node's answer.
    let lock = workspace::held(&exchange.lock());
    facts.no_lock = lock.as_ref().err().map(ToString::to_string);
    let node = exchange.node();
    if wait_for(&node, "hello", until).is_none() {
        return facts;
    }
    let (wrote, began) = (now(), Instant::now());
    if say(&exchange.login(), &json!({"ping": exchange.name})).is_err() {
        return facts;
    }
    let pong = wait_for(&node, "pong", until);
    let round_trip = began.elapsed().as_secs_f64();
    if let Some(pong) = pong {
        facts.round_trip_ms = Some(round_trip * 1000.0);
        facts.node_clock_ahead = pong.as_f64().map(|clock| clock - (wrote + round_trip / 2.0));
    }
    let told = wait_for(&node, "facts", until);
    facts.node = told.and_then(|told| serde_json::from_value(told).ok());
    facts
}

/// The compute node's end.
///
/// # Errors
/// The folder is not the one that was meant, or cannot be written.
pub fn node(exchange: &Exchange) -> Result<NodeFacts, String> {
    let cannot = |what: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!("{} cannot {what} {}: {error}", host_name(), path.display())
    };
    let text = std::fs::read(exchange.ask()).map_err(|error| cannot("read", &exchange.ask(), &error))?;
    let ask: Ask = serde_json::from_slice(&text).map_err(|error| cannot("read", &exchange.ask(), &error))?;
    if ask.nonce != exchange.name {
        return Err(cannot("use", &exchange.ask(), &"it belongs to another exchange"));
    }
    let file = exchange.node();
    let tell = |line: &Value| say(&file, line).map_err(|error| cannot("write", &file, &error));
    tell(&json!({"hello": host_name()}))?;
    let until = Instant::now() + Duration::from_secs(ask.patience_seconds);
    let lock = if wait_for(&exchange.login(), "ping", until).is_some() {
        tell(&json!({"pong": now()}))?;
        workspace::try_lock(&exchange.lock())
    } else {
        crate::facts::Lock::Untried
    };
    let facts = NodeFacts {
        host: host_name(),
        node: std::env::var("SLURMD_NODENAME").ok(),
        shared: workspace::shared(&exchange.ask()),
        lock,
        space: workspace::space(&exchange.ask()),
        host_facts: host::look(&ask.agent),
    };
    tell(&json!({"facts": facts}))?;
    Ok(facts)
}

/// Looks again and again for a line with this key; `None`: the time is over, or the folder is gone.
fn wait_for(path: &Path, key: &str, until: Instant) -> Option<Value> {
    let mut pause = Duration::from_millis(5);
    loop {
        let lines = match heard(path) {
            Ok(lines) => lines,
            // Whoever has cleaned up does not wait any more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(_) => Vec::new(),
        };
        if let Some(line) = lines.into_iter().find(|line| line.get(key).is_some()) {
            return line.get(key).cloned();
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Lock;
    use crate::probe::folder::new_name;

    #[test]
    fn both_ends_meet() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("runs")).unwrap();
        let exchange = Exchange::of(root.path(), &new_name());
        let ask = Ask {
            nonce: exchange.name.clone(),
            program: "codeswarm".into(),
            agent: codeswarm_protocol::launch::AgentSpec::default(),
            patience_seconds: 20,
        };
        exchange.prepare(&ask).unwrap();
        let other = exchange.clone();
        let there = std::thread::spawn(move || node(&other).unwrap());
        let seen = attend(&exchange, Duration::from_secs(20));
        let told = there.join().unwrap();
        assert!(
            seen.round_trip_ms.unwrap() < 5000.0 && seen.node_clock_ahead.unwrap().abs() < 5.0,
            "{seen:?}"
        );
        assert_eq!(seen.no_lock, None);
        assert_eq!((&told.lock, seen.node.as_ref()), (&Lock::Excludes, Some(&told)));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("runs")).unwrap();
        let exchange = Exchange::of(root.path(), &new_name());
        let gone = attend(&exchange, Duration::from_secs(20));
        assert!(gone.node.is_none() && gone.no_lock.is_some());
        let why = node(&exchange).unwrap_err();
        assert!(why.contains("ask.json"), "{why}");
    }
}
