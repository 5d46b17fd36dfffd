//! The machines of a job: one that Slurm takes out of a job that goes on is lost, and nothing else is.

use std::time::Duration;

use codeswarm_protocol::JobId;
use codeswarm_protocol::event::{NodeState, RouterWord, SwarmState};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::TurnStatus;

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Effect, Errand, Input, NotAnswered};

const WHOLE: &str = "n[0-1]";

fn job() -> JobId {
    JobId::new("27").unwrap()
}

/// How many machines are in these lists.
fn count(hosts: &str) -> u32 {
    if hosts.contains('-') { 2 } else { 1 }
}

fn queued(hosts: &str) -> Result<codeswarm_slurm::Answer, NotAnswered> {
    let count = count(hosts);
    says(0, &format!("27|RUNNING|{count}|{hosts}|N/A|N/A|codeswarm:x|None\n"), "")
}

fn shown_on(hosts: &str, restarts: u32) -> Result<codeswarm_slurm::Answer, NotAnswered> {
    let mut answer = shown("27", "RUNNING", "None", restarts)?;
    let text = String::from_utf8(answer.stdout).unwrap();
    answer.stdout = text
        .replace("NumNodes=2 ", &format!("NumNodes={} ", count(hosts)))
        .replace("NodeList=(null)", &format!("NodeList={hosts}"))
        .into_bytes();
    Ok(answer)
}

/// A running swarm of two nodes, each on its own machine, of whose list the core knows.
fn on_two_machines() -> Alone {
    let mut alone = connected();
    alone.launch_job("27");
    begin_on(&mut alone, 1, ["n0", "n1"]);
    let asked = later(&mut alone);
    let effects = alone.answer(Errand::Queue(vec![job()], asked), queued(WHOLE));
    assert!(calls(&effects).is_empty(), "all is known: {effects:?}");
    alone
}

/// The workers and their agents come up on these machines.
fn begin_on(alone: &mut Alone, epoch: u32, hosts: [&str; 2]) {
    for (rank, host) in (0..).zip(hosts) {
        alone.comes_up_on(host, &place("27", rank), epoch);
    }
}

fn later(alone: &mut Alone) -> Duration {
    alone.now += POLL;
    alone.now
}

/// Slurm has another list than before: it is looked at closely, and its names are asked for.
fn runs_on(alone: &mut Alone, hosts: &str, restarts: u32) -> Errand {
    let asked = later(alone);
    let effects = alone.answer(Errand::Queue(vec![job()], asked), queued(hosts));
    let [Errand::Show(..)] = &errands(&effects)[..] else {
        panic!("squeue does not tell which life it speaks of: {effects:?}")
    };
    let effects = alone.answer(Errand::Show(job(), asked), shown_on(hosts, restarts));
    let (errand, call) = calls(&effects).pop().unwrap();
    assert_eq!(call.arguments, ["show", "hostnames", hosts]);
    errand
}

fn reads(effects: &[Effect]) -> usize {
    let is_read =
        |down: &codeswarm_protocol::frame::Downward| matches!(down, codeswarm_protocol::frame::Downward::Read { .. });
    down(effects).iter().filter(|down| is_read(down)).count()
}

#[test]
fn p6_a_machine_that_slurm_takes_out_of_a_job_that_goes_on_is_lost_and_its_prompts_end() {
    let mut alone = on_two_machines();
    let (id, ticket) = alone.inject(&place("27", 1));
    alone.step(Input::Appended { ticket, offset: 0 });
    alone.record(&place("27", 1), 1, started(), Some(&id));
    let errand = runs_on(&mut alone, "n0", 0);
    let effects = alone.answer(errand, says(0, "n0\n", ""));
    assert!(
        alone.core.is_open(&id),
        "what its worker wrote last is read before its prompts end"
    );
    let ticket = a_read(&effects);
    let next = alone.core.stream_end(&place("27", 1)).1;
    let effects = alone.step(Input::OutboxRead {
        ticket,
        next,
        done: true,
        unread: None,
    });
    assert!(!alone.core.is_open(&id));
    let words: Vec<_> = told(&effects).into_iter().map(|event| &event.word).collect();
    let [
        RouterWord::NodeLost { reason },
        RouterWord::TurnComplete { status, error, .. },
    ] = &words[..]
    else {
        panic!("{words:?}")
    };
    assert_eq!(*status, TurnStatus::Failed);
    assert_eq!(&error.as_ref().unwrap().message, reason);
    assert!(reason.contains("taken n1 out of the job"), "{reason}");
    let state = |rank| alone.core.node(&place("27", rank)).unwrap().state;
    assert_eq!((state(0), state(1)), (NodeState::Idle, NodeState::Lost));
    assert_eq!(alone.swarm_of_job("27").status, SwarmState::Running);

    // It is told once, also by another life of the router, which knows the list.
    let (mut next, _) = alone.restarted(&[]);
    next.connect();
    let asked = later(&mut next);
    let effects = next.answer(Errand::Queue(vec![job()], asked), queued("n0"));
    assert!(calls(&effects).is_empty(), "{effects:?}");
}

