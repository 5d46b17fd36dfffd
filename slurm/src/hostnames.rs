//! Which machine a rank is on: `scontrol show hostnames` (scontrol(1)) turns `node[0-3,7]` into names.

use std::num::NonZeroU32;

use codeswarm_protocol::NodeId;

use crate::call::{Answer, Call};
use crate::error::SlurmError;

/// Asks for the names in a host list; `None` for an empty list, for which scontrol would take one from its environment.
pub fn show(nodes: &str) -> Option<Call> {
    let nodes = nodes.trim();
    let usable = !nodes.is_empty() && !nodes.starts_with('-') && !nodes.contains(char::is_control);
    usable.then(|| Call::new("scontrol", ["show", "hostnames", nodes]))
}

/// Reads what [`show`] brought: the names in the order of the job's nodes.
pub fn read(answer: &Answer) -> Result<Vec<String>, SlurmError> {
    let name = |line: &&str| !line.is_empty() && line.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let text = answer.good("scontrol")?;
    let hosts: Vec<_> = text.lines().map(str::trim).filter(name).map(str::to_owned).collect();
    if hosts.is_empty() {
        return Err(SlurmError::Unclear {
            command: "scontrol",
            exit_code: answer.exit_code,
            said: format!("no host name in {:?}", text.chars().take(200).collect::<String>()),
        });
    }
    Ok(hosts)
}

/// The host of a rank when ranks are numbered node after node (`srun --distribution=block`, which the batch script asks
/// for).
pub fn host_of(hosts: &[String], node: NodeId, agents_per_node: NonZeroU32) -> Option<&str> {
    let at = usize::try_from(node.rank() / agents_per_node.get()).ok()?;
    hosts.get(at).map(String::as_str)
}

/// The ranks on a host, likewise; empty for a host that is not the job's.
pub fn ranks_on(hosts: &[String], host: &str, agents_per_node: NonZeroU32) -> Vec<NodeId> {
    let per_node = agents_per_node.get();
    let first = hosts
        .iter()
        .position(|name| name == host)
        .and_then(|at| u32::try_from(at).ok())
        .and_then(|at| at.checked_mul(per_node));
    let Some(first) = first else {
        return Vec::new();
    };
    (first..first.saturating_add(per_node))
        .filter_map(|rank| NodeId::new(rank).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    #[test]
    fn a_list_becomes_names_and_an_empty_one_is_not_asked_for() {
        let call = show("node[0-1,7],x9").unwrap();
        assert_eq!(call.to_string(), "scontrol show hostnames 'node[0-1,7],x9'");
        for not in ["", " ", "-x", "a\nb"] {
            assert_eq!(show(not), None, "{not:?}");
        }
        let hosts = read(&answer(0, "node0\nnode1\nnode7\nx9\n", "")).unwrap();
        assert_eq!(hosts, ["node0", "node1", "node7", "x9"]);
        assert!(read(&answer(0, "", "")).is_err());
        // What 22.05.8 prints for `node[0-`.
        assert!(read(&answer(0, "node]\n", "")).is_err());
    }

    #[test]
    fn ranks_are_counted_node_after_node() {
        let hosts: Vec<String> = ["a", "b"].map(str::to_owned).into();
        let per_node = NonZeroU32::new(3).unwrap();
        let rank = |n| NodeId::new(n).unwrap();
        assert_eq!(host_of(&hosts, rank(2), per_node), Some("a"));
        assert_eq!(host_of(&hosts, rank(3), per_node), Some("b"));
        assert_eq!(host_of(&hosts, rank(6), per_node), None);
        assert_eq!(ranks_on(&hosts, "b", per_node), [rank(3), rank(4), rank(5)]);
        assert_eq!(ranks_on(&hosts, "c", per_node), []);
    }
}
