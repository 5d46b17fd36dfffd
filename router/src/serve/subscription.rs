//! What `subscribe` means for the nodes that there are.

use codeswarm_protocol::command::{Since, Subscribe};
use codeswarm_protocol::{Place, Position, Rejection, RejectionCode, SwarmId};

use crate::audience::NodeNow;
use crate::core::Core;

/// The nodes that a subscription covers now, each with where the client's copy ends.
pub(super) fn nodes_of(core: &Core, wanted: &Subscribe) -> Result<Vec<(NodeNow, Option<Position>)>, Rejection> {
    let swarms: Vec<&SwarmId> = match &wanted.swarm_id {
        Some(id) if core.swarm(id).is_none() => {
            return Err(Rejection::field(
                RejectionCode::UnknownSwarm,
                "swarm_id",
                format!("no swarm {id} is known here; swarm_list tells which are"),
            ));
        }
        Some(id) => vec![id],
        None => core.swarms().map(|swarm| &swarm.swarm_id).collect(),
    };
    if let Some(Since::ByNode(positions)) = &wanted.since {
        check_names(core, wanted.swarm_id.as_ref(), positions.keys())?;
    }
    let one_swarm = wanted.swarm_id.is_some();
    let mut nodes = Vec::new();
    for swarm_id in swarms {
        for place in core.places(swarm_id) {
            let since = wanted
                .since
                .as_ref()
                .and_then(|since| position_in(since, &place, one_swarm));
            let end = core.stream_end(&place).0;
            nodes.push((
                NodeNow {
                    place,
                    swarm_id: Some(swarm_id.clone()),
                    end,
                },
                since,
            ));
        }
    }
    Ok(nodes)
}

fn position_in(since: &Since, place: &Place, one_swarm: bool) -> Option<Position> {
    match since {
        Since::Everywhere(position) => Some(*position),
        Since::ByNode(positions) => {
            let named = |(name, position): (&String, &Position)| {
                let same = if one_swarm && !name.contains('_') {
                    name.parse()
                        .is_ok_and(|node: codeswarm_protocol::NodeId| node == place.node_id)
                } else {
                    Place::from_stem(name).is_ok_and(|other| other == *place)
                };
                same.then_some(*position)
            };
            let others = positions.get(Since::ALL_OTHERS).copied();
            let unnamed = others.or(one_swarm.then_some(Position::START));
            positions.iter().find_map(named).or(unnamed)
        }
    }
}

fn check_names<'a>(
    core: &Core,
    swarm: Option<&SwarmId>,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), Rejection> {
    for name in names.filter(|name| *name != Since::ALL_OTHERS) {
        let known = match (Place::from_stem(name), swarm.and_then(|id| core.swarm(id))) {
            (Ok(place), _) => core.node(&place).is_some(),
            (Err(_), Some(swarm)) => name
                .parse()
                .is_ok_and(|node: codeswarm_protocol::NodeId| node.rank() < swarm.node_count),
            (Err(_), None) => false,
        };
        if !known {
            let shown: String = name.chars().take(64).collect();
            return Err(Rejection::field(
                RejectionCode::BadField,
                "since",
                format!("{shown:?} is no node here; write <job_id>_<node_id>, or a rank where one swarm is meant"),
            ));
        }
    }
    Ok(())
}
