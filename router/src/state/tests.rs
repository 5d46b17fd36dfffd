//! The database: what it gives back, what a failed commit leaves behind, and that its format changes only on purpose.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use codeswarm_protocol::event::{NodeState, RouterWord, SwarmState};
use codeswarm_protocol::launch::{AgentSpec, LaunchSpec, WorkerSpec};
use codeswarm_protocol::{Epoch, InjectionId, JobId, NodeId, SwarmId, Timestamp};
use rusqlite::types::ValueRef;

use super::*;
use crate::core::{JobNow, Node, Stage, Submission, Swarm};
use codeswarm_configs::SlurmSection;

impl State {
    /// From now on nothing can be written, as on a disk that is read-only; or again.
    pub(crate) fn refuse_writes(&self, refused: bool) {
        self.connection.pragma_update(None, "query_only", refused).unwrap();
    }
}

fn place(rank: u32) -> Place {
    Place::new(JobId::new("local-1").unwrap(), NodeId::new(rank).unwrap())
}

fn id(text: &str) -> InjectionId {
    InjectionId::new(text).unwrap()
}

fn swarm() -> Swarm {
    Swarm {
        swarm_id: SwarmId::new("sw-1").unwrap(),
        job_id: JobId::new("local-1").unwrap(),
        node_count: 2,
        system_prompt: Some("be good".to_owned()),
        status: SwarmState::Running,
        reason: None,
        provider: "local".to_owned(),
        agent: "echo".to_owned(),
        created: Timestamp(1_000),
        request_id: Some(RequestId::new("r-1").unwrap()),
        spec: LaunchSpec {
            version: "0".to_owned(),
            swarm_id: Some(SwarmId::new("sw-1").unwrap()),
            job_id: Some(JobId::new("local-1").unwrap()),
            node_count: 2,
            agent: AgentSpec::default(),
            worker: WorkerSpec::default(),
            agents_md_content: None,
        },
        job: None,
    }
}

fn node() -> Node {
    let mut node = Node::default();
    node.state = NodeState::Busy;
    node.host = Some("h".to_owned());
    (node.pid, node.pid_started) = (Some(7), Some(8));
    node.epoch = Epoch(2);
    node.position = Position { seq: Seq(5), sub: 1 };
    node.offset = 900;
    node.current = Some(id("i-1"));
    (node.turns, node.tokens) = (3, 40);
    node.error = Some("it was slow".to_owned());
    node
}

/// One of two that share a text.
fn injection(number: u64) -> Injection {
    Injection {
        injection_id: id(&format!("i-{number}")),
        place: place(0),
        request_id: Some(RequestId::new("r 1 \"x\"").unwrap()),
        content: Some(Arc::from("work")),
        prompt_number: 10,
        steer: number == 2,
        state: InjectionState::Accepted,
        number: 10 + number,
        acknowledged_at: Position { seq: Seq(5), sub: 2 },
        accepted: Timestamp(2_000),
        deadline: Duration::ZERO,
        told_pending: false,
    }
}

fn said(sub: u32) -> Change {
    let mut event = RouterEvent::new(RouterWord::InjectAck {}, Timestamp(3_000));
    event.injection_id = Some(id("i-1"));
    Change::Said {
        place: place(0),
        position: Position { seq: Seq(5), sub },
        event,
    }
}

fn request(state: &State) -> Option<KnownRequest> {
    state.request(&RequestId::new("r 1 \"x\"").unwrap()).unwrap()
}

/// One of everything that is stored.
fn everything() -> Batch {
    let known = KnownRequest {
        fingerprint: "1-ff".to_owned(),
        swarm_id: Some(SwarmId::new("sw-1").unwrap()),
        injections: vec![(id("i-1"), place(0), Position { seq: Seq(5), sub: 2 })],
    };
    let request_id = RequestId::new("r 1 \"x\"").unwrap();
    Batch {
        changes: vec![
            Change::Swarm(Box::new(swarm())),
            Change::Node(place(0), Box::new(node())),
            Change::Node(place(1), Box::default()),
            Change::Injection(injection(1)),
            Change::Injection(injection(2)),
            Change::InjectionState(id("i-1"), InjectionState::Sent),
            Change::Request { request_id, known },
            said(2),
            Change::Submission(Box::new(submission())),
        ],
        cursors: BTreeMap::from([(place(1), (77, Position::at(Seq(1))))]),
    }
}

