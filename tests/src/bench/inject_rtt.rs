//! `inject-rtt`: a prompt on the router's standard input, to the first word of its answer on its standard output.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::report::{Report, Table};
use super::{Experiment, Lab};
use crate::cluster::{NODES, TestCluster};
use crate::login_node::LoginNode;
use crate::slurm_workspace::SlurmWorkspace;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "inject-rtt",
    about: "a prompt, durable in the inbox, and the first delta of its answer, over a real sshd and Slurm with an instant agent",
    cluster: true,
    run,
};

/// As a person would: not at once again.
const PAUSE: Duration = Duration::from_millis(100);

/// What was measured of the router's prompts, in seconds.
#[derive(Default)]
struct Prompts {
    acknowledged: Vec<f64>,
    delivered: Vec<f64>,
    delta: Vec<f64>,
}

fn run(lab: &Lab) -> Report {
    let cluster = TestCluster::get();
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = Listener::start(workspace.command(&["router", "--daemon"]));
    router.asked(json!({"command": "subscribe"}), "caught_up");
    let launched = router.asked(json!({"command": "swarm_launch", "nodes": NODES}), "swarm_launched");
    let swarm_id = launched["swarm_id"].as_str().unwrap_or_default().to_owned();
    router.wait_for("the swarm to run", |event| {
        event["type"] == "swarm_status" && event["status"] == "running"
    });
    lab.tell("the swarm runs");
    let count = lab.runs * lab.size(10, 2);
    let master = Master::open(&workspace);
    let file = workspace.path().join("by-hand.jsonl");
    let (mut prompts, mut fresh, mut over_master) = (Prompts::default(), Vec::new(), Vec::new());
    for number in 0..count {
        one_prompt(&mut router, &swarm_id, number, &mut prompts);
        fresh.push(cat(workspace.login.ssh(&append_to(&file))));
        over_master.push(cat(master.ssh(&append_to(&file))));
        std::thread::sleep(PAUSE);
    }
    router.asked(
        json!({"command": "swarm_terminate", "swarm_id": swarm_id}),
        "swarm_status",
    );
    router.wait_for("the end of the swarm", |event| event["type"] == "swarm_terminated");
    drop(master);
    router.leave();
    report_of(prompts, fresh, over_master)
}

fn report_of(prompts: Prompts, fresh: Vec<f64>, over_master: Vec<f64>) -> Report {
    let mut table = Table::new(
        format!(
            "{} prompts, to each of {NODES} nodes in turn, with a pause between two.",
            fresh.len()
        ),
        &["way", "time", "95 %"],
    );
    let delta = Figures::new(prompts.delta.clone(), Unit::Seconds).median();
    let hand = Figures::new(over_master.clone(), Unit::Seconds).median();
    let delivered = Figures::new(prompts.delivered.clone(), Unit::Seconds).median();
    for (name, times) in [
        (
            "router: prompt in, `inject_ack` out (durable in its state, synced)",
            prompts.acknowledged,
        ),
        (
            "router: prompt in, `inject_delivered` out (durable in the inbox)",
            prompts.delivered,
        ),
        ("router: prompt in, the first `assistant_delta` out", prompts.delta),
        ("`ssh host \"cat >> inbox\"`, a connection of its own", fresh),
        ("`ssh host \"cat >> inbox\"` on a control master", over_master),
    ] {
        let figures = Figures::new(times, Unit::Seconds);
        let late = Figures::new(vec![figures.quantile(0.95)], Unit::Seconds);
        table.row([name.into(), figures.into(), late.into()]);
    }
    table.missing(
        "the earlier Python router",
        "it is no part of this repository; its median was about 700 ms",
    );
    let mut report = Report::default();
    report.table(table);
    report.target(
        "a prompt to its first delta, median at most 10 ms",
        delta,
        Unit::Seconds,
        delta <= 0.010,
        "Two syncs of the router's state, the link there and back, and two looks by inotify are in it.",
    );
    report.target(
        "sooner in the inbox than by `ssh` on a control master",
        hand / delivered,
        Unit::Times,
        delivered <= hand,
        "The prompt is made durable in the router's state before it is sent.",
    );
    report.note("ssh by hand ends when `cat` has; it knows nothing of the answer.");
    report
}

fn one_prompt(router: &mut Listener, swarm_id: &str, number: usize, prompts: &mut Prompts) {
    let (delivered, deltas, turns) = {
        let heard = router.heard();
        (heard.delivered, heard.deltas, heard.turns)
    };
    let node = number % NODES as usize;
    let began = Instant::now();
    let inject = json!({"command": "inject", "swarm_id": swarm_id, "nodes": node, "content": "hello"});
    let request = router.ask(inject);
    router.wait("acknowledgement", |heard| {
        (heard.acknowledged(&request) > 0).then_some(())
    });
    prompts.acknowledged.push(began.elapsed().as_secs_f64());
    router.wait("delivery", |heard| (heard.delivered > delivered).then_some(()));
    prompts.delivered.push(began.elapsed().as_secs_f64());
    router.wait("delta", |heard| (heard.deltas > deltas).then_some(()));
    prompts.delta.push(began.elapsed().as_secs_f64());
    router.wait("end of the turn", |heard| (heard.turns > turns).then_some(()));
}

fn append_to(file: &Path) -> String {
    format!("cat >> {}", file.display())
}

/// Appends one prompt, and waits for the end of ssh.
fn cat(mut command: Command) -> f64 {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        let line = b"{\"type\":\"user\",\"content\":\"hello\",\"injection_id\":\"by-hand\"}\n";
        stdin
            .write_all(line)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    let status = child.wait();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
    began.elapsed().as_secs_f64()
}

/// A control master of our own, as one would keep it in the background.
pub(super) struct Master {
    config: PathBuf,
    socket: PathBuf,
}

impl Master {
    pub(super) fn open(workspace: &SlurmWorkspace) -> Self {
        Self::at(workspace.login.ssh_config(), workspace.path())
    }

    /// By this configuration, with its socket in a folder.
    pub(super) fn at(config: PathBuf, folder: &Path) -> Self {
        let socket = folder.join("m.sock");
        let master = Self { config, socket };
        let status = master.command().args(["-M", "-f", "-N", LoginNode::ALIAS]).status();
        assert!(status.is_ok_and(|status| status.success()), "no control master");
        master
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.config).arg("-S").arg(&self.socket);
        command
    }

    /// A command over it.
    pub(super) fn ssh(&self, remote: &str) -> Command {
        let mut command = self.command();
        command.args([LoginNode::ALIAS, remote]);
        command
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self
            .command()
            .args(["-O", "exit", LoginNode::ALIAS])
            .stderr(Stdio::null())
            .status();
    }
}
