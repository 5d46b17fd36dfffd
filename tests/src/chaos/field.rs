//! Where faults strike: finds what is to be hit among the processes that run, and does it.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::plan::{Fault, Planned};
use super::seats::Routers;
use crate::cluster::NODES;
use crate::processes::{self, Process};
use crate::slurm_workspace::SlurmWorkspace;
use crate::small_disk::SmallDisk;

/// How large the disk may grow between faults, in megabytes.
pub const DISK_MEGABYTES: u32 = 6000;

/// The same for the router's state.
const STATE_MEGABYTES: u32 = 512;

/// What ends a fault that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// SIGCONT.
    Continue(Process),
    /// The login node takes connections again.
    LinkUp,
    /// What waits in the connections goes through.
    Thaw,
    /// There is room again.
    Free,
    /// There is room for the router's state again.
    FreeState,
    /// Files can be opened for writing again.
    Writable,
    /// This client reads on.
    Read(usize),
}

/// What came of a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Struck {
    /// It is done, and over by itself.
    Done,
    /// It lasts.
    For(Duration, Undo),
    /// What it should hit is not there at the moment, or is hit already.
    Nothing(&'static str),
}

/// The system under test with what can be done to it.
pub struct Field {
    /// The shared filesystem; none where it cannot be made small. Unmounted before its folder goes.
    pub disk: Option<SmallDisk>,
    /// The filesystem with the router's state.
    pub state: Option<SmallDisk>,
    /// The cluster's side.
    pub workspace: SlurmWorkspace,
    /// The longest that the link is down.
    pub longest: Duration,
    full: bool,
    state_full: bool,
    read_only: bool,
    frozen: bool,
    down: bool,
    next_node: u32,
}

impl Field {
    /// One that is whole.
    pub fn new(workspace: SlurmWorkspace, disk: Option<SmallDisk>, longest: Duration) -> Self {
        let state = SmallDisk::is_possible().then(|| SmallDisk::mount(&workspace.state_dir(), STATE_MEGABYTES));
        Self {
            workspace,
            disk,
            state,
            state_full: false,
            longest,
            full: false,
            read_only: false,
            frozen: false,
            down: false,
            next_node: 0,
        }
    }

    /// The faults that cannot be made here.
    pub fn left_out(&self) -> Vec<Fault> {
        let mut left_out = Vec::new();
        if self.disk.is_none() {
            left_out.push(Fault::DiskFull);
        }
        if self.state.is_none() {
            left_out.push(Fault::StateFull);
        }
        // Each view has a mount of its own, which cannot be laid over from here.
        if self.disk.is_none() || self.workspace.cluster().has_views() {
            left_out.push(Fault::DiskReadOnly);
        }
        left_out
    }

    /// Does it.
    pub fn strike(&mut self, planned: Planned, routers: Routers, running_job: Option<&str>) -> Struck {
        let short = Duration::from_millis(500 + u64::from(planned.dice % 4) * 1500);
        // Beyond ten seconds of silence a link counts as dead.
        let long = Duration::from_secs([1, 3, 6, 14][planned.dice as usize % 4]);
        match planned.fault {
            Fault::RouterKill => signal_child(routers.router, Signal::KILL),
            Fault::RouterTerm => signal_child(routers.router, Signal::TERM),
            Fault::RouterStop => self.stop(process(routers.router), long),
            Fault::RelayKill => signal_child(routers.relay, Signal::KILL),
            Fault::RelayStop => self.stop(process(routers.relay), long),
            Fault::ClientPause => Struck::For(long, Undo::Read(planned.dice as usize / 16)),
            Fault::MasterKill => self.send(self.master(), Signal::KILL),
            Fault::MasterStop => self.stop(self.master(), long),
            Fault::ChannelKill => self.send(self.channel(), Signal::KILL),
            Fault::FollowerKill => self.send(self.follower(), Signal::KILL),
            Fault::FollowerTerm => self.send(self.follower(), Signal::TERM),
            Fault::FollowerStop => self.stop(self.follower(), long),
            Fault::LinkCut | Fault::LinkDown | Fault::LinkFrozen | Fault::LoginDies => {
                self.strike_link(planned, short, long)
            }
            Fault::WorkerKill => {
                let node = self.turn();
                self.send(self.worker(node), Signal::KILL)
            }
            Fault::WorkerTerm => self.send(self.worker(node(planned)), Signal::TERM),
            Fault::WorkerStop => self.stop(self.worker(node(planned)), short),
            Fault::KeeperKill => self.send(self.keeper(node(planned)), Signal::KILL),
            Fault::AgentKill => self.send(self.agent(node(planned)), Signal::KILL),
            Fault::AgentTerm => self.send(self.agent(node(planned)), Signal::TERM),
            Fault::AgentStop => self.stop(self.agent(node(planned)), short),
            Fault::DiskFull => self.fill(short),
            Fault::StateFull => self.fill_state(short),
            Fault::DiskReadOnly => self.make_read_only(planned, short),
            Fault::AllKill => self.kill_all(routers),
            Fault::Requeue => self.requeue(running_job),
        }
    }

