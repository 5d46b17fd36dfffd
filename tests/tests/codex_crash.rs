//! Something dies in mid-turn: Codex, its worker, or router and worker and the node's disk. The turn ends, the thread goes
//! on, and nothing of the old tree is left.

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::answer_to;
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::stream::assert_every_record_once;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A command with a child in the background and one in a session of its own.
const TREE: &str = "[[exec sleep 4001 & setsid sleep 4002 & sleep 4003]] never said";

/// Runs [`TREE`] until all of it is up; answers with the injection.
fn grow_a_tree(codex: &mut CodexSwarm) -> String {
    let injection = codex.inject(TREE);
    for sleep in ["sleep 4001", "sleep 4002", "sleep 4003"] {
        codex.wait_for_process(sleep);
    }
    injection
}

/// A further turn works, in the same thread: its model sees what was said before.
fn assert_the_thread_goes_on(codex: &mut CodexSwarm) {
    let turn = codex.turn("which word?").completed();
    assert_eq!(turn.answer(), answer_to("which word?"));
    assert_eq!(turn.one("usage")["total_tokens"], 1050, "the turn's own tokens only");
    let request = codex.model.requests().pop().unwrap();
    assert!(request.user_texts().contains(&"the word is heron".to_owned()));
    assert!(request.assistant_texts().contains(&answer_to("the word is heron")));
}

fn of_kind(records: &[Value], kind: &str) -> Vec<Value> {
    records
        .iter()
        .filter(|record| record["type"] == kind)
        .cloned()
        .collect()
}

#[test]
fn a_codex_killed_in_mid_turn_is_started_again_and_its_thread_resumed() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    codex.turn("the word is heron").completed();
    let injection = grow_a_tree(&mut codex);
    let waiting = codex.inject("I waited");
    codex.router.event_of(&waiting, "inject_received");
    let old = codex.agent();
    codex.workspace.signal(&old, Signal::KILL);

    let turn = codex.end_of(&injection);
    assert_eq!((turn.status(), turn.class()), ("failed", "agent_died"), "{}", turn.end);
    assert!(turn.message().contains("signal 9"), "{}", turn.end);
    // The prompt behind it is kept and runs in the resumed thread.
    assert_eq!(codex.end_of(&waiting).completed().answer(), answer_to("I waited"));
    let records = codex.records();
    let exits = of_kind(&records, "agent_exit");
    assert_eq!((exits.len(), &exits[0]["signal"]), (1, &json!(9)), "{exits:#?}");
    assert!(exits[0]["restart_in_ms"].is_u64(), "{exits:#?}");
    let ready = of_kind(&records, "agent_ready");
    assert_eq!(ready.len(), 2);
    assert_eq!(
        (&ready[1]["resumed"], &ready[1]["thread_id"]),
        (&json!(true), &ready[0]["thread_id"])
    );
    codex.wait_until_gone("sleep 400");
    assert_ne!(codex.agent().pid, old.pid);
    assert_the_thread_goes_on(&mut codex);
}

#[test]
fn a_codex_killed_while_it_has_nothing_to_do_is_there_for_the_next_prompt() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    // Before its first turn a thread has no file and cannot be resumed: a new one is begun, and that is said.
    codex.workspace.signal(&codex.agent(), Signal::KILL);
    codex.wait_for_record("agent_exit", |record| record["type"] == "agent_exit");
    assert_eq!(
        codex.turn("the word is heron").completed().answer(),
        answer_to("the word is heron")
    );
    let notices = of_kind(&codex.records(), "notice");
    assert!(
        notices
            .iter()
            .any(|notice| notice.to_string().contains("a new one begins")),
        "{notices:#?}"
    );

    codex.workspace.signal(&codex.agent(), Signal::KILL);
    wait_until("the second agent_exit", || {
        match of_kind(&codex.records(), "agent_exit").len() {
            2 => Ok(()),
            count => Err(format!("{count} of them")),
        }
    });
    assert_the_thread_goes_on(&mut codex);
}

#[test]
fn a_worker_killed_in_mid_turn_comes_back_as_epoch_2_and_its_thread_goes_on() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    codex.turn("the word is heron").completed();
    let injection = grow_a_tree(&mut codex);
    codex.workspace.signal(&codex.worker(), Signal::KILL);
    let turn = codex.end_of(&injection);
    assert_eq!((turn.status(), turn.class()), ("failed", "worker_died"), "{}", turn.end);
    assert_eq!(turn.end["epoch"], 2);
    assert_the_thread_goes_on(&mut codex);
    codex.wait_until_gone("sleep 400");
    let ready = of_kind(&codex.records(), "agent_ready");
    assert_eq!((&ready[1]["epoch"], &ready[1]["resumed"]), (&json!(2), &json!(true)));
    // The client has heard everything once, whichever life wrote it.
    let heard = codex.router.lines();
    let records: Vec<_> = codex
        .records()
        .into_iter()
        .filter(|record| !record["injection_id"].is_null())
        .collect();
    let heard: Vec<_> = heard
        .into_iter()
        .filter(|event| !event["injection_id"].is_null())
        .collect();
    assert_every_record_once(&heard, &records, &codex.swarm.job_id, 0);
}

#[test]
fn a_thread_outlives_router_worker_and_the_nodes_own_disk() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    codex.turn("the word is heron").completed();
    let injection = codex.inject("[[slow]]");
    codex.router.event_of(&injection, "assistant_delta");
    codex.router.kill();
    // Started by the router in a session of its own, or still the killed one's: whoever would start the worker again.
    for process in codex.workspace.processes_named(" router ") {
        codex.workspace.signal(&process, Signal::KILL);
    }
    codex.workspace.signal(&codex.worker(), Signal::KILL);
    codex.workspace.wait_until_quiet();
    let homes: Vec<_> = std::fs::read_dir(codex.workspace.path().join("tmp"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(homes.len(), 1, "{homes:?}");
    std::fs::remove_dir_all(homes[0].path()).unwrap();
    let kept = codex.work().with_extension("session");
    assert!(kept.is_dir(), "what a resume needs is in {}", kept.display());

    codex.router = RouterProcess::daemon(&codex.workspace);
    codex.router.asked(
        json!({"command": "subscribe", "swarm_id": codex.swarm.swarm_id, "since": 0}),
        "subscribed",
    );
    let turn = codex.end_of(&injection);
    assert_eq!((turn.status(), turn.class()), ("failed", "worker_died"), "{}", turn.end);
    assert_the_thread_goes_on(&mut codex);
    wait_until("the new home", || match homes[0].path().is_dir() {
        true => Ok(()),
        false => Err("not there".to_owned()),
    });
}
