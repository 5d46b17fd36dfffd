//! One run, from the launch of the swarm to the comparison.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::agent;
use super::books::{Prompt, prompt_name};
use super::client::open;
use super::field::{DISK_MEGABYTES, Field, Struck, Undo};
use super::memory::{Departures, Memory};
use super::plan::{Chance, Fault, Planned, plan};
use super::report::Report;
use super::seats::Seats;
use super::verdict::Verdict;
use crate::cluster::{NODES, TestCluster};
use crate::processes::Process;
use crate::requires;
use crate::slurm_workspace::SlurmWorkspace;
use crate::small_disk::SmallDisk;

/// Prompts that a node has before it at any time.
const PROMPTS: usize = 2;

/// A run in which nothing is seen for so long has come to a standstill.
const STANDSTILL: Duration = Duration::from_secs(180);

/// How long a fault waits for something to hit.
const AIM: Duration = Duration::from_secs(60);

/// How often the loop looks around.
const STEP: Duration = Duration::from_millis(20);

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides the plan.
    pub seed: u64,
    /// How many faults.
    pub faults: u32,
    /// How many records are seen at least.
    pub records: u64,
    /// Records a second in all.
    pub rate: u64,
    /// The run is ended after this time, whatever is left of it.
    pub seconds: Option<u64>,
    /// The program that is the agent with `--agent`.
    pub agent: PathBuf,
    /// Whether what happens is told on standard error.
    pub tell: bool,
}

/// A run under way.
struct Run {
    options: Options,
    field: Field,
    seats: Seats,
    lengths: Chance,
    plan: Vec<Planned>,
    struck: usize,
    aiming_since: Option<Instant>,
    undo: Vec<(Instant, Undo)>,
    report: Report,
    memory: Memory,
    departures: Departures,
    commands: u64,
    launches: u32,
    /// When each node is given prompts again.
    cooling: [Instant; NODES as usize],
    revive_at: Option<Instant>,
    began: Instant,
    sampled: Instant,
    progress: (u64, Instant),
}

/// Runs on a cluster. `disk` is the filesystem below the cluster's views; without views one is made.
pub fn run(cluster: &TestCluster, disk: Option<SmallDisk>, options: Options) -> Report {
    let journals = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for the agents' journals: {error}"));
    let journal = journals.path();
    let workspace = SlurmWorkspace::echo(cluster)
        .looking_every_second()
        .configured(|config| {
            config["agent"] = json!({
                "kind": "codex",
                "command": [options.agent, "--agent"],
                "sandbox": "danger-full-access",
                "approval_policy": "never",
                "env": {(agent::JOURNAL): journal},
            });
            config["cluster"]["remote_binary"] = json!(requires::codeswarm());
            // Slurm leaves them five seconds.
            config["worker"]["shutdown_grace_seconds"] = json!(4);
        });
    let disk = match disk {
        None if !cluster.has_views() && SmallDisk::is_possible() => {
            Some(SmallDisk::mount(&workspace.path().join("shared"), DISK_MEGABYTES))
        }
        given => given,
    };
    let longest = Duration::from_secs(if options.records >= 200_000 { 60 } else { 12 });
    let field = Field::new(workspace, disk, longest);
    let left_out = field.left_out();
    let now = Instant::now();
    let report = Report {
        seed: options.seed,
        fuse: cluster.has_views(),
        faults_wanted: options.faults,
        records_wanted: options.records,
        judge_memory: options.records >= 200_000,
        left_out: left_out.clone(),
        ..Report::default()
    };
    let mut run = Run {
        plan: plan(options.seed, options.faults, &left_out),
        seats: Seats::new(options.seed, now),
        lengths: Chance::new(!options.seed),
        options,
        field,
        struck: 0,
        aiming_since: None,
        undo: Vec::new(),
        report,
        memory: Memory::default(),
        departures: Departures::default(),
        commands: 0,
        launches: 0,
        cooling: [now; NODES as usize],
        revive_at: None,
        began: now,
        sampled: now,
        progress: (0, now),
    };
    if let Err(why) = run.play() {
        run.report.given_up = Some(why);
    }
    run.conclude(journal)
}

