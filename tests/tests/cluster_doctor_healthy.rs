//! `codeswarm doctor` where all is well on the real cluster, or would be if the queue were not full: with the agents, beside
//! a router, on the login node itself, and interrupted. And that a launch says what it says.

use std::os::unix::fs::PermissionsExt;

use codeswarm_tests::checkup::{Checkup, no_job_is_left, path_without_slurm};
use codeswarm_tests::cli::{cli, run};
use codeswarm_tests::cluster::{NODES, TestCluster};
use codeswarm_tests::model_server::ModelServer;
use codeswarm_tests::requires;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::ssh_trouble::SshTrouble;
use codeswarm_tests::workspace::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Below the test cluster's KillWait, which the default is not.
fn sound(workspace: SlurmWorkspace) -> SlurmWorkspace {
    workspace.configured(|config| config["worker"]["shutdown_grace_seconds"] = json!(4))
}

fn assert_nothing_is_left(workspace: &SlurmWorkspace) {
    workspace.login.wait_until_quiet();
    no_job_is_left(workspace);
    let runs = std::fs::read_dir(workspace.path().join("shared/codeswarm/runs")).unwrap();
    let left: Vec<_> = runs.flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A job that leaves no other one room.
fn fill(cluster: &TestCluster, workspace: &SlurmWorkspace) -> String {
    cluster.wait_for_idle_nodes(NODES);
    let options = ["--nodes=4", "--exclusive", "--output=/dev/null"];
    let job = cluster.submit(workspace.path(), &options, "#!/bin/sh\nsleep 600\n");
    cluster.wait_for_state(&job, "RUNNING");
    job
}

#[test]
fn a_sound_set_up_with_echo_passes_and_nothing_is_left() {
    let Some(cluster) = requires::cluster() else { return };
    // The program is copied, too.
    let workspace = sound(SlurmWorkspace::echo(&cluster));
    let checkup = Checkup::of(&workspace, &["--wait", "30", "--nodes", "4"]);
    checkup.is_healthy();
    checkup.says("short_job", &["ran our program on node"]);
    checkup.says("shared_filesystem", &["locks (flock) hold between them"]);
    checkup.says("batch_script", &["a swarm of 4 nodes"]);
    assert_nothing_is_left(&workspace);

    // What a person reads of the same.
    let output = cli(&workspace, &["doctor", "--wait", "30"]).success();
    assert!(
        output.stdout.contains("\nok       short job           job "),
        "{output:#?}"
    );
    assert!(
        output.stdout.ends_with(" s).\n") && output.stdout.contains("A launch can work ("),
        "{output:#?}"
    );
    assert_nothing_is_left(&workspace);
}

#[test]
fn a_sound_set_up_with_codex_passes() {
    let Some(cluster) = requires::cluster() else { return };
    let Some(codex) = requires::codex() else { return };
    let model = ModelServer::start();
    let workspace = sound(SlurmWorkspace::codex(&cluster, &codex, &model));
    let checkup = Checkup::of(&workspace, &["--wait", "30"]);
    checkup.is_healthy();
    checkup.says("agent", &["codex-cli 0.", &codex.display().to_string()]);
    checkup.says("credentials", &["LOOPBACK_MODEL_KEY"]);
    checkup.says("model_endpoint", &[&model.base_url(), "HTTP/1.1 "]);
    assert!(
        !checkup.output.stdout.contains(codeswarm_tests::model_server::KEY),
        "a secret was told"
    );
    assert!(model.requests().is_empty(), "the model was asked for something");
    assert_nothing_is_left(&workspace);
}

#[test]
fn two_views_of_a_shared_filesystem_see_each_other() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    let workspace = sound(SlurmWorkspace::echo(&cluster));
    let checkup = Checkup::of(&workspace, &["--wait", "30"]);
    checkup.is_healthy();
    checkup.says("workspace", &["fuse"]);
    checkup.says("shared_filesystem", &["fuse", "the answer is back after"]);
}

#[test]
fn a_router_that_runs_is_left_alone() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = sound(SlurmWorkspace::echo(&cluster));
    let swarm = cli(&workspace, &["launch", "--nodes", "1", "--wait"]).success();
    let swarm = swarm.stdout.trim();
    let checkup = Checkup::of(&workspace, &["--wait", "30"]);
    assert_eq!(checkup.output.code(), 0, "{checkup:#?}");
    checkup.says("mailbox", &["in use by", "follower"]);
    let status = cli(&workspace, &["run", "--prompt", "still there"]).success();
    assert!(status.stdout.contains("still there"), "{status:#?}");
    cli(&workspace, &["terminate", swarm]).success();
    cli(&workspace, &["shutdown"]).success();
}