/// As an operator does who sets a machine down on which everything still works.
#[test]
fn p6_what_waits_for_a_worker_that_was_told_to_end_ends_when_its_machine_has_left_the_job() {
    let mut alone = on_two_machines();
    let (waits, _) = alone.inject(&place("27", 1));
    let exit = Word::WorkerExit {
        reason: "sigterm".to_owned(),
        inbox_offset: 0,
    };
    alone.record(&place("27", 1), 1, exit, None);
    alone.exits(&place("27", 1));
    let errand = runs_on(&mut alone, "n0", 0);
    let effects = alone.answer(errand, says(0, "n0\n", ""));
    assert!(!alone.core.is_open(&waits), "{effects:?}");
    assert_eq!(failed(&effects), [&waits]);
    assert_eq!(alone.core.node(&place("27", 1)).unwrap().state, NodeState::Exited);
}

#[test]
fn p6_a_machine_that_was_lost_while_no_router_ran_is_noticed() {
    let alone = on_two_machines();
    let (mut next, _) = alone.restarted(&[]);
    next.connect();
    let errand = runs_on(&mut next, "n0", 0);
    let effects = next.answer(errand, says(0, "n0\n", ""));
    assert_eq!(reads(&effects), 1);
}

#[test]
fn p6_a_machine_that_was_lost_before_slurm_was_first_asked_is_noticed() {
    let mut alone = connected();
    alone.launch_job("27");
    begin_on(&mut alone, 1, ["n0", "n1"]);
    let errand = runs_on(&mut alone, "n0", 0);
    assert_eq!(reads(&alone.answer(errand, says(0, "n0\n", ""))), 1);
}

#[test]
fn p11_other_machines_of_another_life_are_no_loss() {
    let mut alone = on_two_machines();
    let late = runs_on(&mut alone, "n0", 0);
    let asked = later(&mut alone);
    let effects = alone.answer(Errand::Show(job(), asked), shown_on("n[2-3]", 1));
    assert!(calls(&effects).is_empty(), "as many as it wants: {effects:?}");
    assert_eq!(
        reads(&alone.answer(late, says(0, "n0\n", ""))),
        0,
        "a word of the life before"
    );
    // Of that life, it is.
    begin_on(&mut alone, 2, ["n2", "n3"]);
    let errand = runs_on(&mut alone, "n3", 1);
    assert_eq!(reads(&alone.answer(errand, says(0, "n3\n", ""))), 1);
}

#[test]
fn p11_a_node_that_spoke_after_slurm_was_asked_is_not_lost_yet() {
    let mut alone = on_two_machines();
    let errand = runs_on(&mut alone, "n0", 0);
    alone.now += Duration::from_secs(1);
    alone.record(&place("27", 1), 1, complete(), None);
    let effects = alone.answer(errand, says(0, "n0\n", ""));
    assert_eq!(reads(&effects), 0);
    let errand = runs_on(&mut alone, "n0", 0);
    assert_eq!(reads(&alone.answer(errand, says(0, "n0\n", ""))), 1, "but then it is");
}

#[test]
fn p11_a_list_that_cannot_be_expanded_loses_nobody_and_is_asked_for_again() {
    let mut alone = on_two_machines();
    let errand = runs_on(&mut alone, "n0", 0);
    assert_eq!(reads(&alone.answer(errand, no_answer(false))), 0);
    let errand = runs_on(&mut alone, "n0", 0);
    assert_eq!(reads(&alone.answer(errand, says(0, "n0\n", ""))), 1);
}

#[test]
fn a_list_that_lacks_machines_names_nobody_by_rank() {
    let mut alone = connected();
    alone.launch_job("27");
    let errand = runs_on(&mut alone, "n1", 0);
    alone.answer(errand, says(0, "n1\n", ""));
    assert_eq!(alone.core.node(&place("27", 0)).unwrap().host, None);
}
