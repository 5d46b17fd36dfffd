//! The doorbell over views of the workspace that hear nothing of each other: on, off, cut in mid-stream, and lying. Whatever
//! it does, nothing is lost and nothing is doubled (P2, P4, P5); with it nobody looks without a reason.

use codeswarm_tests::account::{assert_account, wait_for_completion};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::doorbell::{self, Relay, Way};
use codeswarm_tests::hostfs::HostFs;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::{Value, json};

const NODES: u32 = 2;

/// A swarm over the hostile filesystem.
struct Rung {
    hostfs: HostFs,
    workspace: SlurmWorkspace,
    router: RouterProcess,
    relay: Option<Relay>,
    swarm: Swarm,
    injections: Vec<String>,
}

impl Rung {
    fn launch(cluster: &TestCluster, doorbell: Value) -> Self {
        let relayed = doorbell != "off";
        let workspace = SlurmWorkspace::echo(cluster).configured(|config| {
            config["cluster"]["remote_binary"] = json!(requires::codeswarm());
            config["cluster"]["doorbell"] = doorbell;
        });
        let mut router = RouterProcess::daemon(&workspace);
        router.follow_all();
        let relay = relayed.then(|| Relay::between(&workspace));
        let swarm = router.launch_ready(NODES);
        if let Some(relay) = &relay {
            relay.wait_for_welcomes(NODES as usize);
        }
        Self {
            hostfs: HostFs::of(cluster),
            workspace,
            router,
            relay,
            swarm,
            injections: Vec::new(),
        }
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    /// A prompt to all nodes, and all that comes of it.
    fn round(&mut self, content: &str) {
        let injections = self.router.inject_all(&self.swarm, content);
        for injection in &injections {
            wait_for_completion(&self.router, injection);
        }
        self.injections.extend(injections);
    }

    /// Counts from now on how often this side asks about the files of a folder: each is 'troubled' by a stall of nothing.
    fn count_questions(&self, side: &str, folder: &str) -> u64 {
        let command = format!("stall {side} lookup,attributes,open 0 path={folder}");
        self.hostfs.command(&command);
        self.hostfs.told()["faults"]
    }

    fn end(mut self) {
        self.router.terminate(&self.swarm);
        for node in 0..NODES {
            self.router.wait_for("the worker's last record", |event| {
                event["type"] == "worker_exit" && event["node_id"] == node
            });
        }
        assert_account(&self.workspace, &self.swarm, &self.router.lines(), &self.injections);
        self.router.leave();
        let file = doorbell::file(&self.workspace);
        wait_until("the follower to take back what it told", || {
            match doorbell::told(&file) {
                None => Ok(()),
                Some(_) => Err(format!("{} still names it", file.display())),
            }
        });
    }
}

/// Small in the beginning, for both sides look once at what was before they were connected.
fn at_rest(rung: &Rung, side: &str, folder: &str) {
    let mut before = rung.count_questions(side, folder);
    wait_until("looks to stop", || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let now = rung.hostfs.told()["faults"];
        match std::mem::replace(&mut before, now) {
            earlier if earlier == now => Ok(()),
            earlier => Err(format!("{} questions in two seconds", now - earlier)),
        }
    });
}

#[test]
fn p2_p4_who_is_rung_looks_at_once_and_nobody_looks_otherwise() {
    let Some(hostfs) = requires::hostfs() else { return };
    let cluster = TestCluster::hostile(&hostfs, &[]);
    let mut rung = Rung::launch(&cluster, json!("auto"));
    rung.round("hello");
    // Without the doorbell a quiet inbox is asked about once in two seconds, so that this would never come.
    at_rest(&rung, "compute", "inbox/");
    let before = (rung.hostfs.told()["faults"], rung.relay().count(Way::Down, "ring"));
    for number in 0..10 {
        rung.round(&format!("prompt {number}"));
    }
    let prompts = u64::from(10 * NODES);
    let asked = rung.hostfs.told()["faults"] - before.0;
    let rings = rung.relay().count(Way::Down, "ring") - before.1;
    println!("{prompts} prompts: {rings} rings, {asked} questions of workers about their inboxes");
    assert!(rings as u64 >= prompts, "{rings} rings for {prompts} prompts");
    // A look asks for the size, opens what has grown, and asks once more whether that was all; the two sweeps of a minute
    // are in it.
    assert!(asked <= prompts * 8, "{asked} questions for {prompts} prompts");
    rung.hostfs.heal();

    at_rest(&rung, "login", "outbox/");
    let before = (rung.hostfs.told()["faults"], rung.relay().count(Way::Up, "ring"));
    rung.round("[[echo deltas=20 pace_ms=30]]");
    let asked = rung.hostfs.told()["faults"] - before.0;
    let rings = (rung.relay().count(Way::Up, "ring") - before.1) as u64;
    println!("{rings} rings of workers, {asked} questions of the follower about outboxes");
    assert!(rings >= 20, "{rings} rings for a stream of {NODES} nodes");
    assert!(asked <= rings * 8, "{asked} questions for {rings} rings");
    rung.hostfs.heal();
    rung.end();
}

