//! Jobs that this router did not launch: how many commands wait for them, and what they become.

use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::{JobId, RejectionCode, SwarmId};
use codeswarm_slurm::Answer;
use serde_json::{Value, json};

use super::alone::*;
use super::in_slurm::*;
use crate::core::{Change, Effect, Errand, NotAnswered};

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn inject(job: &str) -> Value {
    json!({"command": "inject", "job_id": job, "node_id": 0, "content": "hello"})
}

/// A running job that was launched for this swarm.
fn of_swarm(job: &str, swarm_id: &str) -> Result<Answer, NotAnswered> {
    let line = format!(
        "JobId={job} JobName=codeswarm UserId=me(1) JobState=RUNNING NumTasks=2 Comment=codeswarm:{swarm_id}\n"
    );
    says(0, &line, "")
}

#[test]
fn p8_p12_no_more_commands_and_jobs_wait_to_be_looked_up_than_are_kept() {
    let mut alone = connected();
    for n in 0..64 {
        assert!(told(&alone.request(1, &format!("r{n}"), inject("100"))).is_empty());
    }
    let (code, reason) = refused(&alone.request(1, "one-more", inject("100")));
    assert_eq!(code, RejectionCode::Overloaded);
    assert!(reason.contains("64 commands wait for job 100"), "{reason}");
    // One of those that wait already is still one of them.
    assert!(told(&alone.request(2, "r0", inject("100"))).is_empty());

    for n in 101..116 {
        assert!(told(&alone.request(1, &format!("j{n}"), inject(&n.to_string()))).is_empty());
    }
    let (code, reason) = refused(&alone.request(1, "another", inject("116")));
    assert_eq!(code, RejectionCode::Overloaded);
    assert!(reason.contains("16 jobs wait"), "{reason}");
    assert!(told(&alone.request(1, "j-again", inject("115"))).is_empty());

    let effects = alone.answer(Errand::Adopt(job("100")), unknown_job());
    assert_eq!(told(&effects).len(), 64, "each is answered");
    assert!(
        told(&alone.request(1, "another", inject("116"))).is_empty(),
        "there is room again"
    );
}

#[test]
fn a_command_without_a_target_is_refused_and_waits_for_no_job() {
    let mut alone = connected();
    for command in [
        json!({"command": "inject", "node_id": 0, "content": "x"}),
        json!({"command": "interrupt", "node_id": 0}),
        json!({"command": "approve_execution", "node_id": 0, "call_id": "q", "approved": true}),
        json!({"command": "approve_execution", "call_id": "q", "approved": true}),
    ] {
        let effects = alone.command(command);
        assert_eq!(refused(&effects).0, RejectionCode::MissingField, "{effects:?}");
        assert!(calls(&effects).is_empty() && alone.core.adopting.is_empty());
    }
    for command in [
        json!({"command": "interrupt", "job_id": "28", "node_id": 0}),
        json!({"command": "approve_execution", "job_id": "29", "call_id": "q", "approved": true}),
    ] {
        let asked = errands(&alone.command(command));
        assert!(matches!(asked[..], [Errand::Adopt(_)]), "{asked:?}");
    }
}

#[test]
fn p2_a_command_for_a_job_that_becomes_a_swarm_while_it_is_looked_up_is_carried_out_there() {
    let mut alone = connected();
    let effects = alone.request(1, "r1", json!({"command": "swarm_launch", "nodes": 2}));
    let (submit, ..) = alone.until_sbatch(&effects);
    let announce = errands(&alone.answer(submit, says(0, "28\n", ""))).pop().unwrap();
    let adopt = errands(&alone.request(2, "r2", inject("28"))).pop().unwrap();
    alone.answer(announce, shown("28", "RUNNING", "None", 0));
    let swarm = alone.swarm_of_job("28");
    let effects = alone.answer(adopt, shown("28", "RUNNING", "None", 0));
    assert_eq!(accepted(&effects).len(), 1, "{effects:?}");
    assert_eq!(alone.swarm_of_job("28"), swarm);
    assert_eq!(alone.core.swarms().count(), 1);
}

#[test]
fn an_adopted_job_has_the_name_that_it_was_launched_with_unless_another_has_it() {
    let mut alone = connected();
    for (number, is_named) in [("28", true), ("29", false)] {
        let adopt = errands(&alone.request(1, number, inject(number))).pop().unwrap();
        alone.answer(adopt, of_swarm(number, "sw-of-another-router"));
        let swarm_id = alone.swarm_of_job(number).swarm_id;
        assert_eq!(swarm_id == SwarmId::new("sw-of-another-router").unwrap(), is_named);
    }
    assert_eq!(alone.core.swarms().count(), 2);
}

#[test]
fn what_agents_an_adopted_swarm_has_is_known_and_stored_when_one_is_up() {
    let mut alone = connected();
    let adopt = errands(&alone.request(1, "r", inject("28"))).pop().unwrap();
    alone.answer(adopt, shown("28", "RUNNING", "None", 0));
    assert_eq!(alone.swarm_of_job("28").agent, "");
    let effects = alone.comes_up(&place("28", 1), 1);
    let stored = effects.iter().find_map(|effect| match effect {
        Effect::Save(Change::Swarm(swarm)) if !swarm.agent.is_empty() => Some(swarm.agent.clone()),
        _ => None,
    });
    assert_eq!(stored.as_deref(), Some("echo"));
    let effects = alone.command(json!({"command": "swarm_list"}));
    let RouterWord::SwarmList { swarms } = &told(&effects)[0].word else {
        panic!("{effects:?}")
    };
    assert_eq!(swarms.values().next().unwrap().agent, "echo");
}
