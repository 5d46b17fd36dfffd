use super::*;

fn node(place: &str, position: &str) -> Mark {
    Mark::Node(Place::from_stem(place).unwrap(), position.parse().unwrap())
}

fn swarm(state: &State) -> Mark {
    Mark::Swarm("s-1".parse().unwrap(), state.clone())
}

fn waits(why: &str) -> State {
    State {
        is: "pending".to_owned(),
        detail: Some(why.to_owned()),
    }
}

#[test]
fn a_place_is_news_once_and_each_node_has_its_own() {
    let mut taken = Taken::from_cursor(&Cursor::new(Vec::new(), None));
    for place in ["0.1", "1", "1.1"] {
        assert_eq!(taken.judge(&node("7_00", place)), News::Yes);
        taken.take(&node("7_00", place));
        assert_eq!(taken.judge(&node("7_00", place)), News::No);
    }
    assert_eq!(taken.judge(&node("7_00", "1")), News::No);
    assert_eq!(taken.judge(&node("7_01", "1")), News::Yes);
    assert_eq!(taken.judge(&node("8_00", "1")), News::Yes);
}

#[test]
fn a_state_is_news_when_it_differs_and_a_bare_word_says_no_more_than_itself() {
    let mut taken = Taken::from_cursor(&Cursor::new(Vec::new(), None));
    taken.take(&swarm(&State::word("pending")));
    assert_eq!(taken.judge(&swarm(&waits("Priority"))), News::No);
    taken.take(&swarm(&waits("Priority")));
    assert_eq!(taken.judge(&swarm(&waits("Resources"))), News::Yes);
    assert_eq!(taken.judge(&swarm(&State::word("running"))), News::Yes);
}

#[test]
fn what_was_in_doubt_at_a_death_may_have_been_told_and_nothing_else() {
    let mut cursor = Cursor::new(Vec::new(), None);
    cursor.was_told(&node("7_00", "3"));
    cursor.intend([&node("7_00", "5"), &node("7_01", "1"), &swarm(&State::word("running"))]);
    let mut taken = Taken::from_cursor(&Cursor::read(&cursor.write().unwrap()).unwrap());
    assert_eq!(taken.judge(&node("7_00", "3")), News::No);
    assert_eq!(taken.judge(&node("7_00", "4")), News::Perhaps);
    taken.take(&node("7_00", "4"));
    assert_eq!(taken.judge(&node("7_00", "5")), News::Perhaps);
    assert_eq!(taken.judge(&node("7_00", "5.1")), News::Yes);
    assert_eq!(taken.judge(&node("7_01", "2")), News::Yes);
    assert_eq!(taken.judge(&swarm(&State::word("running"))), News::Perhaps);
}

#[test]
fn a_state_that_is_back_is_told_again_when_another_one_may_have_been_told_between() {
    let mut cursor = Cursor::new(Vec::new(), None);
    cursor.was_told(&swarm(&State::word("running")));
    cursor.intend([&swarm(&waits("requeued"))]);
    let mut taken = Taken::from_cursor(&cursor);
    assert_eq!(taken.judge(&swarm(&State::word("running"))), News::Perhaps);
    assert_eq!(taken.judge(&swarm(&State::word("terminated"))), News::Yes);
    taken.take(&swarm(&State::word("running")));
    assert_eq!(taken.judge(&swarm(&State::word("running"))), News::No);
}

#[test]
fn doubt_ends_where_it_is_told_and_stays_where_it_is_not() {
    let mut cursor = Cursor::new(Vec::new(), None);
    cursor.intend([&node("7_00", "5"), &node("7_01", "2")]);
    cursor.was_told(&node("7_00", "4"));
    assert_eq!(cursor.in_doubt.nodes.len(), 2);
    cursor.was_told(&node("7_00", "5"));
    cursor.intend([&node("7_01", "1")]);
    let left: Vec<String> = cursor.in_doubt.nodes.values().map(ToString::to_string).collect();
    assert_eq!(left, ["2"]);
}

/// A file of the first version: whoever changes the format keeps reading it.
#[test]
fn a_file_of_version_1_is_read() {
    let text = br#"{"version":1,"swarms":["s-1"],"left_out":{"before":"2026-03-01T12:00:00.000Z"},"told":{"nodes":{"local-7f3a_00":"17.2"},"swarms":{"s-1":{"is":"running","detail":""}},"link":{"is":"up","detail":""}},"in_doubt":{"nodes":{"local-7f3a_00":"18"}}}"#;
    let cursor = Cursor::read(text).unwrap();
    assert!(matches!(cursor.left_out, Some(LeftOut::Before(_))));
    assert_eq!(cursor.write().unwrap(), [text.as_slice(), b"\n"].concat());
}

#[test]
fn a_second_death_leaves_in_doubt_what_the_first_one_left() {
    let mut cursor = Cursor::new(Vec::new(), None);
    cursor.was_told(&swarm(&State::word("pending")));
    for is in ["running", "terminating"] {
        cursor.intend([&swarm(&State::word(is))]);
        cursor = Cursor::read(&cursor.write().unwrap()).unwrap();
    }
    let taken = Taken::from_cursor(&cursor);
    for is in ["pending", "running", "terminating"] {
        assert_eq!(taken.judge(&swarm(&State::word(is))), News::Perhaps, "{is}");
    }
    assert_eq!(taken.judge(&swarm(&State::word("failed"))), News::Yes);
}