    /// Ends a fault that lasted.
    pub fn undo(&mut self, undo: &Undo) {
        match undo {
            Undo::Continue(process) => signal_it(process, Signal::CONT),
            Undo::LinkUp => {
                self.workspace.login.start_again();
                self.down = false;
            }
            Undo::Thaw => {
                self.workspace.login.thaw();
                self.frozen = false;
            }
            Undo::Free => {
                if let Some(disk) = &self.disk {
                    disk.resize(DISK_MEGABYTES << 10);
                    disk.free();
                }
                self.full = false;
            }
            Undo::FreeState => {
                if let Some(state) = &self.state {
                    state.resize(STATE_MEGABYTES << 10);
                    state.free();
                }
                self.state_full = false;
            }
            // The clients are not of the field.
            Undo::Read(_) => {}
            Undo::Writable => {
                let mailbox = self.mailbox();
                // First writable, since whoever has opened a folder there goes on with this mount.
                mount(&["-o", "remount,bind,rw", &mailbox]);
                let _ = Command::new("umount").args(["--lazy", &mailbox]).status();
                self.read_only = false;
            }
        }
    }

    /// Puts the job back into the queue, if it runs.
    pub fn requeue(&self, job: Option<&str>) -> Struck {
        let cluster = self.workspace.cluster();
        let Some(job) = job.filter(|job| cluster.state(job) == "RUNNING") else {
            return Struck::Nothing("the job does not run");
        };
        match cluster.try_slurm(&["scontrol", "requeue", job]).status.success() {
            true => Struck::Done,
            false => Struck::Nothing("the job is not requeued"),
        }
    }

    /// The followers on the login node.
    pub fn followers(&self) -> Vec<Process> {
        self.workspace.login.processes_named(" follower --root ")
    }

    /// The worker of a node, if there is one.
    pub fn worker(&self, node: u32) -> Option<Process> {
        self.of_rank(node, |line| line.contains(" worker ") && line.contains("--kept-by"))
    }

    /// All workers.
    pub fn workers(&self) -> Vec<Process> {
        let mut found = self.workspace.processes();
        found.retain(|process| process.command_line.contains(" worker ") && process.command_line.contains("--kept-by"));
        found
    }

    fn kill_all(&self, routers: Routers) -> Struck {
        let struck = signal_child(routers.router, Signal::KILL);
        if struck != Struck::Done {
            return struck;
        }
        signal_child(routers.relay, Signal::KILL);
        let others = [self.master(), self.channel()].into_iter().flatten();
        for process in others.chain(self.followers()).chain(self.workers()) {
            signal_it(&process, Signal::KILL);
        }
        Struck::Done
    }

    fn strike_link(&mut self, planned: Planned, short: Duration, long: Duration) -> Struck {
        if self.down || self.frozen {
            return Struck::Nothing("the link is hit already");
        }
        match planned.fault {
            Fault::LinkCut => {
                if self.workspace.login.sessions().is_empty() {
                    return Struck::Nothing("no connection");
                }
                self.workspace.login.cut();
                Struck::Done
            }
            Fault::LinkFrozen => {
                self.workspace.login.freeze();
                self.frozen = true;
                Struck::For(long, Undo::Thaw)
            }
            Fault::LoginDies => {
                self.workspace.login.kill();
                self.down = true;
                Struck::For(short, Undo::LinkUp)
            }
            _ => {
                self.workspace.login.refuse();
                self.down = true;
                Struck::For(self.longest, Undo::LinkUp)
            }
        }
    }

    fn fill(&mut self, lasts: Duration) -> Struck {
        let Some(disk) = self.disk.as_ref().filter(|_| !self.full && !self.read_only) else {
            return Struck::Nothing("the disk is hit already");
        };
        leave_no_room(disk);
        self.full = true;
        Struck::For(lasts, Undo::Free)
    }

