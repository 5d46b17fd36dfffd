//! Sessions with real processes: shell scripts that speak as much of Codex's protocol as a test needs.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests, and what only they call")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use codeswarm_agents::{AgentCommand, AgentEvent, Session, SessionSpec, adopt_orphans, open};
use codeswarm_protocol::launch::{AgentKind, AgentSpec};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnStatus};

/// Answers the handshake and `turn/start`, so that a turn `u1` runs when the script goes on.
const IN_A_TURN: &str = r#"
read -r line; echo '{"id":1,"result":{}}'
read -r line
read -r line; echo '{"id":2,"result":{"thread":{"id":"t1","path":"'"$CODEX_HOME"'/sessions/r-t1.jsonl"},"cwd":"/","approvalPolicy":"never","sandbox":{"type":"workspaceWrite"}}}'
read -r line; echo '{"id":3,"result":{"turn":{"id":"u1"}}}'
say() { echo '{"method":"item/agentMessage/delta","params":{"threadId":"t1","turnId":"u1","itemId":"m1","delta":"'"$1"'"}}'; }
end() { echo '{"method":"turn/completed","params":{"threadId":"t1","turn":{"id":"u1","status":"completed"}}}'; }
"#;

/// A fake agent and its folders.
struct Room {
    folder: tempfile::TempDir,
    agent: AgentSpec,
}

impl Room {
    fn with(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("agent.sh");
        fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let agent = AgentSpec {
            kind: AgentKind::Codex,
            // Through the shell: a file that was just written cannot always be executed ("text file busy") while other
            // threads fork.
            command: Some(vec!["/bin/sh".into(), program.display().to_string()]),
            ..AgentSpec::default()
        };
        Self { folder, agent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, resume: Option<&str>) -> Session {
        open(SessionSpec {
            agent: self.agent.clone(),
            cwd: self.folder.path().to_owned(),
            home: self.path("home"),
            keep: self.path("keep"),
            resume: resume.map(str::to_owned),
        })
    }

    /// The session, with a prompt given.
    async fn prompted(&self) -> Session {
        let session = self.open(None);
        send(&session, AgentCommand::RunTurn { prompt: "go".into() }).await;
        session
    }

    /// The process ids that the script has written into this file.
    fn pids(&self, name: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

async fn send(session: &Session, command: AgentCommand) {
    assert!(session.commands.send(command).await.is_ok(), "the session is over");
}

async fn next(session: &mut Session) -> AgentEvent {
    match tokio::time::timeout(Duration::from_secs(60), session.events.recv()).await {
        Ok(Some(event)) => event,
        Ok(None) => panic!("the events ended too early"),
        Err(_) => panic!("no event in a minute"),
    }
}

/// Reads events up to the one that `wanted` picks, which is the last.
async fn until(session: &mut Session, wanted: impl Fn(&AgentEvent) -> bool) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    loop {
        events.push(next(session).await);
        if events.last().is_some_and(&wanted) {
            return events;
        }
    }
}

fn is_exit(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::Exited { .. })
}

fn is_turn_end(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::TurnEnded { .. })
}

fn delta(event: &AgentEvent) -> Option<&str> {
    match event {
        AgentEvent::Said(Word::AssistantDelta { content, .. }) => Some(content),
        _ => None,
    }
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, state)| !state.trim_start().starts_with(['Z', 'X']))
}

async fn poll(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what} did not happen in a minute"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts children of all sorts and writes down who they are; the last one has neither the mark nor a parent that lives.
const CHILDREN: &str = r#"
sleep 100000 & echo $! >> children
setsid sh -c 'echo $$ >> children; sleep 100000 & echo $! >> children; wait' &
setsid sh -c 'env -i setsid sleep 100000 & echo $! > unmarked' &
while [ "$(wc -l < children)" -lt 3 ] || [ ! -s unmarked ]; do sleep 0.01; done
"#;

