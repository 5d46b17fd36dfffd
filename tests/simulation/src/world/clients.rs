//! A client that asks: it launches, prompts, interrupts and terminates, says things again when it does not know whether they
//! were heard, and remembers what it was promised.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use codeswarm_protocol::{InjectionId, Place};
use codeswarm_router::serve::by_hand::Ear;
use serde_json::{Value, json};

use super::World;
use crate::heard::Heard;

/// What it remembers.
#[derive(Default)]
pub struct Asker {
    ear: Option<Ear>,
    requests: Vec<Value>,
    prompts: u64,
    /// Swarms that it was told of.
    pub swarms: BTreeSet<String>,
    /// Which swarm a request was told to be.
    launched: BTreeMap<String, String>,
    /// Prompts that were acknowledged to it.
    pub acknowledged: BTreeMap<InjectionId, Place>,
}

impl World {
    /// Nobody hears anything more of this life of the router.
    pub(super) fn clients_are_cut_off(&mut self) {
        self.asker.ear = None;
        self.watcher.ear = None;
    }

    pub(super) fn asker_leaves(&mut self) {
        if let (Some(router), Some(ear)) = (&mut self.router, self.asker.ear.take()) {
            router.hand.leaves(&ear);
            self.tally.client_cuts += 1;
        }
    }

    fn ask(&mut self, command: &Value) {
        if self.asker.ear.is_none() {
            self.asker.ear = self.router().map(|router| router.hand.join(1 << 20));
        }
        self.tell(|| format!("a client asks {command}"));
        let line = Bytes::from(command.to_string());
        if let (Some(ear), Some(router)) = (self.asker.ear.clone(), self.router()) {
            router.hand.says(&ear, line);
        }
    }

    /// It says something new, or something again.
    pub(super) fn asker_acts(&mut self) {
        if self.router().is_none() {
            return;
        }
        if !self.asker.requests.is_empty() && self.rng.once_in(6) {
            let at = self.rng.below(self.asker.requests.len().min(4));
            let at = self.asker.requests.len() - 1 - at;
            let again = self.asker.requests[at].clone();
            self.tally.repeats += 1;
            return self.ask(&again);
        }
        let swarms: Vec<String> = self.asker.swarms.iter().cloned().collect();
        let Some(swarm) = self.rng.pick(&swarms).cloned() else {
            return self.launch();
        };
        let nodes = if self.slurm.nodes == 1 || self.rng.once_in(3) {
            json!("all")
        } else {
            json!(self.rng.below(self.slurm.nodes as usize))
        };
        let mut command = match self.rng.below(30) {
            0 if self.asker.swarms.len() < 3 => return self.launch(),
            1..4 => {
                let known: Vec<&InjectionId> = self.asker.acknowledged.keys().collect();
                let named = self.rng.once_in(2);
                let id = self.rng.pick(&known).filter(|_| named).map(ToString::to_string);
                json!({"command": "interrupt", "swarm_id": swarm, "nodes": nodes, "injection_id": id})
            }
            4 if self.rng.once_in(3) => json!({"command": "swarm_terminate", "swarm_id": swarm}),
            5 => json!({"command": "swarm_status", "swarm_id": swarm}),
            _ => {
                self.asker.prompts += 1;
                let padding = "x".repeat(self.rng.below(300));
                let content = format!("p{} {padding}", self.asker.prompts);
                let steer = self.rng.once_in(6);
                json!({"command": "inject", "swarm_id": swarm, "nodes": nodes, "content": content, "steer": steer})
            }
        };
        if command["injection_id"].is_null()
            && let Some(fields) = command.as_object_mut()
        {
            fields.remove("injection_id");
        }
        if !self.rng.once_in(4) {
            command["request_id"] = json!(format!("r{}", self.asker.requests.len()));
            self.asker.requests.push(command.clone());
        }
        self.ask(&command);
    }

    pub(super) fn launch(&mut self) {
        if self
            .asker
            .requests
            .iter()
            .filter(|request| request["command"] == "swarm_launch")
            .count()
            >= 3
        {
            return;
        }
        let nodes = self.slurm.nodes;
        let name = format!("r{}", self.asker.requests.len());
        let mut launch = json!({"command": "swarm_launch", "nodes": nodes, "request_id": name});
        if self.rng.once_in(2) {
            self.asker.prompts += 1;
            launch["system_prompt"] = json!(format!("p{} begin", self.asker.prompts));
        }
        self.asker.requests.push(launch.clone());
        self.ask(&launch);
    }

    pub(super) fn terminate(&mut self, swarm: &str) {
        self.ask(&json!({"command": "swarm_terminate", "swarm_id": swarm}));
    }

    /// It reads what is on its way to it.
    pub(super) fn asker_reads(&mut self) {
        let (Some(ear), Some(router)) = (&self.asker.ear, &mut self.router) else {
            return;
        };
        for lines in router.hand.read(ear) {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let heard = Heard::read(line);
                match &*heard.kind {
                    "swarm_launched" => {
                        if let (Some(swarm), Some(request)) = (&heard.swarm_id, &heard.request_id) {
                            let before = self.asker.launched.insert(request.to_string(), swarm.to_string());
                            assert!(
                                before.as_ref().is_none_or(|before| *before == **swarm),
                                "P2: request {request} has launched {before:?} and {swarm}"
                            );
                            self.asker.swarms.insert(swarm.to_string());
                        }
                    }
                    "inject_ack" => {
                        if let (Some(id), Some((place, _))) = (heard.injection_id.clone(), heard.position()) {
                            assert!(self.store.keeps(&id), "P1: {id} is acknowledged and not stored");
                            self.asker.acknowledged.insert(id, place);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
