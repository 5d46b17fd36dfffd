//! Many workers in one process, without agents: real outboxes and inboxes, written and read by the worker's and the mailbox's
//! own code, at a pace that is asked for. So the real follower and router can be shown thousands of nodes on one machine.
//!
//! A played worker says that it started, says deltas of one endless message ([`marks`] tell when each was written), answers
//! each prompt with a short turn, and writes its heartbeat. It decides nothing else: no agent, no restart, no steering.

pub mod marks;
pub mod prompts;
pub mod worker;

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use codeswarm_mailbox::{Mailbox, heartbeat};
use codeswarm_protocol::record::Word;
use codeswarm_protocol::{JobId, NodeId, Place};
use codeswarm_worker::doorbell::Doorbell;
use serde_json::{Value, json};

use worker::PlayedWorker;

/// How often a worker's heartbeat is written.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is played.
#[derive(Debug, Clone)]
pub struct Play {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// The job.
    pub job_id: JobId,
    /// Which of its nodes. Others may be played by another process.
    pub nodes: Range<u32>,
    /// Deltas a second of each node.
    pub rate: f64,
    /// For how long; then the simulator ends, as a job that is killed does.
    pub duration: Duration,
    /// Whether the workers connect to the follower's doorbell, as real ones do.
    pub doorbell: bool,
}

/// What was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// Records, in all outboxes together.
    pub records: u64,
    /// Deltas with a mark among them.
    pub marked: u64,
    /// Prompts that were answered.
    pub prompts: u64,
    /// How late the latest delta was written, measured against the pace.
    pub latest: Duration,
}

impl Said {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "records": self.records,
            "marked": self.marked,
            "prompts": self.prompts,
            "latest_ms": self.latest.as_millis(),
        })
    }
}

impl Play {
    fn count(&self) -> u32 {
        self.nodes.end.saturating_sub(self.nodes.start)
    }

    fn who<'w>(&self, workers: &'w mut [PlayedWorker], node: u32) -> Option<&'w mut PlayedWorker> {
        workers.get_mut(node.checked_sub(self.nodes.start)? as usize)
    }

    /// The place of a node.
    pub fn place(&self, node: u32) -> io::Result<Place> {
        let node = NodeId::new(node).map_err(io::Error::other)?;
        Ok(Place::new(self.job_id.clone(), node))
    }

    /// Starts all workers, tells when they have (`started`), and plays to the end.
    ///
    /// # Errors
    /// A file of the mailbox cannot be written or watched.
    pub fn run(&self, started: impl FnOnce()) -> io::Result<Said> {
        let places = self
            .nodes
            .clone()
            .map(|node| self.place(node))
            .collect::<io::Result<Vec<_>>>()?;
        let mut workers = Vec::with_capacity(places.len());
        for place in &places {
            workers.push(PlayedWorker::start(&self.mailbox, place.clone())?);
        }
        let (prompts, rings) = prompts::listen(&self.mailbox, &places)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .enable_all()
            .build()?;
        if self.doorbell {
            let _here = runtime.enter();
            for (worker, place) in workers.iter_mut().zip(&places) {
                worker.connect(Doorbell::start(&self.mailbox, place, rings.clone()));
            }
        }
        started();
        let mut said = Said::default();
        let began = Instant::now();
        let mut beats = Beats::new(self.count());
        let mut next = 0_u64;
        while began.elapsed() < self.duration {
            let due = self.due(next);
            let now = began.elapsed();
            if due.is_none_or(|due| due > now) {
                beats.due(now, &self.mailbox, &places)?;
                let pause = due
                    .map_or(Duration::from_millis(20), |due| due - now)
                    .min(Duration::from_millis(20));
                match prompts.recv_timeout(pause) {
                    Ok(prompt) => {
                        let Some(worker) = self.who(&mut workers, prompt.node) else {
                            continue;
                        };
                        worker.answer(prompt.injection_id)?;
                        said.prompts += 1;
                    }
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    Err(error) => return Err(io::Error::other(error)),
                }
                continue;
            }
            said.latest = said.latest.max(now - due.unwrap_or(now));
            let node = (next % u64::from(self.count())) as usize;
            let content = marks::mark(SystemTime::now());
            let item_id = Some("played".to_owned());
            workers[node].say(Word::AssistantDelta { content, item_id }, None)?;
            said.marked += 1;
            next += 1;
            // Prompts do not wait for a pause that may not come.
            while let Ok(prompt) = prompts.try_recv() {
                let Some(worker) = self.who(&mut workers, prompt.node) else {
                    continue;
                };
                worker.answer(prompt.injection_id)?;
                said.prompts += 1;
            }
        }
        said.records = workers.iter().map(PlayedWorker::said).sum();
        Ok(said)
    }

    /// When a delta is to be written, counted over all nodes in turn; `None` if none ever is.
    fn due(&self, number: u64) -> Option<Duration> {
        let all = self.rate * f64::from(self.count());
        (all > 0.0).then(|| Duration::from_secs_f64(number as f64 / all))
    }
}