#[tokio::test]
async fn nothing_of_the_tree_is_left_after_a_stop() {
    adopt_orphans().unwrap();
    let room = Room::with(&format!("{IN_A_TURN}{CHILDREN} say ready; cat > /dev/null"));
    let mut session = room.prompted().await;
    until(&mut session, |event| delta(event) == Some("ready")).await;
    let mut children = room.pids("children");
    assert!(
        children.len() == 3 && children.iter().all(|pid| lives(*pid)),
        "{children:?}"
    );
    children.extend(room.pids("unmarked"));
    send(&session, AgentCommand::Stop).await;
    let events = until(&mut session, is_exit).await;
    assert_eq!(children.iter().filter(|pid| lives(**pid)).count(), 0);
    assert!(
        matches!(
            events[events.len() - 2..],
            [
                AgentEvent::TurnEnded {
                    status: TurnStatus::Interrupted,
                    ..
                },
                AgentEvent::Exited {
                    asked: true,
                    code: Some(0),
                    ..
                }
            ]
        ),
        "{events:?}"
    );
}

#[tokio::test]
async fn nothing_of_the_tree_is_left_after_a_kill_of_the_agent() {
    adopt_orphans().unwrap();
    let room = Room::with(&format!("{IN_A_TURN}{CHILDREN} kill -9 $$"));
    let mut session = room.prompted().await;
    let events = until(&mut session, is_exit).await;
    let children = [room.pids("children"), room.pids("unmarked")].concat();
    assert_eq!(children.len(), 4);
    assert_eq!(children.iter().filter(|pid| lives(**pid)).count(), 0);
    assert!(matches!(
        events.last(),
        Some(AgentEvent::Exited {
            asked: false,
            signal: Some(9),
            may_restart: true,
            ..
        })
    ));
}

