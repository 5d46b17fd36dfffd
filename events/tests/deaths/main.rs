//! A consumer that dies at any moment, of routers that do, too: what it was told in the end, over all its lives.

#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use world::{Asked, History, Step, World};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u32, any::<bool>()).prop_map(|(node, chosen)| Step::Says { node, chosen }),
        1 => (0..2_usize, 0..4_usize).prop_map(|(swarm, state)| Step::Changes { swarm, state }),
        1 => Just(Step::Launches),
        6 => (1..12_usize).prop_map(Step::Hears),
        3 => Just(Step::Tells),
        1 => Just(Step::RouterDies),
        1 => Just(Step::Starts),
        2 => (0..6_usize, 0..400_usize).prop_map(|(operations, bytes)| Step::DiesAfter { operations, bytes }),
    ]
}

/// Each event of the chosen kind is told; more than once only where its process died as it was being told, and then it says so.
#[cfg(test)]
fn check(history: &History) {
    let mut told: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut firsts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &history.whole_lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let repeated = event["repeated"] == true;
        let swarm = event["swarm_id"].as_str().unwrap().to_owned();
        if event["seq"].is_null() {
            let state = format!("{} {}", event["status"], event["reason"]);
            let states = states.entry(swarm).or_default();
            assert!(
                repeated || states.last() != Some(&state),
                "the same state twice: {line}"
            );
            states.push(state);
            continue;
        }
        assert_eq!(event["type"], "turn_complete", "{line}");
        let node = format!("{}_{}", event["job_id"].as_str().unwrap(), event["node_id"]);
        let name = format!("{node} {}", event["seq"]);
        let before = told.entry(name.clone()).or_default();
        if before.is_empty() {
            firsts.entry(node).or_default().push(event["seq"].as_u64().unwrap());
        }
        assert!(
            !repeated || history.in_doubt.contains(&name),
            "nobody died over it: {line}"
        );
        before.push(repeated);
    }
    let names: BTreeSet<&String> = told.keys().collect();
    assert_eq!(
        names,
        history.chosen.iter().collect::<BTreeSet<_>>(),
        "told, and what was to be told"
    );
    for (name, times) in &told {
        assert!(
            times.iter().filter(|repeated| !**repeated).count() <= 1,
            "{name} was told twice as if it were new"
        );
    }
    for (node, order) in &firsts {
        assert!(order.is_sorted(), "{node} out of order: {order:?}");
    }
    // Who begins now is not told how a swarm was before.
    for (swarm, state) in history.states.iter().filter(|_| !history.from_now) {
        let last = states.get(swarm).and_then(|states| states.last()).unwrap();
        // The word of a launch gives no reason yet.
        assert_eq!(
            last.split(' ').next(),
            state.split(' ').next(),
            "how {swarm} is in the end"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn each_event_is_told_once_whoever_dies_when(
        steps in proptest::collection::vec(step(), 1..80),
        named in any::<bool>(),
        from_now in any::<bool>(),
    ) {
        let mut world = World::new(Asked { named, from_now });
        for step in steps {
            world.step(step);
        }
        check(&world.finish());
    }
}

/// The same at each operation of one fixed history, so that no place is left to chance.
#[test]
fn a_death_at_each_place_of_a_burst_loses_nothing_and_doubles_only_what_says_so() {
    let mut deaths = 0;
    let mut doubts = 0;
    for operations in 0..6 {
        for bytes in (0..600).step_by(7) {
            let mut world = World::default();
            world.step(Step::Launches);
            world.step(Step::Hears(100));
            world.step(Step::DiesAfter { operations, bytes });
            for node in [0, 1, 0, 0, 1] {
                world.step(Step::Says { node, chosen: true });
                world.step(Step::Says { node, chosen: false });
            }
            world.step(Step::Changes { swarm: 0, state: 1 });
            world.step(Step::Hears(100));
            world.step(Step::Tells);
            let history = world.finish();
            deaths += history.deaths;
            doubts += history.in_doubt.len();
            check(&history);
        }
    }
    assert!(
        deaths > 200 && doubts > 500,
        "{deaths} deaths left {doubts} events in doubt"
    );
}

/// A cursor that is kept before anything was heard again must not take what an earlier life left in doubt for told.
#[test]
fn what_is_in_doubt_stays_so_until_it_comes_again() {
    let mut world = World::default();
    world.step(Step::Launches);
    world.step(Step::Hears(100));
    world.step(Step::Tells);
    world.step(Step::Changes { swarm: 0, state: 0 });
    world.step(Step::Hears(100));
    world.step(Step::DiesAfter {
        operations: 1,
        bytes: 1000,
    });
    world.step(Step::Tells);
    world.step(Step::Starts);
    world.step(Step::Tells);
    let history = world.finish();
    assert_eq!(history.deaths, 1);
    let told = history.whole_lines.iter().filter(|line| line.contains("running"));
    let repeated: Vec<bool> = told.map(|line| line.contains("\"repeated\":true")).collect();
    assert_eq!(repeated, [false, true]);
    check(&history);
}
