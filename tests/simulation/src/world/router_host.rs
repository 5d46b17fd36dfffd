//! The router's host: its lives, its clock, and what it asks of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codeswarm_configs::SlurmSection;
use codeswarm_link::{Trouble, TroubleKind};
use codeswarm_protocol::event::ProviderInfo;
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_protocol::{InjectionId, JobId, SwarmId};
use codeswarm_router::core::{Link, Names, ProviderCommand, ProviderEvent, SLURM, Settings, SlurmSettings};
use codeswarm_router::serve::by_hand::{Asked, ByHand};

use super::World;
use crate::slurm::{Happens, Life, no_answer, says};

/// One life.
pub struct Router {
    pub hand: ByHand,
    /// When it began, in milliseconds.
    pub began: u64,
    /// What was decided cannot be stored; nothing else happens until it can.
    pub stuck: bool,
}

/// Names that are never given out twice, over all lives.
struct Counted {
    names: Arc<AtomicU64>,
    last_number: u64,
}

impl Counted {
    fn name<T, E: std::fmt::Debug>(&self, make: impl Fn(&str) -> Result<T, E>, kind: &str) -> T {
        let number = 1 + self.names.fetch_add(1, Ordering::Relaxed);
        match make(&format!("{kind}-{number}")) {
            Ok(name) => name,
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl Names for Counted {
    fn swarm(&mut self) -> SwarmId {
        self.name(SwarmId::new, "sw")
    }
    fn job(&mut self) -> JobId {
        self.name(JobId::new, "job")
    }
    fn injection(&mut self) -> InjectionId {
        self.name(InjectionId::new, "i")
    }
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

fn settings() -> Settings {
    Settings {
        inject_timeout: Duration::from_secs(60),
        max_prompt_bytes: 2000,
        max_nodes: 8,
        providers: vec![ProviderInfo {
            name: SLURM.to_owned(),
            default: true,
            description: String::new(),
        }],
        agent: AgentSpec::default(),
        worker: WorkerSpec::default(),
        pid: 1,
        slurm: Some(SlurmSettings {
            section: SlurmSection::default(),
            template: None,
            root: "/m".to_owned(),
            poll: Duration::from_secs(30),
        }),
        link: Link::not_yet(),
    }
}

impl World {
    pub(super) fn start_router(&mut self) {
        if self.router.is_some() {
            return;
        }
        let names = self.names.clone();
        // Nothing, a record or two, or about all there is.
        let recent = self.rng.pick(&[0, 1_000, 100_000]).copied().unwrap_or(0);
        let opened = ByHand::open(
            settings(),
            Box::new(self.store.clone()),
            |last_number| Box::new(Counted { names, last_number }),
            self.clock.clone(),
            recent,
        );
        match opened {
            Ok(hand) => {
                self.tell(|| "the router starts".to_owned());
                self.router = Some(Router {
                    hand,
                    began: self.now,
                    stuck: false,
                });
                self.commit();
            }
            Err(error) => panic!("the router does not start: {error}"),
        }
    }

    /// What was decided and not stored is gone; what was asked may be done all the same.
    pub(super) fn kill_router(&mut self) {
        if self.router.take().is_none() {
            return;
        }
        self.tell(|| "the router dies".to_owned());
        self.tally.router_kills += 1;
        self.linked = false;
        self.clients_are_cut_off();
        self.cut_wire();
        for (errand, call) in std::mem::take(&mut self.calls) {
            if self.rng.once_in(2) {
                let (_, happens) = self.slurm.run(&errand, &call);
                self.happens(happens);
            }
        }
    }

    /// Stores what was decided, and carries its orders out of the house.
    pub(super) fn commit(&mut self) {
        let Some(router) = &mut self.router else { return };
        match router.hand.commit() {
            Ok(asked) => {
                router.stuck = false;
                for swarm in router.hand.core().swarms().filter(|swarm| swarm.status.is_over()) {
                    let job = self.slurm.jobs.get(swarm.job_id.as_str());
                    let over = job.is_none_or(|job| matches!(job.life, Life::Over(_) | Life::Forgotten));
                    self.tally.checks += 1;
                    assert!(over, "P11: {} is over and its job is not: {job:?}", swarm.swarm_id);
                }
                for asked in asked {
                    self.tell(|| format!("the router asks: {asked:?}"));
                    match asked {
                        Asked::Follower(down) => self.send_down(down),
                        Asked::Provider(ProviderCommand::Call { errand, call }) => self.calls.push_back((errand, call)),
                        Asked::Provider(_) => {}
                    }
                }
            }
            Err(_) => {
                router.stuck = true;
                self.tally.failed_commits += 1;
            }
        }
    }

    /// The router takes something in, unless it is away or waits for its disk.
    pub(super) fn router(&mut self) -> Option<&mut Router> {
        self.router.as_mut().filter(|router| !router.stuck)
    }

    pub(super) fn router_deadline(&mut self) {
        let now = self.now;
        let Some(router) = self.router() else { return };
        let due = router.hand.core().deadline();
        if due.is_some_and(|due| Duration::from_millis(now - router.began) >= due) {
            router.hand.tick();
        }
    }

    pub(super) fn router_hears_of_cut(&mut self) {
        if !self.linked || self.follower.as_ref().is_some_and(|follower| follower.connected) {
            return;
        }
        let kind = match self.rng.below(4) {
            0 => TroubleKind::PermissionDenied,
            _ => TroubleKind::Closed,
        };
        let Some(router) = self.router() else { return };
        router.hand.link_down(Trouble {
            kind,
            what: "the wire is cut".to_owned(),
            advice: "wait".to_owned(),
        });
        self.linked = false;
        self.tell(|| "the router hears that the link is down".to_owned());
        // Commands beside Slurm break with the link; what they had begun is done or not.
        for (errand, call) in std::mem::take(&mut self.calls) {
            let begun = self.rng.once_in(2);
            if begun {
                let (_, happens) = self.slurm.run(&errand, &call);
                self.happens(happens);
            }
            let outcome = no_answer(begun || self.rng.once_in(2));
            if let Some(router) = self.router() {
                router.hand.provider_says(ProviderEvent::Answered { errand, outcome });
            }
        }
    }

    /// Slurm carries out one command; sometimes badly.
    pub(super) fn slurm_acts(&mut self) -> bool {
        if self.router().is_none() {
            return false;
        }
        let Some((errand, call)) = self.calls.pop_front() else {
            return false;
        };
        use codeswarm_router::core::Errand;
        let looks = !matches!(errand, Errand::Submit(_) | Errand::Cancel(_) | Errand::Signal(_));
        let dice = if self.calm { 9 } else { self.rng.below(14) };
        let connected = self.follower.as_ref().is_some_and(|follower| follower.connected);
        let (outcome, happens) = match dice {
            _ if !connected => (no_answer(false), Happens::Nothing),
            1 => (no_answer(false), Happens::Nothing),
            2 => (no_answer(true), self.slurm.run(&errand, &call).1),
            3 => (no_answer(true), Happens::Nothing),
            4 if looks => {
                let error = "slurm_load_jobs error: Unable to contact slurm controller\n";
                (says(1, "", error), Happens::Nothing)
            }
            // A job that was handed in unheard and has run is known by its comment alone: that it is found is taken for granted.
            5 if looks && !matches!(errand, Errand::Find(_)) => (says(0, "", ""), Happens::Nothing),
            _ => self.slurm.run(&errand, &call),
        };
        self.tally.bad_answers += u64::from(dice < 6);
        self.happens(happens);
        self.tell(|| format!("Slurm: {errand:?} -> {outcome:?}"));
        if let Some(router) = self.router() {
            router.hand.provider_says(ProviderEvent::Answered { errand, outcome });
        }
        true
    }
}
