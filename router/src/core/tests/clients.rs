//! Clients: they launch, inject, interrupt, approve and terminate, say things again, and say nonsense.

use codeswarm_protocol::command::{
    ApproveExecution, Command, Inject, Interrupt, Ping, ProvidersList, Request, Spelling, SwarmList, SwarmStatus,
    SwarmTerminate, Target,
};
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::nodes::NodeSelector;
use codeswarm_protocol::turn::Decision;
use codeswarm_protocol::{InjectionId, JobId, NodeId, Place, RejectionCode, RequestId, SwarmId};

use super::world::World;
use crate::core::{Change, ClientId, Effect, Input, ProviderCommand, Whom};

/// What clients remember.
#[derive(Default)]
pub struct Clients {
    requests: Vec<(RequestId, Command)>,
    injections: Vec<InjectionId>,
}

/// What is known about a command before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Whatever follows from how things are.
    Anything,
    /// It has to be refused.
    Refusal,
    /// It was carried out before under the same name.
    Repeat,
}

impl World {
    /// A client says something.
    pub fn client(&mut self) {
        let (expected, mut command) = self.command();
        let mut request_id = None;
        if expected == Expected::Anything {
            match self.rng.below(8) {
                0 | 1 if !self.clients.requests.is_empty() => return self.say_again(),
                2 if !self.clients.requests.is_empty() => return self.reuse_a_name(command),
                3..6 => request_id = Some(self.new_request_id()),
                _ => {}
            }
        }
        if let Command::Inject(inject) = &mut command {
            inject.steer = self.rng.once_in(8);
        }
        self.ask(expected, request_id, command);
    }

    fn new_request_id(&mut self) -> RequestId {
        RequestId::new(&format!("r-{}", self.clients.requests.len())).unwrap()
    }

    fn say_again(&mut self) {
        let at = self.rng.below(self.clients.requests.len());
        let (request_id, command) = self.clients.requests[at].clone();
        let known = self.known(&request_id).is_some();
        if known {
            self.tally.repeats += 1;
        }
        let expected = if known { Expected::Repeat } else { Expected::Anything };
        self.ask(expected, Some(request_id), command);
    }

    fn reuse_a_name(&mut self, command: Command) {
        let at = self.rng.below(self.clients.requests.len());
        let (request_id, earlier) = self.clients.requests[at].clone();
        if earlier == command || self.known(&request_id).is_none() {
            return;
        }
        self.tally.reused_names += 1;
        self.ask(Expected::Refusal, Some(request_id), command);
    }

    /// Launches a swarm, in earnest.
    pub fn launch(&mut self) {
        let nodes = 1 + self.rng.below(3) as u32;
        self.ask(Expected::Anything, None, launch(nodes, None));
    }

    /// Ends a swarm, in earnest.
    pub fn terminate(&mut self, swarm_id: SwarmId) {
        let terminate = Command::SwarmTerminate(SwarmTerminate { swarm_id });
        self.ask(Expected::Anything, None, terminate);
    }

    fn ask(&mut self, expected: Expected, request_id: Option<RequestId>, command: Command) {
        let known = request_id.as_ref().and_then(|name| self.known(name));
        let client = ClientId(1 + self.rng.below(3) as u64);
        let request = Request {
            request_id: request_id.clone(),
            spelling: Spelling::Flat,
            command: command.clone(),
        };
        let compare = expected == Expected::Refusal || self.rng.once_in(16);
        let before = compare.then(|| format!("{:?}", self.router.as_ref().unwrap().core));
        let second = self.is_second_terminate(&command);
        let effects = self.input(Input::Command { client, request, known });
        if refusal(&effects).is_some() {
            self.tally.rejected += 1;
            assert!(effects.len() == 1, "P12: more than a refusal: {effects:?}");
            let after = before
                .is_some()
                .then(|| format!("{:?}", self.router.as_ref().unwrap().core));
            assert_eq!(before, after, "P12: a refused command has changed something");
            return;
        }
        assert!(
            expected != Expected::Refusal,
            "P12: {command:?} was not refused: {effects:?}"
        );
        let changes = effects.iter().filter(|effect| changes_something(effect)).count();
        if expected == Expected::Repeat {
            assert_eq!(changes, 0, "a repeated request did something: {effects:?}");
            return;
        }
        if second {
            self.tally.second_terminates += 1;
            assert_eq!(changes, 0, "P11: a second terminate did something: {effects:?}");
        }
        self.check_targets(&command, &effects);
        let acknowledged = effects.iter().filter_map(|effect| match effect {
            Effect::Save(Change::Injection(injection)) => Some(injection.injection_id.clone()),
            _ => None,
        });
        self.clients.injections.extend(acknowledged);
        if let Some(request_id) = request_id
            && self.clients.requests.iter().all(|(name, _)| *name != request_id)
        {
            self.clients.requests.push((request_id, command));
        }
    }

