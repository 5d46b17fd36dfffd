//! A launch while there is no way to the login node: what a person must mend is refused with advice, what passes by itself is
//! waited for, and nothing is left behind.

use codeswarm_tests::account::{wait_for_completion, wait_for_end};
use codeswarm_tests::login_node::LoginOptions;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::ssh_trouble::SshTrouble;
use serde_json::{Value, json};

fn launch(nodes: u32) -> Value {
    json!({"command": "swarm_launch", "nodes": nodes})
}

#[track_caller]
fn swarm_of(launched: &Value, nodes: u32) -> Swarm {
    Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes,
    }
}

#[track_caller]
fn assert_nothing_launched(workspace: &SlurmWorkspace, router: &mut RouterProcess) {
    assert_eq!(workspace.fakes.calls("sbatch"), []);
    workspace.wait_until_no_job_is_left();
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"], json!({}), "{list}");
}

/// What the refusal of a launch says.
#[track_caller]
fn refused_for_the_link(router: &mut RouterProcess) -> String {
    let request = router.ask(launch(2));
    let refusal = router.refusal(&request);
    assert_eq!(refusal["code"], "link", "{refusal}");
    refusal["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_ssh_that_a_person_must_mend_refuses_the_launch_with_advice() {
    let Some(cluster) = requires::cluster() else { return };
    for (trouble, advice) in [
        (SshTrouble::PermissionDenied, "ssh-add"),
        (SshTrouble::HostKeyChanged, "ssh-keygen"),
        (SshTrouble::HostKeyUnknown, "fingerprint"),
        (SshTrouble::AliasUnknown, "ssh.login_alias"),
    ] {
        let workspace = SlurmWorkspace::echo(&cluster);
        let config = trouble.ssh_config(&workspace.login);
        let workspace = workspace.configured(|settings| settings["ssh"]["config_file"] = json!(config));
        let mut router = RouterProcess::daemon(&workspace);
        let reason = refused_for_the_link(&mut router);
        assert!(reason.contains(advice), "{trouble:?}: {reason}");
        let told = router.wait_for("the link to be told", |event| {
            event["type"] == "link" && event["advice"].is_string()
        });
        assert_eq!(told["up"], false, "{told}");
        assert_nothing_launched(&workspace, &mut router);
        // Once it is mended the next attempt works, without a new router.
        std::fs::copy(workspace.login.ssh_config(), &config).unwrap();
        router.wait_for("the link to be up", |event| {
            // Somebody who asks has it tried at once, and not in half a minute.
            event["type"] == "link" && event["up"] == true
        });
        let swarm = router.launch_ready(1);
        router.terminate(&swarm);
        router.leave();
        workspace.login.wait_until_quiet();
    }
}

#[test]
fn a_second_factor_refuses_the_launch_and_tells_how_to_give_it() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    let options = LoginOptions {
        second_factor: true,
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let mut router = RouterProcess::daemon(&workspace);
    let reason = refused_for_the_link(&mut router);
    assert!(
        reason.contains("second factor") && reason.contains("ssh.control_path"),
        "{reason}"
    );
    assert_nothing_launched(&workspace, &mut router);
}

#[test]
fn a_login_node_that_takes_no_connections_yet_is_waited_for() {
    let Some(cluster) = requires::cluster() else { return };
    // What a jump host's ssh says is heard by nobody (ssh closes its standard error when there is a ControlPersist).
    for (trouble, advice) in [
        (SshTrouble::ConnectionRefused, "restarting"),
        (SshTrouble::JumpHostFails, "ProxyCommand"),
    ] {
        let workspace = SlurmWorkspace::echo(&cluster);
        let config = trouble.ssh_config(&workspace.login);
        let workspace = workspace.configured(|settings| settings["ssh"]["config_file"] = json!(config));
        let mut router = RouterProcess::daemon(&workspace);
        let request = router.ask(launch(1));
        let told = router.wait_for("the link to be told", |event| {
            event["type"] == "link" && event["advice"].is_string()
        });
        let said = told["advice"].as_str().unwrap_or_default();
        assert!(
            said.contains(advice) && said.contains("tried again"),
            "{trouble:?}: {told}"
        );
        assert_nothing_launched(&workspace, &mut router);
        std::fs::copy(workspace.login.ssh_config(), &config).unwrap();
        let launched = router.answer(&request, "swarm_launched");
        let swarm = swarm_of(&launched, 1);
        let prompt = router.inject(&swarm, 0, "hello");
        wait_for_completion(&router, &prompt);
        router.terminate(&swarm);
        assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
    }
}

#[test]
fn a_login_shell_that_greets_with_ten_kilobytes_does_no_harm() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let options = LoginOptions {
        noise: Some("JobId=1 JobState=FAILED codeswarm:x|1|PENDING|| 77\n".repeat(200)),
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch_ready(2);
    assert_eq!(workspace.jobs(), std::slice::from_ref(&swarm.job_id));
    for injection in router.inject_all(&swarm, "hello") {
        wait_for_completion(&router, &injection);
    }
    // Its end is found between the lines as well.
    cluster.slurm(&["scancel", &swarm.job_id]);
    let end = router.wait_for("the end", |event| event["type"] == "swarm_terminated");
    assert!(
        end["reason"].as_str().unwrap_or_default().starts_with("CANCELLED"),
        "{end}"
    );
}

#[test]
fn an_sshd_that_allows_two_sessions_is_enough() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster).looking_every_second();
    let options = LoginOptions {
        sshd_lines: vec!["MaxSessions 2".to_owned()],
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarms: Vec<_> = (0..3).map(|_| router.launch_ready(1)).collect();
    for swarm in &swarms {
        let prompt = router.inject(swarm, 0, "hello");
        wait_for_completion(&router, &prompt);
    }
    for swarm in &swarms {
        router.terminate(swarm);
    }
    assert_eq!(workspace.fakes.calls("sbatch").len(), 3);
    workspace.wait_until_no_job_is_left();
    let trouble = router
        .lines()
        .into_iter()
        .find(|event| event["type"] == "router_trouble");
    assert_eq!(trouble, None);
}

