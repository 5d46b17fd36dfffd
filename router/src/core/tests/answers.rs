//! What a client is answered, whatever it asks for.

use codeswarm_protocol::command::{Command, Recall, Request, Spelling};
use codeswarm_protocol::event::{RecalledInjection, RouterWord, SwarmSummary};
use codeswarm_protocol::{JobId, RejectionCode, RequestId};
use serde_json::json;

use super::alone::*;
use super::in_slurm::*;
use super::world::settings;
use crate::core::{Change, ClientId, Effect, Input, SLURM, Settings};

#[test]
fn p12_a_launch_that_cannot_be_is_refused_at_its_field_and_leaves_nothing() {
    let no_provider = || Settings {
        providers: Vec::new(),
        ..settings()
    };
    let no_slurm = || Settings {
        slurm: None,
        ..with_slurm()
    };
    let table = [
        (
            settings(),
            json!({"agent": {"turn_timeout_seconds": 0}}),
            "has to be at least 1",
        ),
        (
            settings(),
            json!({"agent": {"start_timeout_seconds": 0}}),
            "has to be at least 1",
        ),
        (
            settings(),
            json!({"agent": {"approval_timeout_seconds": 0}}),
            "has to be at least 1",
        ),
        (
            settings(),
            json!({"worker": {"heartbeat_seconds": 0}}),
            "has to be at least 1",
        ),
        (
            settings(),
            json!({"worker": {"shutdown_grace_seconds": 0}}),
            "has to be at least 1",
        ),
        (
            settings(),
            json!({"worker": {"queue_limit": 0}}),
            "has to be at least 1",
        ),
        (no_provider(), json!({}), "no provider"),
        (settings(), json!({"provider": "moon"}), "there is local"),
        (no_slurm(), json!({"provider": SLURM}), "no Slurm"),
    ];
    for (settings, wish, words) in table {
        let mut alone = Alone::new(settings);
        let before = format!("{:?}", alone.core);
        let mut command = json!({"command": "swarm_launch", "nodes": 1});
        command
            .as_object_mut()
            .unwrap()
            .extend(wish.as_object().unwrap().clone());
        let effects = alone.command(command);
        let (_, reason) = refused(&effects);
        assert!(reason.contains(words), "{wish}: {reason}");
        let RouterWord::CommandRejected { field, .. } = &told(&effects)[0].word else {
            panic!("{effects:?}")
        };
        if let Some((section, wished)) = wish.as_object().unwrap().iter().find(|(_, wished)| wished.is_object()) {
            let name = wished.as_object().unwrap().keys().next().unwrap();
            assert_eq!(field.as_deref(), Some(&*format!("{section}.{name}")));
        }
        assert_eq!((effects.len(), format!("{:?}", alone.core)), (1, before), "{wish}");
    }
}

#[test]
fn a_launch_with_its_own_times_begins_with_them() {
    let mut alone = Alone::new(settings());
    alone.command(
        json!({"command": "swarm_launch", "nodes": 1, "agent": {"turn_timeout_seconds": 7},
        "worker": {"queue_limit": 3}}),
    );
    let swarm = alone.core.swarms().next().unwrap();
    assert_eq!(swarm.spec.agent.turn_timeout_seconds, 7);
    assert_eq!(swarm.spec.worker.queue_limit, 3);
}

#[test]
fn the_list_shows_the_beginning_of_a_long_system_prompt() {
    let mut alone = Alone::new(settings());
    for prompt in ["é".repeat(200), "é".repeat(201)] {
        alone.command(json!({"command": "swarm_launch", "nodes": 1, "system_prompt": prompt}));
    }
    let effects = alone.command(json!({"command": "swarm_list"}));
    let RouterWord::SwarmList { swarms } = &told(&effects)[0].word else {
        panic!("{effects:?}")
    };
    let shown = |summary: &SwarmSummary| summary.system_prompt.clone().unwrap();
    let mut shown: Vec<String> = swarms.values().map(shown).collect();
    shown.sort();
    assert_eq!(shown, ["é".repeat(200), "é".repeat(200) + "…"]);
}

#[test]
fn a_subscription_is_none_of_the_cores_and_told_as_a_defect() {
    let mut alone = Alone::new(settings());
    let (code, reason) = refused(&alone.command(json!({"command": "subscribe"})));
    assert_eq!(code, RejectionCode::State);
    assert!(reason.contains("a defect"), "{reason}");
}

#[test]
fn p12_a_job_is_adopted_nowhere_but_in_front_of_slurm() {
    let mut alone = Alone::new(settings());
    let (code, reason) = refused(&alone.command(json!({"command": "swarm_adopt", "job_id": "28"})));
    assert_eq!(code, RejectionCode::UnknownJob);
    assert!(reason.contains("no job 28 is known here"), "{reason}");
    assert!(alone.core.swarm_of(&JobId::new("28").unwrap()).is_none());
}

