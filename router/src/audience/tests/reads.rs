//! What is read back for one client at once.

use super::*;
use crate::audience::client::{LEAST, READS};

const CLIENT: ClientId = ClientId(1);

/// A client that lacks something of so many nodes.
fn behind(nodes: u32) -> Audience {
    let mut audience = Audience::default();
    audience.join(CLIENT);
    let nodes = (0..nodes).map(|rank| {
        let node = NodeNow {
            place: Place::new(JobId::new("j").unwrap(), NodeId::new(rank).unwrap()),
            swarm_id: None,
            end: Position::at(Seq(9)),
        };
        (node, Some(Position::START))
    });
    audience.subscribe(CLIENT, None, nodes.collect(), None, Spelling::Flat);
    audience
}

#[test]
fn p8_several_nodes_are_read_at_once_each_once_and_no_more_bytes_than_there_is_room_for() {
    for (room, each, expected) in [
        (1 << 30, 1, READS),
        (3 * LEAST, LEAST, 3),
        (3 * LEAST - 1, LEAST, 2),
        // A little is read whatever room there is, or a client that has little would never get on.
        (0, LEAST, 1),
    ] {
        let mut audience = behind(40);
        let client = audience.client(CLIENT).unwrap();
        let mut read = Vec::new();
        while let Some(bytes) = client.may_read(room) {
            assert!(bytes >= LEAST && (bytes <= room || room < LEAST));
            let next = client.next_read(|_| false).unwrap();
            client.reading.insert(next.place.clone(), each);
            read.push(next.place);
        }
        assert_eq!(read.len(), expected);
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "{read:?}");
        client.reading.remove(&read[0]);
        assert_eq!(
            client.next_read(|_| false).unwrap().place,
            read[0],
            "it lacks still more"
        );
    }
}

#[test]
fn p8_where_one_falls_behind_it_is_known_from_which_byte_on_it_is_read_back() {
    let mut audience = behind(0);
    let place = Place::new(JobId::new("j").unwrap(), NodeId::new(0).unwrap());
    let event = Heard {
        place: &place,
        swarm_id: None,
        position: Position::at(Seq(8)),
        before: Position::at(Seq(7)),
        offset: 4711,
        injection_id: None,
        ending: Ending::No,
    };
    assert!(audience.hear(event, |_| false).is_empty());
    let read = audience.client(CLIENT).unwrap().next_read(|_| false).unwrap();
    assert_eq!((read.at, read.from), (Position::at(Seq(7)), ReadFrom::Offset(4711)));
}