/// Heartbeats, spread evenly.
struct Beats {
    next: u64,
    nodes: u32,
}

impl Beats {
    fn new(nodes: u32) -> Self {
        Self { next: 0, nodes }
    }

    fn due(&mut self, now: Duration, mailbox: &Mailbox, places: &[Place]) -> io::Result<()> {
        let pace = HEARTBEAT / self.nodes.max(1);
        while pace * u32::try_from(self.next).unwrap_or(u32::MAX) <= now {
            let place = &places[(self.next % u64::from(self.nodes)) as usize];
            let beat = json!({
                "host": "played",
                "pid": std::process::id(),
                "epoch": 1,
                "seq": 0,
                "doing": "idle",
                "waiting": 0,
                "timestamp": codeswarm_protocol::Timestamp::from(SystemTime::now()),
            });
            heartbeat::write(mailbox, place, beat.to_string().as_bytes()).map_err(io::Error::other)?;
            self.next += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_played_stands_in_the_outboxes_and_a_prompt_is_answered_once() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let job_id = JobId::new("7").unwrap();
        mailbox.prepare(&job_id, 3).unwrap();
        let play = Play {
            mailbox: mailbox.clone(),
            job_id,
            nodes: 0..3,
            rate: 100.0,
            duration: Duration::from_millis(500),
            doorbell: false,
        };
        let inbox = mailbox.inbox(&play.place(1).unwrap());
        let said = play
            .run(|| {
                std::fs::write(
                    &inbox,
                    "{\"type\":\"user\",\"injection_id\":\"i1\",\"content\":\"Hello\"}\n",
                )
                .unwrap()
            })
            .unwrap();
        let texts = (0..3).map(|node| std::fs::read_to_string(mailbox.outbox(&play.place(node).unwrap())).unwrap());
        let texts: Vec<String> = texts.collect();
        let lines: usize = texts.iter().map(|text| text.lines().count()).sum();
        assert_eq!((lines as u64, said.prompts), (said.records, 1));
        assert_eq!(texts[1].matches("\"type\":\"turn_complete\"").count(), 1);
        let marked = texts
            .concat()
            .lines()
            .filter(|line| marks::find(line.as_bytes()).is_some())
            .count();
        assert_eq!(marked as u64, said.marked);
        assert!(said.marked > 3, "{said:?}");
    }

    #[test]
    fn who_plays_some_nodes_leaves_the_others_alone_and_answers_their_prompts() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path().join("root"));
        mailbox.create().unwrap();
        let job_id = JobId::new("7").unwrap();
        mailbox.prepare(&job_id, 4).unwrap();
        let play = Play {
            mailbox: mailbox.clone(),
            job_id,
            nodes: 2..4,
            rate: 0.0,
            duration: Duration::from_millis(500),
            doorbell: false,
        };
        for node in 0..4 {
            let line = format!("{{\"type\":\"user\",\"injection_id\":\"i{node}\",\"content\":\"Hello\"}}\n");
            std::fs::write(mailbox.inbox(&play.place(node).unwrap()), line).unwrap();
        }
        let said = play.run(|| ()).unwrap();
        assert_eq!(said.prompts, 2);
        let text = |node| std::fs::read_to_string(mailbox.outbox(&play.place(node).unwrap())).unwrap();
        assert_eq!([text(0), text(1)], ["", ""]);
        assert!(text(2).contains("i2") && text(3).contains("i3"));
    }
}