impl Run {
    fn play(&mut self) -> Result<(), String> {
        loop {
            self.step()?;
            self.give_prompts();
            self.strike();
            let seen = open(self.seats.books()).seen;
            let out_of_time = self
                .options
                .seconds
                .is_some_and(|seconds| self.began.elapsed().as_secs() >= seconds);
            if out_of_time || (self.struck == self.plan.len() && seen >= self.options.records) {
                break;
            }
        }
        self.tell("the last prompts");
        loop {
            self.step()?;
            let mut books = open(self.seats.books());
            let has_open = books
                .now()
                .is_none_or(|swarm| (0..NODES).any(|node| swarm.open(node) > 0));
            if self.undo.is_empty() && self.seats.are_taken() && !has_open {
                break;
            }
        }
        self.tell("the end of the swarm");
        let swarm_id = open(self.seats.books())
            .now()
            .map(|swarm| swarm.swarm_id.clone())
            .unwrap_or_default();
        let mut asked = false;
        loop {
            self.step()?;
            asked = asked
                || self
                    .seats
                    .send(&json!({"command": "swarm_terminate", "swarm_id": swarm_id}));
            let ended = open(self.seats.books()).now().is_none_or(|swarm| swarm.ended.is_some());
            if ended && self.seats.agree() && !self.departures.are_awaited() {
                return Ok(());
            }
        }
    }

    /// What goes on all the time: the client lives, faults end, a node that has ended comes back, memory is looked at.
    fn step(&mut self) -> Result<(), String> {
        std::thread::sleep(STEP);
        let now = Instant::now();
        self.seats.keep(&self.field.workspace, now);
        self.end_faults(now);
        self.keep_swarm(now);
        self.look(now);
        let seen = open(self.seats.books()).seen;
        if seen != self.progress.0 {
            self.progress = (seen, now);
        }
        if now.duration_since(self.progress.1) > STANDSTILL {
            return Err(format!("nothing was seen for {STANDSTILL:?}, after {seen} records"));
        }
        Ok(())
    }

    fn end_faults(&mut self, now: Instant) {
        let (over, lasting) = self.undo.drain(..).partition(|(until, _)| *until <= now);
        self.undo = lasting;
        let over: Vec<(Instant, Undo)> = over;
        for (_, undo) in &over {
            self.end_fault(undo);
        }
    }

    fn end_fault(&mut self, undo: &Undo) {
        match undo {
            Undo::Read(client) => self.seats.pause(*client, false),
            undo => self.field.undo(undo),
        }
    }

    /// There is a swarm, and all of its nodes are there or will be again.
    fn keep_swarm(&mut self, now: Instant) {
        let mut books = open(self.seats.books());
        let launched = books.answers.remove(&format!("launch-{}", self.launches));
        if let Some(answer) = launched {
            if let (Some(swarm), Some(job)) = (answer["swarm_id"].as_str(), answer["job_id"].as_str())
                && answer["type"] == "swarm_launched"
            {
                drop(books);
                self.seats.follow(swarm, job, NODES);
                return;
            }
            self.report.ended_swarms.push(format!("not launched: {answer}"));
        }
        let swarm = books.swarms.last();
        let ended = swarm.and_then(|swarm| swarm.ended.clone());
        let exited = swarm.is_some_and(|swarm| swarm.nodes.iter().any(|node| node.exited));
        let none = swarm.is_none();
        drop(books);
        if none && self.launches == 0 {
            self.launch();
        }
        if let Some(reason) = ended {
            // The end that was asked for is the end of the run.
            if self.struck < self.plan.len() {
                self.report.ended_swarms.push(reason);
                self.launch();
            }
            return;
        }
        if !exited {
            self.revive_at = None;
        } else if self.undo.is_empty() && now >= *self.revive_at.get_or_insert(now + Duration::from_secs(3)) {
            let job = open(self.seats.books()).now().map(|swarm| swarm.job_id.clone());
            if self.field.requeue(job.as_deref()) == Struck::Done {
                self.report.revivals += 1;
            }
            // A job that is put back is held for five seconds, and the client may be far behind.
            self.revive_at = Some(now + Duration::from_secs(20));
        }
    }