/// A launch that Slurm has been told of.
fn submission() -> Submission {
    let swarm = Swarm {
        swarm_id: SwarmId::new("sw-2").unwrap(),
        job: Some(JobNow::of(2)),
        ..swarm()
    };
    Submission::stored(
        swarm,
        SlurmSection::default(),
        Stage::Submitted(JobId::new("27").unwrap()),
    )
}

fn check_everything(state: &State) {
    check_what_format_1_has(state);
    assert_eq!(state.load().unwrap().submissions, [submission()]);
}

fn check_what_format_1_has(state: &State) {
    let mut loaded = state.load().unwrap();
    assert_eq!(loaded.swarms, [swarm()]);
    let mut expected = node();
    expected.position.sub = 2;
    assert_eq!(
        loaded.nodes[0],
        (place(0), expected),
        "its stream ends behind the last word"
    );
    assert_eq!(
        (loaded.nodes[1].1.offset, loaded.nodes[1].1.position),
        (77, Position::at(Seq(1)))
    );
    loaded.injections.sort_by_key(|injection| injection.number);
    let sent = Injection {
        state: InjectionState::Sent,
        ..injection(1)
    };
    assert_eq!(loaded.injections, [sent, injection(2)]);
    assert_eq!(loaded.last_number, 12);
    assert_eq!(request(state).unwrap().injections.len(), 1);
    assert_eq!(state.request_of("i-2").unwrap().unwrap().as_str(), "r 1 \"x\"");
    assert_eq!(state.request_of("nobody's").unwrap(), None);
    let words = state
        .said(&place(0), Position::START, Position { seq: Seq(9), sub: 0 }, 9)
        .unwrap();
    assert_eq!(words.len(), 1);
}

/// The whole database as the statements that make it.
fn dump(file: &Path) -> String {
    let connection = Connection::open(file).unwrap();
    let mut text = String::new();
    let tables = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid";
    let mut statement = connection.prepare(tables).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let tables: Vec<(String, String)> = rows.map(Result::unwrap).collect();
    for (name, sql) in tables {
        text.push_str(&format!("{sql};\n"));
        if sql.starts_with("CREATE TABLE") {
            rows_of(&connection, &name, &mut text);
        }
    }
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    text.push_str(&format!("PRAGMA user_version = {version};\n"));
    text
}

fn rows_of(connection: &Connection, table: &str, text: &mut String) {
    let mut statement = connection
        .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
        .unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let value = |at| match row.get_ref(at).unwrap() {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes).replace('\'', "''")),
            other => panic!("{other:?}"),
        };
        let values: Vec<String> = (0..columns).map(value).collect();
        text.push_str(&format!("INSERT INTO {table} VALUES ({});\n", values.join(", ")));
    }
}

fn golden(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/state/golden/format_{format}.sql"))
}

#[test]
fn what_is_stored_comes_back_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    let mut state = State::open(&file).unwrap();
    let batch = everything();
    state.commit(&batch, batch.durability()).unwrap();
    check_everything(&state);
    drop(state);
    check_everything(&State::open(&file).unwrap());
}

#[test]
fn p1_p3_what_was_promised_of_a_prompt_is_synced_and_what_files_tell_again_is_not() {
    let said = |word| Change::Said {
        place: place(0),
        position: Position::at(Seq(1)),
        event: RouterEvent::new(word, Timestamp(0)),
    };
    let failed = RouterWord::InjectFailed {
        error: "timeout".to_owned(),
        reason: "not in the node's inbox".to_owned(),
    };
    let table = [
        (Change::Injection(injection(1)), Durability::Power),
        // Taken for one that was never sent it would be told as failed, and is in the inbox.
        (
            Change::InjectionState(id("i-1"), InjectionState::Sent),
            Durability::Power,
        ),
        (said(failed), Durability::Power),
        (Change::Swarm(Box::new(swarm())), Durability::Power),
        (Change::Submission(Box::new(submission())), Durability::Power),
        (
            Change::InjectionState(id("i-1"), InjectionState::Delivered),
            Durability::Process,
        ),
        (
            Change::InjectionState(id("i-1"), InjectionState::Ended),
            Durability::Process,
        ),
        (said(RouterWord::InjectDelivered {}), Durability::Process),
        (Change::Node(place(0), Box::default()), Durability::Process),
    ];
    for (change, durability) in table {
        let batch = Batch {
            changes: vec![Change::Node(place(1), Box::default()), change],
            cursors: BTreeMap::new(),
        };
        assert_eq!(batch.durability(), durability, "{batch:?}");
    }
}