    fn is_second_terminate(&self, command: &Command) -> bool {
        let Command::SwarmTerminate(SwarmTerminate { swarm_id }) = command else {
            return false;
        };
        let core = &self.router.as_ref().unwrap().core;
        core.swarm(swarm_id).is_some_and(|swarm| !swarm.status.takes_prompts())
    }

    /// Nothing happens to injections of nodes that were not meant.
    fn check_targets(&mut self, command: &Command, effects: &[Effect]) {
        let target = match command {
            Command::Interrupt(Interrupt { target, .. }) | Command::Inject(Inject { target, .. }) => target,
            _ => return,
        };
        for effect in effects {
            let Effect::Tell {
                whom: Whom::Node { place, .. },
                event,
            } = effect
            else {
                continue;
            };
            if matches!(event.word, RouterWord::InjectFailed { .. }) {
                self.tally.withdrawn += 1;
            }
            let core = &self.router.as_ref().unwrap().core;
            let meant_swarm = target
                .swarm_id
                .as_ref()
                .is_none_or(|id| core.swarm_of(&place.job_id) == Some(id));
            let meant_job = target.job_id.as_ref().is_none_or(|id| *id == place.job_id);
            let meant_node = match target.selector().unwrap() {
                NodeSelector::All => true,
                NodeSelector::Ranks(ranks) => ranks.iter().any(|node| node == place.node_id),
            };
            assert!(
                meant_swarm && meant_job && meant_node,
                "{command:?} touched {place}: {event:?}"
            );
            let injection_id = event.injection_id.as_ref();
            if let Some(injection) = injection_id.and_then(|id| core.injections.get(id)) {
                assert_eq!(injection.place, *place, "an event stands in another node's stream");
            }
        }
    }

    fn command(&mut self) -> (Expected, Command) {
        use Expected::{Anything, Refusal};
        match self.rng.below(40) {
            0..6 => {
                let live = self.router.as_ref().unwrap().core.live_swarms();
                if live >= 2 {
                    return (Anything, Command::SwarmList(SwarmList {}));
                }
                let system_prompt = self.rng.once_in(2).then(|| "be good".to_owned());
                let nodes = 1 + self.rng.below(3) as u32;
                (Anything, launch(nodes, system_prompt))
            }
            6 => (Refusal, launch(0, None)),
            7 => (Refusal, launch(99, None)),
            8 => (Refusal, launch(1, Some("  \n".to_owned()))),
            9 => (Refusal, self.inject_to(self.unknown(), "x")),
            10 => {
                let target = self.target();
                (Refusal, self.inject_to(target, ""))
            }
            11 => {
                let target = self.target();
                (Refusal, self.inject_to(target, &"x".repeat(1001)))
            }
            12 => {
                let mut target = self.target();
                (target.nodes, target.node_id) = (None, Some(NodeId::new(77).unwrap()));
                (Refusal, self.inject_to(target, "x"))
            }
            13 => {
                let target = Target::default();
                (Refusal, self.inject_to(target, "x"))
            }
            14 => {
                let swarm_id = SwarmId::new("nobody").unwrap();
                (Refusal, Command::SwarmTerminate(SwarmTerminate { swarm_id }))
            }
            15 | 16 => match self.a_swarm() {
                Some(swarm_id) if self.rng.once_in(2) => {
                    (Anything, Command::SwarmTerminate(SwarmTerminate { swarm_id }))
                }
                Some(swarm_id) => (Anything, Command::SwarmStatus(SwarmStatus { swarm_id })),
                None => (Anything, Command::ProvidersList(ProvidersList {})),
            },
            17..21 => {
                let target = self.target();
                let wanted = self.rng.once_in(2);
                let at = self.rng.below(self.clients.injections.len().max(1));
                // A recent one is more likely to be on its way.
                let at = self.clients.injections.len().saturating_sub(1 + at / 4);
                let injection_id = self.clients.injections.get(at).filter(|_| wanted).cloned();
                (Anything, Command::Interrupt(Interrupt { target, injection_id }))
            }
            21..23 => {
                let approval = ApproveExecution {
                    target: self.target(),
                    call_id: "call".to_owned(),
                    approved: None,
                    decision: Some(Decision::Accept),
                };
                (Anything, Command::ApproveExecution(approval))
            }
            23 => (Anything, Command::Ping(Ping {})),
            _ => {
                let target = self.target();
                (Anything, self.inject_to(target, "work"))
            }
        }
    }

