//! `doorbell`: what hints over TCP are worth where nothing else tells of growth, and what connections cost.

mod connections;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figures::{Figures, Unit};
use super::listener::Listener;
use super::played::{JOB, PlayedSwarm};
use super::report::{Cell, Report, Table};
use super::two_views::TwoViews;
use super::usage::Killed;
use super::{Experiment, Lab};
use crate::workspace::{Workspace, wait_until};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "doorbell",
    about: "a prompt to its first delta on a filesystem without inotify, with the doorbell and without; then 1,024 and 10,000 idle connections",
    cluster: false,
    run,
};

const NODES: u32 = 4;

/// Between two prompts: each node has been quiet for five seconds when its turn comes.
const PAUSE: Duration = Duration::from_millis(1_250);

/// On what, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Doorbell,
    Polled,
    Inotify,
}

impl Way {
    const ALL: [Self; 3] = [Self::Doorbell, Self::Polled, Self::Inotify];

    fn name(self) -> &'static str {
        match self {
            Self::Doorbell => "two views, doorbell",
            Self::Polled => "two views, polled (`cluster.doorbell: off`)",
            Self::Inotify => "one local folder, inotify",
        }
    }
}

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let count = lab.runs * lab.size(6, 1);
    let mut table = Table::new(
        format!(
            "{count} prompts, to each of {NODES} real workers in turn, each of which was quiet for five seconds; the agent answers at once."
        ),
        &[
            "way",
            "prompt in, `inject_delivered` out",
            "prompt in, first `assistant_delta` out",
            "95 %",
        ],
    );
    for way in Way::ALL {
        lab.tell(way.name());
        match prompts(lab, way, count) {
            Ok((delivered, delta)) => {
                let delta = Figures::new(delta, Unit::Seconds);
                if way == Way::Doorbell {
                    target(&mut report, delta.median());
                }
                let late = Figures::new(vec![delta.quantile(0.95)], Unit::Seconds);
                let delivered = Figures::new(delivered, Unit::Seconds);
                table.row([way.name().into(), delivered.into(), delta.into(), late.into()]);
            }
            Err(why) => table.missing(way.name(), why),
        }
    }
    report.table(table);
    connections::measure(lab, &mut report);
    report.note(
        "The two views are `codeswarm-hostfs` (docs/DEVELOPMENT.md), which tells neither of what the other writes and remembers sizes and names for a \
         second, as two NFS clients do; each call is a round trip through FUSE. Router and workers are the real ones; Slurm is played.",
    );
    report
}

fn target(report: &mut Report, median: f64) {
    report.target(
        "with the doorbell, a prompt to its first delta within 15 ms, median",
        median,
        Unit::Seconds,
        median <= 0.015,
        "On the way are two syncs of the router's state, one of the inbox, one of the outbox, two hints, and the opening of a file on either side \
         through FUSE, all on one machine.",
    );
}

/// How long until each prompt was in its inbox, and until the first word of its answer came.
fn prompts(lab: &Lab, way: Way, count: usize) -> Result<(Vec<f64>, Vec<f64>), String> {
    let swarm = PlayedSwarm::made(NODES, "auto", |workspace, _| configured(workspace, way));
    let folder = swarm.workspace().path().to_owned();
    let views = match way {
        Way::Inotify => None,
        _ => Some(TwoViews::of(&folder.join("shared"), &folder)?),
    };
    let inside = |command: Command| match &views {
        Some(views) => views.inside(&command),
        None => command,
    };
    let mut router = Listener::start(inside(swarm.router_command()));
    router.asked(json!({"command": "subscribe"}), "caught_up");
    let swarm_id = swarm.adopt(&mut router);
    let root = views
        .as_ref()
        .map_or_else(|| swarm.root(), |views| views.compute().join("codeswarm"));
    let launch = folder.join("launch.json");
    let spec = json!({"version": codeswarm_protocol::VERSION, "node_count": NODES, "agent": {"kind": "echo"}});
    std::fs::write(&launch, spec.to_string()).map_err(|error| format!("{}: {error}", launch.display()))?;
    let _workers: Vec<Killed> = (0..NODES)
        .map(|node| {
            let mut command = swarm.workspace().bare_command();
            command
                .arg("worker")
                .arg("--launch")
                .arg(&launch)
                .arg("--root")
                .arg(&root);
            command.args(["--job-id", JOB, "--node-id", &node.to_string()]);
            let mut command = inside(command);
            Killed::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
        })
        .collect();
    swarm.wait_until_running(&router);
    let answered = |router: &Listener| router.heard().turns;
    // Once each, so that all are connected and no agent is new.
    for node in 0..NODES {
        one_prompt(&mut router, &swarm_id, node);
    }
    wait_until("answers to all", || match answered(&router) {
        turns if turns >= u64::from(NODES) => Ok(()),
        turns => Err(format!("{turns} turns")),
    });
    std::thread::sleep(lab.size(Duration::from_secs(5), Duration::ZERO));
    let measured = (0..count).map(|number| {
        std::thread::sleep(lab.size(PAUSE, Duration::from_millis(50)));
        one_prompt(&mut router, &swarm_id, number as u32 % NODES)
    });
    let measured = measured.unzip();
    router.leave();
    Ok(measured)
}

fn configured(workspace: Workspace, way: Way) -> Workspace {
    let login = TwoViews::login(workspace.path());
    workspace.configured(|config| {
        config["cluster"]["doorbell"] = match way {
            Way::Doorbell => json!({"listen": "127.0.0.1"}),
            Way::Polled | Way::Inotify => json!("off"),
        };
        if way != Way::Inotify {
            config["cluster"]["workspace_root"] = json!(login);
        }
    })
}

fn one_prompt(router: &mut Listener, swarm_id: &str, node: u32) -> (f64, f64) {
    let (delivered, deltas, turns) = {
        let heard = router.heard();
        (heard.delivered, heard.deltas, heard.turns)
    };
    let inject: Value = json!({"command": "inject", "swarm_id": swarm_id, "nodes": node, "content": "hello"});
    let began = Instant::now();
    router.ask(inject);
    router.wait("delivery", |heard| (heard.delivered > delivered).then_some(()));
    let in_the_inbox = began.elapsed().as_secs_f64();
    router.wait("delta", |heard| (heard.deltas > deltas).then_some(()));
    let answered = began.elapsed().as_secs_f64();
    router.wait("end of the turn", |heard| (heard.turns > turns).then_some(()));
    (in_the_inbox, answered)
}

fn one(value: f64, unit: Unit) -> Cell {
    Figures::new(vec![value], unit).into()
}
