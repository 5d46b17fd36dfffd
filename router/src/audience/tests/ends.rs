//! What a client still waits for: ends that come, that never come, and more of them than are remembered.

use super::*;
use crate::audience::client::MAX_ENDED;

const CLIENT: ClientId = ClientId(1);

fn node() -> NodeNow {
    NodeNow {
        place: Place::new(JobId::new("j").unwrap(), NodeId::new(0).unwrap()),
        swarm_id: None,
        end: Position::START,
    }
}

fn id(number: usize) -> InjectionId {
    InjectionId::new(&format!("i-{number}")).unwrap()
}

fn heard<'a>(node: &'a NodeNow, seq: u64, injection: &'a InjectionId, ending: Ending) -> Heard<'a> {
    Heard {
        place: &node.place,
        swarm_id: None,
        position: Position::at(Seq(seq)),
        before: Position::at(Seq(seq - 1)),
        injection_id: Some(injection.as_str()),
        ending,
    }
}

#[test]
fn p8_of_the_prompts_that_are_over_only_the_last_ones_are_remembered() {
    let (mut audience, node) = (Audience::default(), node());
    audience.join(CLIENT);
    let prompts = MAX_ENDED + 10;
    for number in 0..prompts {
        audience.follow(CLIENT, id(number), &node, None);
        let end = heard(&node, 1, &id(number), Ending::Yes).position;
        let hearers = audience.hear(heard(&node, end.seq.0, &id(number), Ending::Yes), |_| true);
        assert_eq!(hearers, [CLIENT]);
    }
    let client = audience.client(CLIENT).unwrap();
    assert_eq!((client.own.len(), client.open.len()), (MAX_ENDED, 0));
    // Words that come after the end, of the oldest that is remembered and of the one before it.
    for (number, hears) in [(9, false), (10, true), (prompts - 1, true)] {
        let hearers = audience.hear(heard(&node, 2, &id(number), Ending::No), |_| true);
        assert_eq!(!hearers.is_empty(), hears, "prompt {number}");
    }
}

#[test]
fn p6_a_batch_that_reads_back_does_not_wait_for_the_usage_of_a_worker_that_died() {
    for usage_can_come in [true, false] {
        let (mut audience, node) = (Audience::default(), node());
        audience.join(CLIENT);
        audience.follow(CLIENT, id(1), &node, None);
        assert!(audience.hear(heard(&node, 1, &id(1), Ending::No), |_| false).is_empty());
        let client = audience.client(CLIENT).unwrap();
        client.finished_asking = true;
        // What was read back ends with the turn, or goes on with something else.
        client.heard(&heard(&node, 5, &id(1), Ending::BeforeUsage));
        let up_to = Seq(if usage_can_come { 5 } else { 6 });
        client.has_read(&node.place, Position::at(up_to), 900, true);
        assert!(client.behind.is_empty());
        assert_eq!(client.is_done(), !usage_can_come);
    }
}

#[test]
fn p10_a_client_that_is_behind_and_asks_for_an_earlier_place_keeps_what_else_it_lacks() {
    let (mut audience, mut node) = (Audience::default(), node());
    node.end = Position::at(Seq(9));
    audience.join(CLIENT);
    audience.follow(CLIENT, id(1), &node, Some(Position::at(Seq(7))));
    audience.follow(CLIENT, id(2), &node, Some(Position::at(Seq(3))));
    let behind = &audience.client(CLIENT).unwrap().behind[&node.place];
    assert_eq!(behind.at, Position::at(Seq(3)));
    for (seq, number, lacked) in [(4, 2, true), (7, 1, false), (8, 1, true), (8, 3, false)] {
        let lacks = behind.lacks(Position::at(Seq(seq)), Some(id(number).as_str()));
        assert_eq!(lacks, lacked, "record {seq} of prompt {number}");
    }
}

#[test]
fn p12_what_another_node_says_of_a_clients_prompt_is_not_its_end() {
    let (mut audience, node) = (Audience::default(), node());
    let other = NodeNow {
        place: Place::new(JobId::new("j").unwrap(), NodeId::new(1).unwrap()),
        ..node.clone()
    };
    audience.join(CLIENT);
    audience.follow(CLIENT, id(1), &node, None);
    for ending in [Ending::Yes, Ending::BeforeUsage, Ending::No] {
        let hearers = audience.hear(heard(&other, 1, &id(1), ending), |_| true);
        assert!(hearers.is_empty(), "{ending:?}");
        let client = audience.client(CLIENT).unwrap();
        client.heard(&heard(&other, 1, &id(1), ending));
        assert!(client.open.contains(&id(1)), "{ending:?}");
        // What the other node says next is not waited for either.
        audience.hear(heard(&other, 2, &id(2), Ending::No), |_| true);
        assert!(audience.client(CLIENT).unwrap().open.contains(&id(1)), "{ending:?}");
    }
    assert_eq!(audience.hear(heard(&node, 1, &id(1), Ending::Yes), |_| true), [CLIENT]);
    assert!(audience.client(CLIENT).unwrap().open.is_empty());
}
