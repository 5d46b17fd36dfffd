//! The shared filesystem fails the cluster: it is full, or a follower that was frozen wakes up when its mailbox is another's
//! (P2, P3, P9).

use codeswarm_tests::account::{assert_account, inbox, wait_for_completion};
use codeswarm_tests::requires;
use codeswarm_tests::router::RouterProcess;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::small_disk::SmallDisk;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::json;

const NO_SPACE: &str = "No space left on device";

#[test]
fn p9_a_workspace_that_is_full_in_mid_turn_costs_no_record_and_no_prompt() {
    let (Some(cluster), Some(_)) = (requires::cluster(), requires::small_disk()) else {
        return;
    };
    // The turn waits for an answer until the disk is full, and has much to say then.
    let workspace = SlurmWorkspace::echo(&cluster).configured(|config| {
        config["agent"]["approvals"] = json!("ask");
        config["cluster"]["remote_binary"] = json!(requires::codeswarm());
    });
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 4);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, r#"[[approve command="go on"]] [[long bytes=200000]]"#);
    let question = router.event_of(&running, "approval_required");
    disk.fill();
    let yes = json!({"command": "approve_execution", "swarm_id": swarm.swarm_id, "call_id": question["call_id"], "approved": true});
    router.ask(yes);
    let outbox = workspace.mailbox("outbox").join(format!("{}_00.jsonl", swarm.job_id));
    wait_until("a record that does not fit", || match std::fs::read(&outbox) {
        Ok(bytes) if !bytes.ends_with(b"\n") => Ok(()),
        Ok(bytes) => Err(format!("{} bytes", bytes.len())),
        Err(error) => Err(error.to_string()),
    });
    let long = router.inject(&swarm, 0, &"x".repeat(100_000));
    let pending = router.event_of(&long, "inject_pending");
    assert!(
        pending["reason"].as_str().unwrap_or_default().contains(NO_SPACE),
        "{pending}"
    );
    // Whoever comes to look meanwhile does no harm.
    workspace.login.cut();
    let mark = router.mark();
    disk.free();
    for injection in [&running, &long] {
        wait_for_completion(&router, injection);
    }
    let up = |event: &serde_json::Value| event["type"] == "link" && event["up"] == true;
    router.wait_after(mark, "the link to be up", up);
    let after = router.inject(&swarm, 0, "after it");
    wait_for_completion(&router, &after);
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[running, long, after]);
    workspace.wait_until_no_job_is_left();
}

#[test]
fn p9_a_workspace_without_room_for_the_program_refuses_the_launch() {
    let (Some(cluster), Some(_)) = (requires::cluster(), requires::small_disk()) else {
        return;
    };
    let workspace = SlurmWorkspace::echo(&cluster);
    let _disk = SmallDisk::mount(&workspace.path().join("shared"), 1);
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1}));
    let refusal = router.refusal(&request);
    assert_eq!(refusal["code"], "link", "{refusal}");
    let reason = refusal["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(NO_SPACE) && reason.contains("make room"), "{reason}");
    let left: Vec<_> = std::fs::read_dir(workspace.path().join("shared/codeswarm/bin"))
        .map(|entries| entries.flatten().collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(workspace.fakes.calls("sbatch"), []);
}

/// On a network filesystem no lock tells that a follower is only frozen, so its mailbox is given to another one. What it
/// had been told before is still in its pipe when it wakes up.
#[test]
fn p2_p3_a_follower_that_wakes_up_when_its_mailbox_is_anothers_writes_nothing() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    let workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["router"]["inject_timeout_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let before = router.inject(&swarm, 0, "before");
    wait_for_completion(&router, &before);
    let follower = workspace.follower();
    workspace.signal(&follower, Signal::STOP);
    let mark = router.mark();
    let asked = router.inject(&swarm, 0, "unanswered");
    router.event_of(&asked, "inject_pending");
    router.wait_after(mark, "the link to be down", |event| {
        event["type"] == "link" && event["up"] == false
    });
    router.wait_after(mark, "another follower", |event| {
        event["type"] == "link" && event["up"] == true
    });
    wait_for_completion(&router, &asked);
    workspace.signal(&follower, Signal::CONT);
    wait_until("the first follower to have ended", || {
        match workspace
            .login
            .processes()
            .into_iter()
            .find(|other| other.pid == follower.pid)
        {
            None => Ok(()),
            Some(there) => Err(there.to_string()),
        }
    });
    let after = router.inject(&swarm, 0, "after");
    wait_for_completion(&router, &after);
    let injections = [before, asked, after];
    assert_eq!(inbox(&workspace, &swarm, 0), injections);
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
}
