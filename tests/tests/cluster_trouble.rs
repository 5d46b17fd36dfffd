//! The way to the login node breaks while prompts are in flight: every prompt ends once, nothing is lost or doubled, and
//! the swarm goes on (P2, P3, P4, P6).

use codeswarm_tests::account::{assert_account, inbox, wait_for_completion, wait_for_end};
use codeswarm_tests::processes::Process;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A turn that takes two seconds, so that there is time to break something in its middle.
const LONG: &str = "[[echo deltas=200 pace_ms=10]]";

fn link(up: bool) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == "link" && event["up"] == up
}

/// A turn on each node, in its middle.
fn in_mid_turn(router: &mut RouterProcess, swarm: &Swarm) -> Vec<String> {
    let running = router.inject_all(swarm, LONG);
    for injection in &running {
        router.event_of(injection, "assistant_delta");
    }
    running
}

/// Breaks something that takes the link down, and holds everything against its promise when it is up again.
#[track_caller]
fn goes_on_after(break_it: impl FnOnce(&mut SlurmWorkspace), mend: impl FnOnce(&mut SlurmWorkspace)) {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let mut injections = in_mid_turn(&mut router, &swarm);
    let mark = router.mark();
    break_it(&mut workspace);
    let down = router.wait_after(mark, "the link to be down", link(false));
    assert!(down["reason"].is_string(), "{down}");
    injections.push(router.inject(&swarm, 0, "given while the link was down"));
    mend(&mut workspace);
    let up = router.wait_after(mark, "the link to be up", link(true));
    assert!(up["host"].is_string(), "{up}");
    injections.push(router.inject(&swarm, 1, "given afterwards"));
    for injection in &injections {
        wait_for_completion(&router, injection);
    }
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
    workspace.wait_until_no_job_is_left();
    router.leave();
    workspace.login.wait_until_quiet();
}

/// The one process on this machine that is such a part of the link.
#[track_caller]
fn local_ssh(workspace: &SlurmWorkspace, what: &str, wanted: impl Fn(&Process) -> bool) -> Process {
    wait_until(what, || {
        let mut found = workspace.processes();
        found.retain(|process| process.command_line.starts_with("ssh") && wanted(process));
        match &found[..] {
            [one] => Ok(one.clone()),
            _ => Err(format!("{:#?}", workspace.processes())),
        }
    })
}

#[test]
fn p2_p4_p6_a_connection_that_is_cut_is_made_again() {
    goes_on_after(|workspace| workspace.login.cut(), |_| ());
}

#[test]
fn p2_p4_p6_the_local_end_of_the_followers_channel_is_killed() {
    goes_on_after(
        |workspace| {
            let client = local_ssh(workspace, "the channel", |ssh| ssh.command_line.contains(" follower "));
            workspace.signal(&client, Signal::KILL);
        },
        |_| (),
    );
}

#[test]
fn p2_p4_p6_the_local_ssh_master_is_killed() {
    goes_on_after(
        |workspace| {
            let master = local_ssh(workspace, "the master", |ssh| ssh.command_line.contains(" -M "));
            workspace.signal(&master, Signal::KILL);
        },
        |_| (),
    );
}

#[test]
fn p2_p4_p6_the_follower_is_killed() {
    goes_on_after(
        |workspace| {
            let follower = workspace.follower();
            workspace.signal(&follower, Signal::KILL);
        },
        |_| (),
    );
}

#[test]
fn p2_p4_p6_a_login_node_that_dies_and_is_back_later() {
    goes_on_after(
        |workspace| workspace.login.kill(),
        |workspace| workspace.login.start_again(),
    );
}

#[test]
fn p3_what_timed_out_while_the_link_was_down_is_never_delivered() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["router"]["inject_timeout_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let mut injections = in_mid_turn(&mut router, &swarm);
    let mark = router.mark();
    workspace.login.refuse();
    router.wait_after(mark, "the link to be down", link(false));
    let lost: Vec<String> = (0..3).map(|_| router.inject(&swarm, 0, "too late")).collect();
    for injection in &lost {
        let failed = wait_for_end(&router, injection);
        assert_eq!(
            (&failed["type"], &failed["error"]),
            (&json!("inject_failed"), &json!("timeout")),
            "{failed}"
        );
    }
    workspace.login.start_again();
    router.wait_after(mark, "the link to be up", link(true));
    // Its inbox is written in order, so this one would stand behind the others.
    let after = router.inject(&swarm, 0, "in time");
    wait_for_completion(&router, &after);
    let delivered = inbox(&workspace, &swarm, 0);
    assert_eq!(delivered, [injections[0].clone(), after.clone()]);
    for injection in &injections {
        wait_for_completion(&router, injection);
    }
    injections.extend(lost);
    injections.push(after);
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
}

#[test]
fn p3_a_prompt_that_was_sent_and_not_answered_is_pending_until_the_follower_answers() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["router"]["inject_timeout_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let follower = workspace.follower();
    workspace.signal(&follower, Signal::STOP);
    let asked = router.inject(&swarm, 0, "unanswered");
    let pending = router.event_of(&asked, "inject_pending");
    assert_eq!(pending["error"], "timeout", "{pending}");
    assert!(
        pending["reason"].as_str().unwrap_or_default().contains("inbox"),
        "{pending}"
    );
    workspace.signal(&follower, Signal::CONT);
    wait_for_completion(&router, &asked);
    assert_eq!(inbox(&workspace, &swarm, 0), std::slice::from_ref(&asked));
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[asked]);
}

/// What the follower had read, or not, is settled by reading the inbox. The mailbox is not given away while it may
/// wake up and write.
#[test]
fn p2_p3_a_follower_that_is_frozen_until_the_link_gives_it_up() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["router"]["inject_timeout_seconds"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(1);
    let running = router.inject(&swarm, 0, LONG);
    router.event_of(&running, "assistant_delta");
    let follower = workspace.follower();
    workspace.signal(&follower, Signal::STOP);
    let mark = router.mark();
    let asked = router.inject(&swarm, 0, "unanswered");
    router.event_of(&asked, "inject_pending");
    let down = router.wait_after(mark, "the link to be given up", link(false));
    assert!(
        down["reason"].as_str().unwrap_or_default().contains("answers nothing"),
        "{down}"
    );
    // Accepted while there is nobody to hand it to: nothing is sent, so it ends.
    let never = router.inject(&swarm, 0, "never");
    assert_eq!(wait_for_end(&router, &never)["error"], "timeout");
    workspace.signal(&follower, Signal::CONT);
    router.wait_after(mark, "the link to be up", link(true));
    for injection in [&running, &asked] {
        wait_for_completion(&router, injection);
    }
    assert_eq!(inbox(&workspace, &swarm, 0), [running.clone(), asked.clone()]);
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &[running, asked, never]);
}

#[test]
fn p2_p4_p6_a_network_that_swallows_everything() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    let mut injections = in_mid_turn(&mut router, &swarm);
    let mark = router.mark();
    workspace.login.freeze();
    injections.push(router.inject(&swarm, 0, "into the void"));
    router.wait_after(mark, "the link to be down", link(false));
    injections.push(router.inject(&swarm, 1, "given while the link was down"));
    workspace.login.thaw();
    router.wait_after(mark, "the link to be up", link(true));
    for injection in &injections {
        wait_for_completion(&router, injection);
    }
    router.terminate(&swarm);
    assert_account(&workspace, &swarm, &router.lines(), &injections);
}