    fn inject_to(&self, target: Target, content: &str) -> Command {
        Command::Inject(Inject {
            target,
            content: content.to_owned(),
            steer: false,
        })
    }

    fn unknown(&self) -> Target {
        Target {
            job_id: Some(JobId::new("nothing").unwrap()),
            nodes: Some(NodeSelector::All),
            ..Target::default()
        }
    }

    fn a_swarm(&mut self) -> Option<SwarmId> {
        let core = &self.router.as_ref().unwrap().core;
        let all: Vec<SwarmId> = core.swarms().map(|swarm| swarm.swarm_id.clone()).collect();
        self.rng.pick(&all).cloned()
    }

    fn target(&mut self) -> Target {
        let Some(swarm_id) = self.a_swarm() else {
            return self.unknown();
        };
        let core = &self.router.as_ref().unwrap().core;
        let (job_id, places) = (core.swarm(&swarm_id).unwrap().job_id.clone(), core.places(&swarm_id));
        let mut target = Target::default();
        if self.rng.once_in(3) {
            target.job_id = Some(job_id);
        } else {
            target.swarm_id = Some(swarm_id);
        }
        match self.rng.below(4) {
            0 => target.nodes = Some(NodeSelector::All),
            1 => target.node_id = self.rng.pick(&places).map(|place: &Place| place.node_id),
            _ => {
                let mut some: Vec<NodeId> = places.iter().map(|place| place.node_id).collect();
                while some.len() > 1 && self.rng.once_in(2) {
                    some.remove(self.rng.below(some.len()));
                }
                target.nodes = Some(NodeSelector::Ranks(some.into_iter().collect()));
            }
        }
        target
    }
}

fn launch(nodes: u32, system_prompt: Option<String>) -> Command {
    let launch = serde_json::json!({"command": "swarm_launch", "nodes": nodes, "system_prompt": system_prompt});
    serde_json::from_value(launch).unwrap()
}

/// The code, if the first of these effects refuses the command.
pub fn refusal(effects: &[Effect]) -> Option<RejectionCode> {
    match effects.first() {
        Some(Effect::Tell {
            whom: Whom::Client(_),
            event,
        }) => match &event.word {
            RouterWord::CommandRejected { code, .. } => Some(*code),
            _ => None,
        },
        _ => None,
    }
}

fn changes_something(effect: &Effect) -> bool {
    match effect {
        Effect::Save(_) | Effect::Follower(_) => true,
        Effect::Provider(command) => !matches!(command, ProviderCommand::Known { .. }),
        Effect::Tell { .. } | Effect::Follow { .. } | Effect::FollowSwarm { .. } => false,
    }
}