/// One session is the follower's, and none is left for a command.
#[test]
fn an_sshd_that_allows_one_session_is_told_to_who_waits_for_the_launch() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    let options = LoginOptions {
        sshd_lines: vec!["MaxSessions 1".to_owned()],
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(launch(1));
    let told = router.wait_for("what it waits for", |event| event["type"] == "router_trouble");
    let said = told["message"].as_str().unwrap_or_default();
    assert!(
        said.contains("the launch waits") && said.contains("MaxSessions"),
        "{said}"
    );
    assert_nothing_launched(&workspace, &mut router);
    workspace
        .login
        .start_again_with(&SlurmWorkspace::login_options(&workspace.fakes));
    let swarm = swarm_of(&router.answer(&request, "swarm_launched"), 1);
    router.terminate(&swarm);
    assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
}

/// An accepted launch whose router is killed before it could hand it in was never promised: nothing comes of it.
#[test]
fn a_router_killed_while_a_launch_waits_for_the_link_launches_nothing() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    workspace.login.refuse();
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(launch(1));
    router.wait_for("the link to be told", |event| event["type"] == "link");
    router.kill();
    workspace.login.start_again();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    router.wait_for("the link to be up", |event| {
        event["type"] == "link" && event["up"] == true
    });
    assert_nothing_launched(&workspace, &mut router);
    // The client says it again, and this is the first time that it is done.
    router.ask(json!({"command": "swarm_launch", "request_id": request, "nodes": 1, "system_prompt": "hello"}));
    let launched = router.answer(&request, "swarm_launched");
    assert_eq!(
        wait_for_end(&router, &first_prompt(&router, &request))["status"],
        "completed"
    );
    router.terminate(&swarm_of(&launched, 1));
}

#[track_caller]
fn first_prompt(router: &RouterProcess, request: &str) -> String {
    let ack = router.answer(request, "inject_ack");
    ack["injection_id"].as_str().unwrap().to_owned()
}