    fn fill_state(&mut self, lasts: Duration) -> Struck {
        let Some(state) = self.state.as_ref().filter(|_| !self.state_full) else {
            return Struck::Nothing("the state is hit already");
        };
        leave_no_room(state);
        self.state_full = true;
        Struck::For(lasts, Undo::FreeState)
    }

    /// Who has a file open writes on; who opens one cannot. So somebody is made to open one.
    fn make_read_only(&mut self, planned: Planned, lasts: Duration) -> Struck {
        let victim = match planned.dice % 2 {
            0 => self.follower(),
            _ => self.worker(node(planned)),
        };
        if self.read_only || self.full || victim.is_none() {
            return Struck::Nothing("the disk is hit already, or nobody is there");
        }
        let mailbox = self.mailbox();
        // Made read-only where nobody is, and then put in place in one step: nothing is opened for writing in between.
        let aside = format!("{mailbox}.read-only");
        if let Err(error) = std::fs::create_dir_all(&aside) {
            panic!("{aside}: {error}");
        }
        mount(&["--bind", &mailbox, &aside]);
        mount(&["-o", "remount,bind,ro", &aside]);
        mount(&["--bind", &aside, &mailbox]);
        let _ = Command::new("umount").arg(&aside).status();
        self.read_only = true;
        self.send(victim, Signal::KILL);
        Struck::For(lasts, Undo::Writable)
    }

    fn mailbox(&self) -> String {
        let mailbox = self.workspace.mailbox("");
        let there = mailbox.canonicalize().unwrap_or(mailbox);
        there.display().to_string()
    }

    fn master(&self) -> Option<Process> {
        self.first(|line| line.starts_with("ssh -M "))
    }

    fn channel(&self) -> Option<Process> {
        self.first(|line| line.starts_with("ssh ") && line.contains(" follower "))
    }

    fn follower(&self) -> Option<Process> {
        self.followers().pop()
    }

    fn keeper(&self, node: u32) -> Option<Process> {
        self.of_rank(node, |line| line.contains(" worker --keep ") && !line.contains("srun "))
    }

    fn agent(&self, node: u32) -> Option<Process> {
        let worker = self.worker(node)?;
        let mut found = processes::descendants(worker.pid);
        found.retain(|process| process.command_line.contains(" app-server "));
        found.pop()
    }

    /// Workers in turn, so that none dies five times in a row within a minute each, which ends its node by design.
    fn turn(&mut self) -> u32 {
        self.next_node += 1;
        self.next_node % NODES
    }

    fn first(&self, wanted: impl Fn(&str) -> bool) -> Option<Process> {
        let mut found = self.workspace.processes();
        found.retain(|process| wanted(&process.command_line));
        found.pop()
    }

    fn of_rank(&self, node: u32, wanted: impl Fn(&str) -> bool) -> Option<Process> {
        let rank = node.to_string();
        let mut found = self.workspace.processes();
        found.retain(|process| {
            wanted(&process.command_line) && processes::variable(process.pid, "SLURM_PROCID").as_deref() == Some(&*rank)
        });
        found.pop()
    }

    fn send(&self, process: Option<Process>, signal: Signal) -> Struck {
        match process {
            Some(process) => {
                signal_it(&process, signal);
                Struck::Done
            }
            None => Struck::Nothing("no such process"),
        }
    }

    fn stop(&self, process: Option<Process>, lasts: Duration) -> Struck {
        match process {
            Some(process) => {
                signal_it(&process, Signal::STOP);
                Struck::For(lasts, Undo::Continue(process))
            }
            None => Struck::Nothing("no such process"),
        }
    }
}

/// Shrunk first, so that there is little to fill.
fn leave_no_room(disk: &SmallDisk) {
    disk.resize(disk.used_kilobytes() + 256);
    disk.fill();
}

fn node(planned: Planned) -> u32 {
    planned.dice / 16 % NODES
}

/// A child that was not waited for.
fn signal_child(pid: Option<u32>, signal: Signal) -> Struck {
    let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else {
        return Struck::Nothing("no such process");
    };
    match kill_process(pid, signal) {
        Ok(()) => Struck::Done,
        Err(_) => Struck::Nothing("no such process"),
    }
}

fn process(pid: Option<u32>) -> Option<Process> {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok())?;
    processes::all(|other| other == pid).pop()
}

fn signal_it(process: &Process, signal: Signal) {
    processes::signal_if(process, signal, |pid| {
        processes::all(|other| other == pid)
            .iter()
            .any(|now| now.command_line == process.command_line)
    });
}

fn mount(arguments: &[&str]) {
    let output = Command::new("mount").args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {}
        other => panic!("mount {arguments:?}: {other:?}"),
    }
}