#[test]
fn it_works_on_the_login_node_itself() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = sound(SlurmWorkspace::echo(&cluster)).configured(|config| {
        config.as_object_mut().unwrap().remove("ssh");
    });
    let mut command = workspace.command(&["doctor", "--json", "--wait", "30"]);
    command.env("SLURM_CONF", cluster.slurm_conf());
    let checkup = Checkup::by(command);
    checkup.is_healthy();
    checkup.says("ssh", &["this machine is the login node"]);
}

#[test]
fn a_full_queue_is_a_warning_and_the_job_is_cancelled() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = sound(SlurmWorkspace::echo(&cluster));
    let job = fill(&cluster, &workspace);
    let checkup = Checkup::of(&workspace, &["--wait", "1"]);
    assert_eq!(
        (checkup.output.code(), checkup.names("warning")),
        (0, vec!["partition", "short_job"]),
        "{checkup:#?}"
    );
    checkup.says("short_job", &["the queue is full now", "--wait"]);
    assert!(checkup.names("skipped").contains(&"agent"), "{checkup:#?}");
    wait_until("only the test's own job is left", || match workspace.jobs() {
        left if left == [job.as_str()] => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn an_interrupted_doctor_takes_its_job_with_it() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = sound(SlurmWorkspace::echo(&cluster));
    let job = fill(&cluster, &workspace);
    let command = workspace.command(&["doctor", "--wait", "50"]);
    let doctor = std::thread::spawn(move || run(command, b""));
    wait_until("the short job waits", || match workspace.jobs() {
        jobs if jobs.len() == 2 => Ok(()),
        jobs => Err(format!("{jobs:?}")),
    });
    let process = wait_until("the doctor's process", || {
        workspace
            .processes_named(" doctor ")
            .pop()
            .ok_or_else(|| "none".to_owned())
    });
    kill_process(Pid::from_raw(process.pid).unwrap(), Signal::INT).unwrap();
    let output = doctor.join().unwrap();
    assert_eq!(output.code(), 130, "{output:#?}");
    assert_eq!(workspace.jobs(), [job.as_str()], "{output:#?}");
    workspace.login.wait_until_quiet();
}

/// Each of these fails a launch too, and what is advised is word for word in what the launch says.
#[test]
fn a_launch_that_fails_says_the_same() {
    let Some(cluster) = requires::cluster() else { return };
    let installed = || {
        sound(SlurmWorkspace::echo(&cluster))
            .configured(|config| config["cluster"]["remote_binary"] = json!(requires::codeswarm()))
    };
    let same = |workspace: &SlurmWorkspace, check: &str| {
        let checkup = Checkup::of(workspace, &["--no-job"]);
        let advice = checkup.check(check)["advice"].as_str().unwrap().to_owned();
        assert!(!advice.is_empty(), "{checkup:#?}");
        let launch = cli(workspace, &["launch", "--nodes", "1"]);
        assert_ne!(launch.code(), 0, "{launch:#?}");
        // What is tried again is told so by both.
        let told = launch.stderr.replace('\n', " ");
        assert!(told.contains(&advice), "{check}: {advice}\n{launch:#?}");
        cli(workspace, &["shutdown"]).success();
    };

    let unknown = installed().configured(|config| config["cluster"]["slurm"]["partition"] = json!("nowhere"));
    same(&unknown, "partition");
    drop(unknown);

    let no_such = installed().configured(|config| config["cluster"]["slurm"]["gres"] = json!("gpu:1"));
    same(&no_such, "batch_script");
    drop(no_such);

    let refused = installed();
    let ssh_config = SshTrouble::PermissionDenied.ssh_config(&refused.login);
    same(
        &refused.configured(|config| config["ssh"]["config_file"] = json!(ssh_config)),
        "ssh",
    );

    let others = installed();
    let root = others.path().join("shared/codeswarm");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
    same(&others, "workspace");
    drop(others);

    let missing = installed().configured(|config| config["cluster"]["remote_binary"] = json!("/no/such/codeswarm"));
    same(&missing, "program");
    drop(missing);

    let mut lean = installed();
    let mut options = SlurmWorkspace::login_options(&lean.fakes);
    options.environment.push(path_without_slurm(&lean.path().join("lean")));
    lean.login.start_again_with(&options);
    same(&lean, "slurm_commands");
}