/// Databases of each format as they were when it was new: later versions have to read them for ever. To write the newest
/// while it is not released: `CODESWARM_WRITE_GOLDEN=1 cargo test -p codeswarm-router state::`.
#[test]
fn a_database_of_an_earlier_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    if std::env::var_os("CODESWARM_WRITE_GOLDEN").is_some() {
        let file = folder.path().join("new.sqlite");
        State::open(&file)
            .unwrap()
            .commit(&everything(), Durability::Process)
            .unwrap();
        std::fs::write(golden(2), dump(&file)).unwrap();
    }
    for format in [1, 2] {
        let file = folder.path().join(format!("{format}.sqlite"));
        let script = std::fs::read_to_string(golden(format)).unwrap();
        Connection::open(&file).unwrap().execute_batch(&script).unwrap();
        let state = State::open(&file).unwrap();
        check_what_format_1_has(&state);
        let submissions = state.load().unwrap().submissions;
        assert_eq!(submissions.len(), if format == 1 { 0 } else { 1 });
    }
}

#[test]
fn the_tables_of_a_format_do_not_change_under_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    drop(State::open(&file).unwrap());
    let tables = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("INSERT"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let known = std::fs::read_to_string(golden(2)).unwrap();
    assert_eq!(
        tables(&dump(&file)),
        tables(&known),
        "a new format needs a new number, and old files brought forward"
    );
}

#[test]
fn a_newer_database_and_a_file_that_is_none_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.sqlite");
    Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = State::open(&newer).unwrap_err();
    assert!(matches!(error, StateError::TooNew { found: 99, .. }), "{error}");
    let none = folder.path().join("none.sqlite");
    std::fs::write(
        &none,
        "this is a letter, not a database; it is long enough to be looked into".repeat(9),
    )
    .unwrap();
    let error = State::open(&none).unwrap_err().to_string();
    assert!(
        error.contains("none.sqlite") && error.contains("not a database"),
        "{error}"
    );
}

#[test]
fn p9_a_commit_on_a_full_disk_stores_nothing_and_the_same_batch_goes_in_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    let pages: i64 = state
        .connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    state
        .connection
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        .unwrap();
    let mut batch = everything();
    let mut long = injection(3);
    (long.content, long.prompt_number) = (Some("x".repeat(1_000_000).into()), 20);
    batch.changes.push(Change::Injection(long));
    for _ in 0..3 {
        let error = state.commit(&batch, Durability::Power).unwrap_err().to_string();
        assert!(error.contains("full") && error.contains("disk has space"), "{error}");
        assert!(state.load().unwrap().swarms.is_empty() && request(&state).is_none());
    }
    state
        .connection
        .query_row("PRAGMA max_page_count = 100000", [], |_| Ok(()))
        .unwrap();
    state.commit(&batch, Durability::Power).unwrap();
    assert_eq!(state.load().unwrap().injections.len(), 3);
}

#[test]
fn p9_a_state_that_cannot_be_written_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    state.refuse_writes(true);
    state.commit(&everything(), Durability::Process).unwrap_err();
    assert!(state.load().unwrap().swarms.is_empty());
    state.refuse_writes(false);
    state.commit(&everything(), Durability::Process).unwrap();
    check_everything(&state);
}

#[test]
fn a_text_is_kept_until_the_last_of_its_prompts_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    state.commit(&everything(), Durability::Process).unwrap();
    let texts = |state: &State| -> u64 {
        state
            .connection
            .query_row("SELECT count(*) FROM prompts", [], |row| row.get(0))
            .unwrap()
    };
    let go_on = |state: &mut State, number: &str, to| {
        let changes = vec![Change::InjectionState(id(number), to)];
        let cursors = BTreeMap::new();
        state.commit(&Batch { changes, cursors }, Durability::Process).unwrap();
    };
    go_on(&mut state, "i-1", InjectionState::Delivered);
    assert_eq!(texts(&state), 1);
    go_on(&mut state, "i-2", InjectionState::Ended);
    assert_eq!(texts(&state), 0);
    let loaded = state.load().unwrap();
    assert_eq!(loaded.injections.len(), 1, "the ended one is not needed any more");
    assert_eq!(loaded.last_number, 12, "and its number is never given out again");
}