#[test]
fn a_client_is_owed_an_answer_as_long_as_something_of_it_waits_for_the_cluster() {
    let owes = |alone: &Alone| [1, 2, 3].map(|client| alone.core.owes_an_answer(ClientId(client)));
    let mut alone = connected();
    let swarm = alone.running("27");
    assert_eq!(owes(&alone), [false; 3]);

    let launch = alone.request(1, "r1", json!({"command": "swarm_launch", "nodes": 2}));
    assert_eq!(owes(&alone), [true, false, false]);
    let inject = json!({"command": "inject", "job_id": "28", "node_id": 0, "content": "x"});
    let adopt = errands(&alone.request(2, "r2", inject)).pop().unwrap();
    assert_eq!(owes(&alone), [true, true, false]);
    alone.request(3, "r3", json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}));
    assert_eq!(owes(&alone), [true; 3]);

    alone.answer(adopt, unknown_job());
    assert_eq!(owes(&alone), [true, false, true]);
    let (submit, ..) = alone.until_sbatch(&launch);
    alone.answer(
        submit,
        says(
            1,
            "",
            "sbatch: error: Batch job submission failed: Invalid qos specification\n",
        ),
    );
    assert_eq!(owes(&alone), [false, false, true]);
    alone.now += std::time::Duration::from_secs(3);
    alone.step(Input::Tick);
    assert_eq!(owes(&alone), [false; 3]);
}

#[test]
fn a_recall_tells_what_a_request_has_caused_and_does_nothing() {
    let mut alone = Alone::new(settings());
    let place = alone.launch(1);
    let asked: Command =
        serde_json::from_value(json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": "x"}))
            .unwrap();
    let ask = |alone: &mut Alone, client, name: &str, command: &Command, known| {
        let request = Request {
            request_id: Some(RequestId::new(name).unwrap()),
            spelling: Spelling::Flat,
            command: command.clone(),
        };
        let client = ClientId(client);
        alone.step(Input::Command { client, request, known })
    };
    let first = ask(&mut alone, 1, "r", &asked, None);
    let known = first.iter().find_map(|effect| match effect {
        Effect::Save(Change::Request { known, .. }) => Some(known.clone()),
        _ => None,
    });
    let before = format!("{:?}", alone.core);
    let recall = Command::Recall(Recall {
        of: RequestId::new("r").unwrap(),
    });
    let effects = ask(&mut alone, 2, "look", &recall, known.clone());
    assert_eq!(format!("{:?}", alone.core), before);
    let (injection_id, ..) = known.unwrap().injections.pop().unwrap();
    let event = &told(&effects)[0];
    assert_eq!(event.request_id.as_ref().unwrap().as_str(), "look");
    assert!(event.swarm_id.is_some());
    let injections = vec![RecalledInjection {
        injection_id: injection_id.clone(),
        job_id: place.job_id,
        node_id: place.node_id,
    }];
    assert_eq!(
        event.word,
        RouterWord::Recalled {
            of: RequestId::new("r").unwrap(),
            injections
        }
    );
    assert!(effects.iter().any(
        |effect| matches!(effect, Effect::Follow { client: ClientId(2), injection_id: id, from: Some(_), .. } if *id == injection_id)
    ));

    let effects = ask(&mut alone, 2, "look", &recall, None);
    assert_eq!((effects.len(), refused(&effects).0), (1, RejectionCode::UnknownRequest));
}

#[test]
fn a_recall_of_a_launch_waits_for_slurm_and_then_names_the_swarm() {
    let mut alone = connected();
    let recall = json!({"command": "recall", "of": "r1"});
    let launch = alone.request(1, "r1", json!({"command": "swarm_launch", "nodes": 2}));
    let (code, reason) = refused(&alone.request(2, "look", recall.clone()));
    assert_eq!(code, RejectionCode::UnknownRequest);
    assert!(reason.contains("still on its way to Slurm"), "{reason}");

    let (submit, ..) = alone.until_sbatch(&launch);
    let effects = alone.answer(submit, says(0, "27\n", ""));
    let announce = errands(&effects).pop().unwrap();
    let effects = alone.answer(announce, shown("27", "PENDING", "Resources", 0));
    let known = effects.iter().find_map(|effect| match effect {
        Effect::Save(Change::Request { known, .. }) => Some(known.clone()),
        _ => None,
    });
    assert!(known.is_some(), "{effects:?}");
    let request = Request {
        request_id: Some(RequestId::new("look").unwrap()),
        spelling: Spelling::Flat,
        command: serde_json::from_value(recall).unwrap(),
    };
    let client = ClientId(2);
    let effects = alone.step(Input::Command { client, request, known });
    let event = &told(&effects)[0];
    assert!(
        matches!(&event.word, RouterWord::Recalled { injections, .. } if injections.is_empty()),
        "{event:?}"
    );
    assert_eq!(event.swarm_id, Some(alone.swarm_of_job("27").swarm_id));
}