#[tokio::test]
async fn nothing_of_the_tree_is_left_after_the_session_was_dropped() {
    let room = Room::with(&format!(
        "{IN_A_TURN} sleep 100000 & echo $! $$ > pids; say ready; wait"
    ));
    let mut session = room.prompted().await;
    until(&mut session, |event| delta(event) == Some("ready")).await;
    let pids = room.pids("pids");
    assert!(pids.len() == 2 && pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    drop(session);
    poll("the end of the tree", || !pids.iter().any(|pid| lives(*pid))).await;
}

#[tokio::test]
async fn what_a_killed_worker_s_agent_has_left_is_gone_when_the_next_one_starts() {
    let script = format!("{IN_A_TURN} cat > /dev/null");
    let rooms = [Room::with(&script), Room::with(&script)];
    // As if started by sessions whose worker was killed: one process with the mark, and one below it without.
    let left = r#"sleep 100000 & env -i sleep 100000 & echo $$ $! > left; wait"#;
    let start = rooms.iter().map(|room| {
        let folder = room.folder.path().display();
        format!("(cd {folder}; CODESWARM_AGENT_TREE={folder}/home#earlier exec setsid sh -c '{left}') &\n")
    });
    let started: String = start.collect();
    let starter = Room::with(&format!("{IN_A_TURN}\n{started}say ready; cat > /dev/null"));
    let mut starting = starter.prompted().await;
    until(&mut starting, |event| delta(event) == Some("ready")).await;
    let living = |room: &Room| room.pids("left").iter().filter(|pid| lives(**pid)).count();
    poll("all of them", || rooms.iter().all(|room| living(room) == 2)).await;

    let mut session = rooms[0].open(None);
    assert!(matches!(next(&mut session).await, AgentEvent::Ready { .. }));
    assert_eq!((living(&rooms[0]), living(&rooms[1])), (0, 2));
}

#[tokio::test]
async fn one_session_s_end_leaves_another_s_processes_alone() {
    let script = format!("{IN_A_TURN} sleep 100000 & echo $! > pids; say ready; cat > /dev/null");
    let (one, other) = (Room::with(&script), Room::with(&script));
    let (mut first, mut second) = (one.prompted().await, other.prompted().await);
    until(&mut first, |event| delta(event) == Some("ready")).await;
    until(&mut second, |event| delta(event) == Some("ready")).await;
    send(&first, AgentCommand::Stop).await;
    until(&mut first, is_exit).await;
    assert!(!lives(one.pids("pids")[0]) && lives(other.pids("pids")[0]));
}

#[tokio::test]
async fn an_agent_that_ignores_everything_is_killed() {
    let room = Room::with(&format!(
        "trap '' TERM; {IN_A_TURN} say ready; while :; do sleep 1; done"
    ));
    let mut session = room.prompted().await;
    session.set_grace(Duration::from_millis(50));
    until(&mut session, |event| delta(event) == Some("ready")).await;
    send(&session, AgentCommand::Stop).await;
    let events = until(&mut session, is_exit).await;
    assert!(
        matches!(
            events.last(),
            Some(AgentEvent::Exited {
                asked: true,
                signal: Some(9),
                ..
            })
        ),
        "{events:?}"
    );
}

#[tokio::test]
async fn an_agent_that_dies_in_mid_turn_leaves_its_last_words() {
    let words = r"printf '\033[31mERROR\033[0m out of luck\n' >&2; exit 3";
    let room = Room::with(&format!("{IN_A_TURN} say partly; {words}"));
    let mut session = room.prompted().await;
    let events = until(&mut session, is_exit).await;
    assert!(events.iter().any(|event| delta(event) == Some("partly")));
    let told = |wanted: fn(&AgentEvent) -> bool| events.iter().position(wanted);
    assert!(told(|event| *event == AgentEvent::Ending) < told(is_turn_end));
    let [
        AgentEvent::TurnEnded {
            status,
            error: Some(error),
            ..
        },
        AgentEvent::Exited {
            code,
            asked,
            stderr_tail,
            ..
        },
    ] = &events[events.len() - 2..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((*status, error.class), (TurnStatus::Failed, ErrorClass::AgentDied));
    assert_eq!(error.stderr_tail.as_deref(), Some("ERROR out of luck"));
    assert_eq!(
        (*code, *asked, stderr_tail.as_deref()),
        (Some(3), false, Some("ERROR out of luck"))
    );
    assert_eq!(session.events.recv().await, None);
}

#[tokio::test]
async fn an_agent_that_refuses_its_configuration_is_not_started_again() {
    let room = Room::with("echo 'Error: config.toml:1:1: no' >&2; exit 1");
    let mut session = room.open(None);
    let events = until(&mut session, is_exit).await;
    let Some(AgentEvent::Exited {
        message, may_restart, ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert!(
        message.contains("Error: config.toml:1:1: no") && !may_restart,
        "{message}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut room = Room::with("");
    room.agent.command = Some(vec!["/nowhere/codex".into()]);
    let mut session = room.open(None);
    let events = until(&mut session, is_exit).await;
    let Some(AgentEvent::Exited {
        message, may_restart, ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert!(
        message.contains("cannot start /nowhere/codex") && !may_restart,
        "{message}"
    );
}

#[tokio::test]
async fn an_agent_that_never_answers_is_given_up() {
    let mut room = Room::with("cat > /dev/null");
    room.agent.start_timeout_seconds = 1;
    let mut session = room.open(None);
    let events = until(&mut session, is_exit).await;
    let Some(AgentEvent::Exited {
        message,
        may_restart,
        asked,
        ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert!(
        message.contains("did not open its thread within 1 s") && *may_restart && !asked,
        "{message}"
    );
}

#[tokio::test]
async fn junk_and_noise_do_no_harm() {
    let noise = "echo junk; echo; printf '\\377\\n'; head -c 100000 /dev/zero >&2; echo; echo '{\"method\":1}'";
    let room = Room::with(&format!("{IN_A_TURN} {noise}; say fine; end; cat > /dev/null"));
    let mut session = room.prompted().await;
    let events = until(&mut session, is_turn_end).await;
    assert!(events.iter().any(|event| delta(event) == Some("fine")));
    assert!(matches!(
        events.last(),
        Some(AgentEvent::TurnEnded {
            status: TurnStatus::Completed,
            ..
        })
    ));
}

#[tokio::test]
async fn a_worker_that_reads_late_gets_everything_in_order_and_can_stop_it_before() {
    let count = 20_000;
    let flood = format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); say $i; done; echo > wrote_all");
    let room = Room::with(&format!("{IN_A_TURN} {flood}; end; cat > /dev/null"));
    let mut session = room.prompted().await;
    poll("a full channel", || {
        session.events.len() == session.events.max_capacity()
    })
    .await;
    assert!(
        !room.path("wrote_all").exists(),
        "the agent's output was read although nobody took it"
    );
    let events = until(&mut session, is_turn_end).await;
    let numbers: Vec<usize> = events
        .iter()
        .filter_map(delta)
        .map(|text| text.parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_prompt_larger_than_the_pipe_reaches_an_agent_that_talks_meanwhile() {
    // The agent writes more than a pipe holds before it reads: neither side may wait for the other.
    let talk = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); say 0123456789012345678901234567890123456789; done";
    let early = IN_A_TURN.replacen(
        "read -r line; echo '{\"id\":3",
        &format!("{talk}; read -r line; echo '{{\"id\":3"),
        1,
    );
    let early = early.replacen("say()", "unused()", 1);
    let say = r#"say() { echo '{"method":"item/agentMessage/delta","params":{"threadId":"t1","turnId":"u1","itemId":"m1","delta":"'"$1"'"}}'; }"#;
    let room = Room::with(&format!("{say}\n{early} end; cat > /dev/null"));
    let session = &mut room.open(None);
    let prompt = "x".repeat(1_000_000);
    send(session, AgentCommand::RunTurn { prompt }).await;
    let events = until(session, is_turn_end).await;
    assert_eq!(events.iter().filter_map(delta).count(), 3000);
}

#[tokio::test]
async fn the_environment_is_the_worker_s_without_what_is_ours_or_secret() {
    let mut room = Room::with("env > environment; pwd > cwd; exec cat > /dev/null");
    room.agent.env.insert("GREETING".into(), "from ${PATH}".into());
    room.agent.config.insert("model_reasoning_effort".into(), "low".into());
    // Whatever variable the test's own environment has stands for the key here.
    room.agent.api_key_env = Some("CARGO_PKG_NAME".into());
    let mut session = room.open(None);
    poll("the environment", || {
        fs::read_to_string(room.path("cwd")).is_ok_and(|cwd| cwd.ends_with('\n'))
    })
    .await;
    let environment = fs::read_to_string(room.path("environment")).unwrap();
    let has = |line: &str| environment.lines().any(|have| have == line);
    let home = room.path("home");
    assert!(has(&format!("CODEX_HOME={}", home.display())), "{environment}");
    assert!(environment.contains("GREETING=from /"), "{environment}");
    assert!(!environment.contains("CARGO_PKG_NAME="), "{environment}");
    let config = fs::read_to_string(home.join("config.toml")).unwrap();
    assert!(config.contains("model_reasoning_effort = \"low\""), "{config}");
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(home.join("config.toml")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    send(&session, AgentCommand::Stop).await;
    until(&mut session, is_exit).await;
}

#[tokio::test]
async fn the_thread_s_file_is_kept_after_a_turn_and_put_back_in_another_home() {
    let write = "mkdir -p \"$CODEX_HOME/sessions\"; echo one >> \"$CODEX_HOME/sessions/r-t1.jsonl\"";
    let late = "echo two >> \"$CODEX_HOME/sessions/r-t1.jsonl\"";
    let mut room = Room::with(&format!("{IN_A_TURN} {write}; end; cat > /dev/null; {late}"));
    let mut session = room.prompted().await;
    until(&mut session, is_turn_end).await;
    let kept = room.path("keep/sessions/r-t1.jsonl");
    poll("the copy", || {
        fs::read_to_string(&kept).is_ok_and(|text| text == "one\n")
    })
    .await;
    send(&session, AgentCommand::Stop).await;
    until(&mut session, is_exit).await;
    assert_eq!(fs::read_to_string(&kept).unwrap(), "one\ntwo\n");

    fs::remove_dir_all(room.path("home")).unwrap();
    let second = Room::with("cat \"$CODEX_HOME/sessions/r-t1.jsonl\" > seen; exec cat > /dev/null");
    room.agent.command = second.agent.command.clone();
    let mut session = room.open(Some("t1"));
    poll("the file", || {
        fs::read_to_string(room.path("seen")).is_ok_and(|text| text == "one\ntwo\n")
    })
    .await;
    send(&session, AgentCommand::Stop).await;
    until(&mut session, is_exit).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_kept_is_told_and_the_turn_ends_all_the_same() {
    let write = "mkdir -p \"$CODEX_HOME/sessions\"; echo one > \"$CODEX_HOME/sessions/r-t1.jsonl\"";
    let room = Room::with(&format!("{IN_A_TURN} {write}; end; cat > /dev/null"));
    fs::write(room.path("keep"), "not a folder").unwrap();
    let mut session = room.prompted().await;
    let is_trouble = |event: &AgentEvent| matches!(event, AgentEvent::Said(Word::Notice { message }) if message.contains("could not be kept"));
    let events = until(&mut session, is_trouble).await;
    assert!(events.iter().any(is_turn_end), "{events:?}");
    send(&session, AgentCommand::Stop).await;
    until(&mut session, is_exit).await;
}