#[test]
fn words_are_found_between_two_places_of_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    let at = |seq, sub| Position { seq: Seq(seq), sub };
    let positions = [at(0, 1), at(0, 2), at(1, 1), at(2, 10), at(10, 1)];
    let word = |rank: u32, position| Change::Said {
        place: place(rank),
        position,
        event: RouterEvent::new(RouterWord::InjectAck {}, Timestamp(0)),
    };
    let mut batch = Batch::default();
    batch.changes.extend(positions.map(|position| word(0, position)));
    batch.changes.push(word(1, at(1, 1)));
    let found = |words: Vec<(Position, RouterEvent)>| words.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
    let between = |from, until| (place(0), from, until);
    for (place, from, until) in [
        between(Position::START, at(10, 1)),
        between(at(0, 1), at(2, 9)),
        between(at(0, 2), at(2, 10)),
        between(at(10, 1), at(99, 0)),
    ] {
        let expected: Vec<Position> = positions.into_iter().filter(|at| *at > from && *at <= until).collect();
        assert_eq!(
            found(batch.said(&place, from, until).collect()),
            expected,
            "before it is stored"
        );
        state.commit(&std::mem::take(&mut batch), Durability::Process).unwrap();
        assert_eq!(found(state.said(&place, from, until, 99).unwrap()), expected, "stored");
        batch.changes.extend(positions.map(|position| word(0, position)));
    }
    assert_eq!(state.said(&place(0), Position::START, at(99, 0), 2).unwrap().len(), 2);
}

#[test]
fn the_files_of_the_state_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    state.commit(&everything(), Durability::Power).unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        files += 1;
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
    assert!(files >= 1);
}

/// Runs a statement behind the state's back.
fn spoil(state: &State, sql: &str) {
    assert!(state.connection.execute(sql, []).unwrap() > 0, "{sql}");
}

#[test]
fn a_state_whose_folder_is_not_there_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = State::open(&folder.path().join("gone/state.sqlite")).unwrap_err();
    assert!(matches!(error, StateError::Database { .. }), "{error:?}");
    assert!(error.to_string().contains("gone/state.sqlite"), "{error}");
}

#[test]
fn a_stored_value_that_cannot_be_read_is_named_and_never_passed_over() {
    for (table, what) in [("swarms", "swarm"), ("nodes", "node"), ("submissions", "submission")] {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
        state.commit(&everything(), Durability::Process).unwrap();
        spoil(&state, &format!("UPDATE {table} SET json = '{{'"));
        let error = state.load().unwrap_err().to_string();
        assert!(
            error.contains("state.sqlite") && error.contains(&format!("holds a {what} that")),
            "{error}"
        );
    }
}

#[test]
fn rows_that_name_no_place_are_passed_over_and_the_rest_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    state.commit(&everything(), Durability::Process).unwrap();
    spoil(&state, "UPDATE nodes SET job_id = '../x' WHERE node_id = 1");
    spoil(
        &state,
        "UPDATE injections SET job_id = '../x' WHERE injection_id = 'i-2'",
    );
    let loaded = state.load().unwrap();
    let places: Vec<&Place> = loaded.nodes.iter().map(|(place, _)| place).collect();
    assert_eq!(places, [&place(0)]);
    let injections: Vec<&str> = loaded.injections.iter().map(|one| one.injection_id.as_str()).collect();
    assert_eq!(injections, ["i-1"]);
    assert_eq!(loaded.last_number, 12, "a number is never given out again");
}

#[test]
fn p9_a_batch_that_is_refused_in_its_middle_is_undone_and_the_next_one_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder.path().join("state.sqlite")).unwrap();
    let mut twice = everything();
    twice.changes.push(Change::Injection(injection(1)));
    for _ in 0..2 {
        state.commit(&twice, Durability::Power).unwrap_err();
        let loaded = state.load().unwrap();
        assert!(loaded.swarms.is_empty() && loaded.injections.is_empty() && request(&state).is_none());
    }
    state.commit(&everything(), Durability::Power).unwrap();
    check_everything(&state);
}