    fn launch(&mut self) {
        let request = format!("launch-{}", self.launches + 1);
        let command = json!({"command": "swarm_launch", "request_id": request, "nodes": NODES});
        self.launches += u32::from(self.seats.send(&command));
    }

    fn look(&mut self, now: Instant) {
        let second = now.duration_since(self.sampled) >= Duration::from_secs(1);
        if !second && !self.departures.are_awaited() {
            return;
        }
        let followers = self.field.followers();
        self.departures.look(&followers, now);
        if !second {
            return;
        }
        self.sampled = now;
        let routers = self.seats.routers(&self.field.workspace);
        for (role, pid) in [("router", routers.router), ("relay", routers.relay)] {
            if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                self.memory.sample(role, pid, now);
            }
        }
        for follower in &followers {
            self.memory.sample("follower", follower.pid, now);
        }
        let workers = self.field.workers();
        for worker in workers {
            self.memory.sample("worker", worker.pid, now);
        }
    }

    fn give_prompts(&mut self) {
        let now = Instant::now();
        if !self.seats.are_taken() {
            return;
        }
        let wanting: Vec<u32> = (0..NODES).filter(|node| self.wants_prompt(*node, now)).collect();
        let Some(swarm_id) = open(self.seats.books()).now().map(|swarm| swarm.swarm_id.clone()) else {
            return;
        };
        // One command for several nodes, or one for each.
        let together = wanting.len() > 1 && self.lengths.below(2) == 0;
        for nodes in wanting.chunks(if together { wanting.len() } else { 1 }) {
            if self.lengths.below(8) == 0 {
                self.interrupt(nodes[0]);
            }
            self.give_prompt(&swarm_id, nodes, now);
        }
    }

    fn give_prompt(&mut self, swarm_id: &str, nodes: &[u32], now: Instant) {
        self.commands += 1;
        let request = format!("prompt-{}", self.commands);
        let words = 300 + u64::from(self.lengths.below(3000));
        let content = agent::prompt(words, self.options.rate.div_ceil(u64::from(NODES)));
        let command = json!({
            "command": "inject", "request_id": request, "swarm_id": swarm_id, "nodes": nodes, "content": content,
        });
        // Noted before it is sent: its answer may come at once.
        for node in nodes {
            self.cooling[*node as usize] = now + Duration::from_millis(500);
            let prompt = Prompt {
                node: *node,
                words,
                command: command.clone(),
                injection: None,
                ends: Vec::new(),
            };
            if let Some(swarm) = open(self.seats.books()).now() {
                swarm.prompts.insert(prompt_name(&request, *node), prompt);
            }
        }
        self.seats.send(&command);
    }

    /// Ends a prompt of a node early, running or waiting.
    fn interrupt(&mut self, node: u32) {
        let mut books = open(self.seats.books());
        let Some(swarm) = books.now() else { return };
        let mut of_node = swarm
            .prompts
            .values()
            .filter(|prompt| prompt.node == node && prompt.ends.is_empty());
        let Some(injection) = of_node.find_map(|prompt| prompt.injection.clone()) else {
            return;
        };
        let command = json!({
            "command": "interrupt", "request_id": format!("interrupt-{}", self.commands),
            "swarm_id": swarm.swarm_id, "nodes": node, "injection_id": injection,
        });
        drop(books);
        self.report.interrupts += u32::from(self.seats.send(&command));
    }

    /// Whether this node has too few prompts before it.
    fn wants_prompt(&self, node: u32, now: Instant) -> bool {
        let mut books = open(self.seats.books());
        let swarm = books.now().filter(|swarm| swarm.ended.is_none());
        swarm.is_some_and(|swarm| swarm.open(node) < PROMPTS) && self.cooling[node as usize] <= now
    }

    /// Strikes the next fault when its moment has come.
    fn strike(&mut self) {
        let Some(&planned) = self.plan.get(self.struck) else {
            return;
        };
        let now = Instant::now();
        let mut books = open(self.seats.books());
        let share = self.options.records / (self.plan.len() as u64 + 1);
        let due = share * (self.struck as u64 + 1);
        let waits = books.seen < due && !(planned.at_once && self.struck > 0);
        let job = books
            .now()
            .filter(|swarm| swarm.running)
            .map(|swarm| swarm.job_id.clone());
        if waits || (job.is_none() && self.struck == 0) {
            return;
        }
        drop(books);
        let followers = self.field.followers();
        let routers = self.seats.routers(&self.field.workspace);
        match self.field.strike(planned, routers, job.as_deref()) {
            Struck::Nothing(why) => {
                let since = *self.aiming_since.get_or_insert(now);
                if now.duration_since(since) < AIM {
                    return;
                }
                self.report.missed.push(format!("{}: {why}", planned.fault.name()));
                // Another of the kinds that always find something.
                self.plan[self.struck].fault = Fault::RouterKill;
                self.aiming_since = None;
                return;
            }
            Struck::Done => {}
            Struck::For(time, undo) => {
                if let Undo::Read(client) = undo {
                    self.seats.pause(client, true);
                }
                self.undo.push((now + time, undo));
            }
        }
        self.struck(planned, &followers, now);
    }

    fn struck(&mut self, planned: Planned, followers: &[Process], now: Instant) {
        self.aiming_since = None;
        self.struck += 1;
        *self.report.faults.entry(planned.fault).or_default() += 1;
        self.tell(planned.fault.name());
        let is_stopped = |follower: &Process| {
            let stopped = |(_, undo): &(Instant, Undo)| *undo == Undo::Continue(follower.clone());
            self.undo.iter().any(stopped)
        };
        match planned.fault {
            Fault::RouterKill | Fault::RouterTerm | Fault::AllKill => {
                let free: Vec<_> = followers
                    .iter()
                    .filter(|follower| !is_stopped(follower))
                    .cloned()
                    .collect();
                self.departures.router_died(&free, now);
            }
            Fault::FollowerStop => {
                if let Some((_, Undo::Continue(follower))) = self.undo.last() {
                    self.departures.forgive(follower.pid);
                }
            }
            _ => {}
        }
    }

    fn tell(&self, what: &str) {
        if self.options.tell {
            let seen = open(self.seats.books()).seen;
            eprintln!("{:>5} s {seen:>9} records  {what}", self.began.elapsed().as_secs());
        }
    }

    fn conclude(mut self, journal: &Path) -> Report {
        let ended = Instant::now();
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.end_fault(&undo);
        }
        self.report.seconds = ended.duration_since(self.began).as_secs();
        self.report.memory = self.memory.quarters(self.began, ended);
        self.report.longest_departure = self.departures.longest(ended);
        self.report.departures = self.departures.took.clone();
        self.seats.leave();
        let books = open(self.seats.books());
        self.report.troubles = books.troubles.clone();
        let prompts = books.swarms.iter().flat_map(|swarm| swarm.prompts.values());
        for end in prompts.flat_map(|prompt| &prompt.ends) {
            *self.report.ends.entry(end.clone()).or_default() += 1;
        }
        self.report.verdict = Verdict::of(&books, &self.field.workspace, journal);
        self.report.other = Verdict::of(&open(self.seats.other_books()), &self.field.workspace, journal);
        drop(books);
        if self.report.given_up.is_some() {
            self.keep_traces();
        }
        self.report
    }

    /// What whoever looks for the cause will want: the workspace stays, but for its processes.
    fn keep_traces(&self) {
        let to = std::env::temp_dir().join(format!("chaos-{}", std::process::id()));
        let _ = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.field.workspace.path())
            .arg(&to)
            .status();
        eprintln!("what was left is in {}", to.display());
    }
}
