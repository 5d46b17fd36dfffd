//! A core whose swarms are jobs, and Slurm's answers as its commands really print them.

use std::time::Duration;

use codeswarm_configs::SlurmSection;
use codeswarm_protocol::command::{Command, Request, Spelling};
use codeswarm_protocol::event::{ProviderInfo, RouterWord};
use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{JobId, NodeId, Place, RejectionCode, RequestId};
use codeswarm_slurm::{Answer, Call};
use serde_json::{Value, json};

use super::alone::{Alone, down, told, worker_start_on};
use super::world::settings;
use crate::core::{
    ClientId, Effect, Errand, Input, Link, LinkTrouble, NotAnswered, ProviderCommand, ProviderEvent, SLURM, Settings,
    SlurmSettings, Submission, Swarm,
};

pub(super) const POLL: Duration = Duration::from_secs(30);

pub(super) fn with_slurm() -> Settings {
    Settings {
        providers: vec![ProviderInfo {
            name: SLURM.to_owned(),
            default: true,
            description: String::new(),
        }],
        slurm: Some(SlurmSettings {
            section: SlurmSection::default(),
            template: None,
            root: "/scratch/cs".to_owned(),
            poll: POLL,
        }),
        link: Link::not_yet(),
        ..settings()
    }
}

/// A core in front of a cluster whose link is up.
pub(super) fn connected() -> Alone {
    let mut alone = Alone::new(with_slurm());
    alone.connect();
    alone
}

pub(super) fn cut(lasting: bool) -> Input {
    Input::LinkDown(LinkTrouble {
        what: "ssh hpc: permission denied".to_owned(),
        advice: Some("run `ssh hpc` once by hand".to_owned()),
        lasting,
    })
}

