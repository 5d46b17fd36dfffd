//! The echo agent through a whole session: the loop without a process.

use std::time::Duration;

use codeswarm_agents::{AgentCommand, AgentEvent, Session, SessionSpec, open};
use codeswarm_protocol::launch::AgentSpec;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::{ErrorClass, TurnStatus};

fn spec(folder: &tempfile::TempDir) -> SessionSpec {
    SessionSpec {
        agent: AgentSpec::default(),
        cwd: folder.path().to_owned(),
        home: folder.path().join("home"),
        keep: folder.path().join("keep"),
        resume: None,
    }
}

async fn run(session: &Session, prompt: &str) {
    let prompt = prompt.to_owned();
    let sent = session.commands.send(AgentCommand::RunTurn { prompt }).await;
    assert!(sent.is_ok(), "the session is over");
}

async fn next(session: &mut Session) -> AgentEvent {
    match tokio::time::timeout(Duration::from_secs(60), session.events.recv()).await {
        Ok(Some(event)) => event,
        Ok(None) => panic!("the events ended too early"),
        Err(_) => panic!("no event in a minute"),
    }
}

/// Reads events up to the one that `wanted` picks, which is the last.
async fn until(session: &mut Session, wanted: fn(&AgentEvent) -> bool) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    loop {
        events.push(next(session).await);
        if events.last().is_some_and(wanted) {
            return events;
        }
    }
}

fn is_turn_end(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::TurnEnded { .. })
}

fn is_exit(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::Exited { .. })
}

#[tokio::test(start_paused = true)]
async fn a_thread_goes_on_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(spec(&folder));
    let AgentEvent::Ready { thread_id, resumed, .. } = next(&mut session).await else {
        panic!("no ready");
    };
    assert!(!resumed);
    run(&session, "a b c [[crash_after deltas=2]]").await;
    let events = until(&mut session, is_exit).await;
    // Said before the turn's end, so that the worker does not give the next prompt to a session that is over.
    let ending = events.iter().position(|event| *event == AgentEvent::Ending);
    assert!(
        ending.is_some() && ending < events.iter().position(is_turn_end),
        "{events:?}"
    );
    let ended: Vec<_> = events.iter().filter(|event| is_turn_end(event)).collect();
    assert!(
        matches!(ended[..], [AgentEvent::TurnEnded { status: TurnStatus::Failed, error: Some(error), .. }] if error.class == ErrorClass::AgentDied),
        "{ended:?}"
    );
    assert!(
        matches!(
            events.last(),
            Some(AgentEvent::Exited {
                asked: false,
                may_restart: true,
                ..
            })
        ),
        "{events:?}"
    );
    assert!(session.events.recv().await.is_none());
    assert!(session.commands.is_closed());

    let mut session = open(SessionSpec {
        resume: Some(thread_id.clone()),
        ..spec(&folder)
    });
    let AgentEvent::Ready {
        thread_id: again,
        resumed,
        ..
    } = next(&mut session).await
    else {
        panic!("no ready");
    };
    assert!(resumed && again == thread_id);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_read_can_still_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(spec(&folder));
    run(&session, "[[echo deltas=1000000]]").await;
    while session.events.len() < session.events.max_capacity() {
        tokio::task::yield_now().await;
    }
    session.commands.send(AgentCommand::Stop).await.unwrap();
    session.commands.closed().await;
    let events = until(&mut session, is_exit).await;
    assert!(events.len() < 1000, "{}", events.len());
    assert!(matches!(
        events[events.len() - 2..],
        [
            AgentEvent::TurnEnded {
                status: TurnStatus::Interrupted,
                ..
            },
            AgentEvent::Exited { asked: true, .. }
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn time_passes_at_the_pace_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(spec(&folder));
    let begun = tokio::time::Instant::now();
    run(&session, "[[echo deltas=100 pace_ms=50]]").await;
    let events = until(&mut session, is_turn_end).await;
    let said = events
        .iter()
        .filter(|event| matches!(event, AgentEvent::Said(Word::AssistantDelta { .. })))
        .count();
    assert_eq!(said, 100);
    assert!(begun.elapsed() >= Duration::from_secs(5));
    let Session { commands, .. } = &session;
    assert!(!commands.is_closed());
}

#[tokio::test]
async fn what_cannot_start_says_why_and_ends_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    for (spec, want) in [
        (
            SessionSpec {
                cwd: "relative".into(),
                ..spec(&folder)
            },
            "working directory relative",
        ),
        (
            SessionSpec {
                cwd: folder.path().join("nowhere"),
                ..spec(&folder)
            },
            "not an absolute path to a folder",
        ),
    ] {
        let mut session = open(spec);
        // The session may have ended before this arrives; then the sender is told.
        let sent = session
            .commands
            .send(AgentCommand::RunTurn { prompt: "x".into() })
            .await
            .is_ok();
        let events = until(&mut session, is_exit).await;
        let ends = events.iter().filter(|event| is_turn_end(event)).count();
        assert_eq!(ends, usize::from(sent));
        let Some(AgentEvent::Exited {
            message, may_restart, ..
        }) = events.last()
        else {
            panic!("{events:?}");
        };
        assert!(message.contains(want) && !may_restart, "{message}");
    }
}

#[tokio::test]
async fn dropping_the_commands_is_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(spec(&folder));
    let (other, _) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut session.commands, other));
    let events = until(&mut session, is_exit).await;
    assert!(matches!(events.last(), Some(AgentEvent::Exited { asked: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_ages_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(spec(&folder));
    run(&session, "[[slow seconds=1e19]]").await;
    until(&mut session, |event| matches!(event, AgentEvent::TurnStarted { .. })).await;
    assert!(session.commands.send(AgentCommand::Interrupt).await.is_ok());
    let events = until(&mut session, is_turn_end).await;
    assert!(matches!(
        events.last(),
        Some(AgentEvent::TurnEnded {
            status: TurnStatus::Interrupted,
            ..
        })
    ));
}