#[test]
fn p2_p4_a_doorbell_that_is_cut_in_mid_stream_loses_and_doubles_nothing() {
    let Some(hostfs) = requires::hostfs() else { return };
    let cluster = TestCluster::hostile(&hostfs, &["--late-ms", "50", "--nul-gap-ms", "20"]);
    let mut rung = Rung::launch(&cluster, json!("auto"));
    for cut in 1..=2 {
        let running = rung.router.inject_all(&rung.swarm, "[[echo deltas=150 pace_ms=10]]");
        let rings = rung.relay().count(Way::Up, "ring");
        wait_until("the stream to run", || match rung.relay().count(Way::Up, "ring") {
            now if now >= rings + 10 => Ok(()),
            now => Err(format!("{} rings", now - rings)),
        });
        rung.relay().cut();
        // Prompts and answers go on without.
        rung.round("while it is cut");
        for injection in &running {
            wait_for_completion(&rung.router, injection);
        }
        rung.injections.extend(running);
        rung.relay().mend();
        rung.relay().wait_for_welcomes(NODES as usize * (cut + 1));
        rung.round("and when it is back");
    }
    rung.end();
}

#[test]
fn p2_p4_p5_rings_that_lie_change_nothing_that_is_read() {
    let Some(hostfs) = requires::hostfs() else { return };
    let cluster = TestCluster::hostile(&hostfs, &["--nul-gap-ms", "20"]);
    let mut rung = Rung::launch(&cluster, json!("auto"));
    let job = rung.swarm.job_id.clone();
    let ring = |folder: &str, node: u32, size: u64| {
        json!({"say": "ring", "box": folder, "place": format!("{job}_{node:02}"), "size": size}).to_string()
    };
    for size in [0, 1, 1 << 40, u64::MAX] {
        for node in [0, 1, 7] {
            rung.relay().lie(Way::Up, &ring("outbox", node, size));
            rung.relay().lie(Way::Up, &ring("inbox", node, size));
        }
        rung.relay().lie(Way::Up, "{\"say\":\"run\",\"content\":\"rm\"}");
        rung.relay().lie(Way::Up, "rubbish");
        rung.round("after what was said to the follower [[echo deltas=10 pace_ms=5]]");
    }
    rung.router.wait_for("the counts to be told", |event| {
        event["type"] == "router_trouble"
            && event["message"]
                .as_str()
                .is_some_and(|text| text.contains("the doorbell has dropped"))
    });
    // Each worker is told of its own inbox, and of the other's, for which it lets go of the follower.
    for size in [0, 1 << 40] {
        let welcomes = rung.relay().count(Way::Down, "welcome");
        for node in 0..NODES {
            rung.relay().lie(Way::Down, &ring("inbox", node, size));
        }
        rung.round("after what was said to workers");
        rung.relay().wait_for_welcomes(welcomes + NODES as usize);
    }
    // More than anybody listens to, until that is enough.
    let welcomes = rung.relay().count(Way::Down, "welcome");
    for size in 0..20_000 {
        rung.relay().lie(Way::Up, &ring("outbox", 0, size));
    }
    rung.round("after a flood [[echo deltas=10 pace_ms=5]]");
    rung.relay().wait_for_welcomes(welcomes + NODES as usize);
    rung.round("and when all is well");
    rung.end();
}

#[test]
fn p2_p4_where_it_is_off_nobody_listens_and_all_goes_on_by_looking() {
    let Some(hostfs) = requires::hostfs() else { return };
    let cluster = TestCluster::hostile(&hostfs, &[]);
    let mut rung = Rung::launch(&cluster, json!("off"));
    assert!(!doorbell::file(&rung.workspace).exists());
    rung.round("hello [[echo deltas=10 pace_ms=5]]");
    let before = rung.count_questions("compute", "inbox/");
    wait_until("workers to look", || match rung.hostfs.told()["faults"] {
        now if now >= before + 10 => Ok(()),
        now => Err(format!("{} questions", now - before)),
    });
    rung.hostfs.heal();
    assert!(!doorbell::file(&rung.workspace).exists());
    rung.end();
}

#[test]
fn an_address_to_listen_at_is_kept_to() {
    let Some(hostfs) = requires::hostfs() else { return };
    let cluster = TestCluster::hostile(&hostfs, &[]);
    let mut rung = Rung::launch(&cluster, json!({"listen": "127.0.0.1"}));
    let address = rung.relay().follower();
    assert!(address.ip().is_loopback() && address.port() > 0, "{address}");
    rung.round("hello");
    assert!(rung.relay().count(Way::Down, "ring") >= NODES as usize);
    rung.end();
}