pub(super) fn says(exit_code: i32, stdout: &str, stderr: &str) -> Result<Answer, NotAnswered> {
    Ok(Answer {
        exit_code: Some(exit_code),
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

pub(super) fn no_answer(may_have_run: bool) -> Result<Answer, NotAnswered> {
    Err(NotAnswered {
        may_have_run,
        error: "the link broke".to_owned(),
    })
}

/// As `scontrol show job -o` prints it.
pub(super) fn shown(job: &str, state: &str, reason: &str, restarts: u32) -> Result<Answer, NotAnswered> {
    let line = format!(
        "JobId={job} JobName=codeswarm UserId=me(1) JobState={state} Reason={reason} Dependency=(null) Requeue=1 \
         Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode=0:0 NumNodes=2 NumCPUs=2 NumTasks=2 NodeList=(null)\n"
    );
    says(0, &line, "")
}

pub(super) fn unknown_job() -> Result<Answer, NotAnswered> {
    says(1, "", "slurm_load_jobs error: Invalid job id specified\n")
}

/// The one refusal that is told.
#[track_caller]
pub(super) fn refused(effects: &[Effect]) -> (RejectionCode, String) {
    let refusals: Vec<_> = told(effects)
        .into_iter()
        .filter_map(|event| match &event.word {
            RouterWord::CommandRejected { code, reason, .. } => Some((*code, reason.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(refusals.len(), 1, "{effects:?}");
    refusals[0].clone()
}

/// What is asked beside Slurm.
pub(super) fn calls(effects: &[Effect]) -> Vec<(Errand, Call)> {
    let of = |effect: &Effect| match effect {
        Effect::Provider(ProviderCommand::Call { errand, call }) => Some((errand.clone(), call.clone())),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

pub(super) fn errands(effects: &[Effect]) -> Vec<Errand> {
    calls(effects).into_iter().map(|(errand, _)| errand).collect()
}

impl Alone {
    pub(super) fn connect(&mut self) -> Vec<Effect> {
        self.step(Input::LinkUp {
            binary: "/scratch/cs/bin/codeswarm".to_owned(),
        })
    }

    pub(super) fn answer(&mut self, errand: Errand, outcome: Result<Answer, NotAnswered>) -> Vec<Effect> {
        self.step(Input::Provider(ProviderEvent::Answered { errand, outcome }))
    }

    /// A command with a name.
    pub(super) fn request(&mut self, client: u64, name: &str, command: Value) -> Vec<Effect> {
        let command: Command = serde_json::from_value(command).unwrap();
        let request = Request {
            request_id: Some(RequestId::new(name).unwrap()),
            spelling: Spelling::Flat,
            command,
        };
        let client = ClientId(client);
        self.step(Input::Command {
            client,
            request,
            known: None,
        })
    }

    /// The only launch on its way.
    pub(super) fn submission(&self) -> &Submission {
        assert_eq!(self.core.submissions.len(), 1, "{:?}", self.core.submissions);
        self.core.submissions.values().next().unwrap()
    }

    /// Follows a launch whose link is up to the call of sbatch.
    pub(super) fn until_sbatch(&mut self, effects: &[Effect]) -> (Errand, Call, Vec<Effect>) {
        let Some(Downward::Launch { ticket, .. }) = down(effects).pop() else {
            panic!("{effects:?}")
        };
        let effects = self.step(Input::Prepared { ticket, error: None });
        let (errand, call) = calls(&effects).pop().unwrap();
        (errand, call, effects)
    }

    /// Launches a swarm of two nodes as this job, which waits.
    pub(super) fn launch_job(&mut self, job: &str) -> (Swarm, Vec<Effect>) {
        self.launch_as(job, json!({"command": "swarm_launch", "nodes": 2}))
    }

    pub(super) fn launch_as(&mut self, job: &str, command: Value) -> (Swarm, Vec<Effect>) {
        let effects = self.request(1, &format!("r-{job}"), command);
        let (submit, ..) = self.until_sbatch(&effects);
        let effects = self.answer(submit, says(0, &format!("{job}\n"), ""));
        let announce = errands(&effects).pop().unwrap();
        let mut effects = self.answer(announce, shown(job, "PENDING", "Resources", 0));
        if let Some(Downward::Prepare { ticket, .. }) = down(&effects).pop() {
            effects.extend(self.step(Input::Prepared { ticket, error: None }));
        }
        (self.swarm_of_job(job), effects)
    }

    pub(super) fn swarm_of_job(&self, job: &str) -> Swarm {
        let swarm_id = self.core.swarm_of(&JobId::new(job).unwrap()).unwrap();
        self.core.swarm(swarm_id).unwrap().clone()
    }

    /// A worker and its agent come up.
    pub(super) fn comes_up(&mut self, place: &Place, epoch: u32) -> Vec<Effect> {
        self.comes_up_on("h", place, epoch)
    }

    /// The same on this machine.
    pub(super) fn comes_up_on(&mut self, host: &str, place: &Place, epoch: u32) -> Vec<Effect> {
        let mut effects = self.record(place, epoch, worker_start_on(host), None);
        let ready = Word::AgentReady {
            agent: "echo".to_owned(),
            agent_version: None,
            thread_id: "t".to_owned(),
            resumed: false,
            model: None,
            cwd: "/work".to_owned(),
        };
        effects.extend(self.record(place, epoch, ready, None));
        effects
    }

    /// A running swarm of two nodes.
    pub(super) fn running(&mut self, job: &str) -> Swarm {
        self.launch_job(job);
        for rank in 0..2 {
            self.comes_up(&place(job, rank), 1);
        }
        self.swarm_of_job(job)
    }

    /// Each outbox that is asked for has nothing that was not heard.
    pub(super) fn nothing_was_written(&mut self, effects: &[Effect]) -> Vec<Effect> {
        let mut follow = Vec::new();
        for read in down(effects) {
            if let Downward::Read { ticket, place, .. } = read {
                let next = self.core.stream_end(&place).1;
                follow.extend(self.step(Input::OutboxRead {
                    ticket,
                    next,
                    done: true,
                    unread: None,
                }));
            }
        }
        follow
    }

    /// Its worker ends in order.
    pub(super) fn exits(&mut self, place: &Place) -> Vec<Effect> {
        let mut effects = Vec::new();
        let node = self.core.node(place);
        if !node.is_some_and(|node| node.exit_said) {
            let epoch = node.map_or(1, |node| node.epoch.0.max(1));
            let last = Word::WorkerExit {
                reason: "shutdown".to_owned(),
                inbox_offset: 0,
            };
            effects = self.record(place, epoch, last, None);
        }
        effects.extend(self.step(Input::OutboxEnded { place: place.clone() }));
        effects
    }
}

pub(super) fn place(job: &str, rank: u32) -> Place {
    Place::new(JobId::new(job).unwrap(), NodeId::new(rank).unwrap())
}
