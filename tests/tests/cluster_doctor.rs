//! `codeswarm doctor` on the real cluster: each deliberately broken set-up is found at its check and named, and a sound one
//! passes. What needs no compute node submits no job.

use std::os::unix::fs::PermissionsExt;

use codeswarm_tests::checkup::{Checkup, no_job_is_left, path_without_slurm};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::fakes::Fakes;
use codeswarm_tests::login_node::LoginOptions;
use codeswarm_tests::model_server::ModelServer;
use codeswarm_tests::requires;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::small_disk::SmallDisk;
use codeswarm_tests::ssh_trouble::SshTrouble;
use serde_json::{Value, json};

/// A workspace whose cluster has the program installed, so that nothing is copied.
fn installed(cluster: &TestCluster) -> SlurmWorkspace {
    SlurmWorkspace::echo(cluster).configured(|config| {
        config["cluster"]["remote_binary"] = json!(requires::codeswarm());
        // Below the test cluster's KillWait.
        config["worker"]["shutdown_grace_seconds"] = json!(4);
    })
}

/// The same with a change.
fn broken(cluster: &TestCluster, change: impl FnOnce(&mut Value)) -> SlurmWorkspace {
    installed(cluster).configured(change)
}

/// An agent of the kind codex that is no Codex, but tells a version.
fn stand_in_for_codex(config: &mut Value, model: &ModelServer) {
    config["agent"] = json!({
        "kind": "codex",
        "command": ["/bin/cat"],
        "sandbox": "danger-full-access",
        "model_provider": "mock",
        "config": model.codex_settings(),
    });
}

fn without_a_job(workspace: &SlurmWorkspace) -> Checkup {
    Checkup::of(workspace, &["--no-job"])
}

fn with_a_job(workspace: &SlurmWorkspace) -> Checkup {
    let checkup = Checkup::of(workspace, &["--wait", "30"]);
    no_job_is_left(workspace);
    let runs = workspace.path().join("shared/codeswarm/runs");
    let left: Vec<_> = std::fs::read_dir(runs).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
    checkup
}

fn write_program(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn broken_01_the_key_is_refused() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let ssh_config = SshTrouble::PermissionDenied.ssh_config(&workspace.login);
    let workspace = workspace.configured(|config| config["ssh"]["config_file"] = json!(ssh_config));
    let checkup = without_a_job(&workspace);
    checkup.fails_at("ssh", &["refuses our key", "authorized_keys"]);
    assert_eq!(checkup.output.code(), 1);
    assert!(checkup.names("skipped").contains(&"slurm_commands"), "{checkup:#?}");
}

#[test]
fn broken_02_the_host_key_has_changed() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let ssh_config = SshTrouble::HostKeyChanged.ssh_config(&workspace.login);
    let workspace = workspace.configured(|config| config["ssh"]["config_file"] = json!(ssh_config));
    without_a_job(&workspace).fails_at("ssh", &["host key", "ssh-keygen"]);
}

#[test]
fn broken_03_the_alias_is_unknown() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let ssh_config = SshTrouble::AliasUnknown.ssh_config(&workspace.login);
    let workspace = workspace.configured(|config| config["ssh"]["config_file"] = json!(ssh_config));
    without_a_job(&workspace).fails_at("ssh", &["there is no host", "ssh.login_alias"]);
}

#[test]
fn broken_04_a_second_factor_is_asked_for() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    let options = LoginOptions {
        second_factor: true,
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    without_a_job(&workspace).fails_at("ssh", &["second factor", "ssh.control_path"]);
}

#[test]
fn broken_05_slurm_s_commands_are_not_on_the_path() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    let mut options = SlurmWorkspace::login_options(&workspace.fakes);
    options
        .environment
        .push(path_without_slurm(&workspace.path().join("lean")));
    workspace.login.start_again_with(&options);
    without_a_job(&workspace).fails_at("slurm_commands", &["sbatch", "PATH", "~/.bashrc"]);
}

#[test]
fn broken_06_slurmctld_is_down() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = installed(&cluster);
    cluster.stop_slurmctld();
    let checkup = without_a_job(&workspace);
    cluster.start_slurmctld();
    checkup.fails_at("slurmctld", &["DOWN", "scontrol ping"]);
    assert_eq!(checkup.output.code(), 75, "it may be up later");
}

#[test]
fn broken_07_the_partition_is_unknown() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = broken(&cluster, |config| {
        config["cluster"]["slurm"]["partition"] = json!("nowhere")
    });
    let checkup = without_a_job(&workspace);
    checkup.fails_at(
        "partition",
        &["no partition nowhere", "compute", "cluster.slurm.partition"],
    );
}

#[test]
fn broken_08_the_partition_is_closed() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = broken(&cluster, |config| {
        config["cluster"]["slurm"]["partition"] = json!("closed")
    });
    let checkup = Checkup::of(&workspace, &[]);
    checkup.fails_at("partition", &["closed", "starts no jobs", "cluster.slurm.partition"]);
    assert!(checkup.names("skipped").contains(&"short_job"), "{checkup:#?}");
}

#[test]
fn broken_09_the_time_limit_is_above_the_partition_s() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = broken(&cluster, |config| {
        config["cluster"]["slurm"] = json!({"partition": "short", "time_limit": "00:10:00"});
    });
    without_a_job(&workspace).fails_at("partition", &["00:10:00", "cluster.slurm.time_limit"]);
}

#[test]
fn broken_10_the_workspace_cannot_be_made() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let file = workspace.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let workspace = workspace.configured(|config| config["cluster"]["workspace_root"] = json!(file.join("shared")));
    without_a_job(&workspace).fails_at("workspace", &["a-file/shared", "mend"]);
    // Where the program would be copied there, it is the copy that fails, at the same check.
    let workspace = workspace.configured(|config| config["cluster"]["remote_binary"] = Value::Null);
    without_a_job(&workspace).fails_at("workspace", &["a-file/shared", "cluster.workspace_root"]);
}

#[test]
fn broken_11_the_workspace_is_not_on_the_compute_nodes() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    let workspace = installed(&cluster);
    let root = std::fs::read_link(workspace.path().join("shared")).unwrap();
    let mut mount = cluster.on_the_login_side("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs"])
        .arg(&root);
    codeswarm_tests::cli::run(mount, b"").success();
    let checkup = Checkup::of(&workspace, &["--wait", "30"]);
    checkup.fails_at("short_job", &["mounted on the compute node"]);
    assert!(checkup.names("skipped").contains(&"agent"), "{checkup:#?}");
}

#[test]
fn broken_12_the_agent_is_not_on_the_compute_node() {
    let Some(cluster) = requires::cluster() else { return };
    let model = ModelServer::start();
    let workspace = broken(&cluster, |config| {
        stand_in_for_codex(config, &model);
        config["agent"]["command"] = json!(["no-such-codex"]);
    });
    with_a_job(&workspace).fails_at("agent", &["no no-such-codex on the PATH", "agent.command"]);
}

#[test]
fn broken_13_the_key_is_not_in_the_job_s_environment() {
    let Some(cluster) = requires::cluster() else { return };
    let model = ModelServer::start();
    let workspace = broken(&cluster, |config| {
        stand_in_for_codex(config, &model);
        config["agent"]["api_key_env"] = json!("KEY_THAT_NOBODY_SET");
    });
    with_a_job(&workspace).fails_at("credentials", &["KEY_THAT_NOBODY_SET", "~/.bashrc"]);
}

#[test]
fn broken_14_the_model_cannot_be_reached_from_the_compute_node() {
    let Some(cluster) = requires::cluster() else { return };
    let model = ModelServer::start();
    let workspace = broken(&cluster, |config| {
        stand_in_for_codex(config, &model);
        // Nobody listens on the port for 'tcpmux' nowadays.
        config["agent"]["config"]["model_providers.mock.base_url"] = json!("http://127.0.0.1:1/v1");
    });
    with_a_job(&workspace).fails_at("model_endpoint", &["http://127.0.0.1:1/v1", "refused", "proxy"]);
}

#[test]
fn broken_15_others_may_write_the_workspace() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let root = workspace.path().join("shared/codeswarm");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
    without_a_job(&workspace).fails_at("workspace", &["mode 777", "chmod 700"]);
}

#[test]
fn broken_16_the_installed_program_is_of_another_version() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = installed(&cluster);
    let program = workspace.path().join("old-codeswarm");
    write_program(&program, "#!/bin/sh\necho codeswarm 0.0.1\n");
    let workspace = workspace.configured(|config| config["cluster"]["remote_binary"] = json!(program));
    without_a_job(&workspace).fails_at("program", &["0.0.1", "old-codeswarm", "cluster.remote_binary"]);
}

#[test]
fn broken_17_the_disk_is_full() {
    let Some(cluster) = requires::cluster() else { return };
    if requires::small_disk().is_none() {
        return;
    }
    let workspace = installed(&cluster);
    let disk = SmallDisk::mount(&workspace.path().join("shared"), 4);
    disk.fill();
    let checkup = without_a_job(&workspace);
    assert_eq!(checkup.names("failure"), ["workspace", "storage"], "{checkup:#?}");
    checkup.says("workspace", &["No space left on device", "make room there"]);
}

#[test]
fn broken_18_the_login_node_s_clock_is_wrong() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    let folder = workspace.path().join("wrong-clock");
    std::fs::create_dir(&folder).unwrap();
    write_program(
        &folder.join("date"),
        "#!/bin/sh\nexec /bin/date --date '5 minutes' \"$@\"\n",
    );
    let mut options = SlurmWorkspace::login_options(&workspace.fakes);
    let path = format!("{}:{}:/usr/bin:/bin", folder.display(), Fakes::programs().display());
    options.environment.push(("PATH".to_owned(), path));
    workspace.login.start_again_with(&options);
    let checkup = without_a_job(&workspace);
    assert_eq!(
        (checkup.output.code(), checkup.names("warning")),
        (0, vec!["clock"]),
        "{checkup:#?}"
    );
    checkup.says("clock", &["5 min ahead of this machine's"]);
}

#[test]
fn broken_19_no_node_has_what_is_asked_for() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = broken(&cluster, |config| config["cluster"]["slurm"]["gres"] = json!("gpu:1"));
    let checkup = Checkup::of(&workspace, &[]);
    checkup.fails_at("batch_script", &["gres", "cluster.slurm.gres"]);
}

#[test]
fn broken_20_the_configuration_is_unusable() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = broken(&cluster, |config| {
        config["cluster"]["slurm"]["partitoin"] = json!("compute")
    });
    let checkup = without_a_job(&workspace);
    checkup.fails_at("configuration", &["partitoin", "config.json"]);
    assert_eq!(checkup.output.code(), 78);
}

#[test]
fn broken_21_the_login_shell_talks() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    let options = LoginOptions {
        noise: Some("Welcome to this cluster!\n".to_owned()),
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let checkup = without_a_job(&workspace);
    assert_eq!(
        (checkup.output.code(), checkup.names("warning")),
        (0, vec!["login_shell"]),
        "{checkup:#?}"
    );
    checkup.says("login_shell", &["Welcome to this cluster!"]);
}

#[test]
fn broken_22_nobody_takes_ssh_connections() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    workspace.login.refuse();
    let checkup = without_a_job(&workspace);
    checkup.fails_at("ssh", &["does not take ssh connections"]);
    assert_eq!(checkup.output.code(), 75, "it may do so later");
}

#[test]
fn broken_23_the_login_shell_waits_for_something() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = installed(&cluster);
    let options = LoginOptions {
        sshd_lines: vec!["ForceCommand exec sleep 600".to_owned()],
        ..SlurmWorkspace::login_options(&workspace.fakes)
    };
    workspace.login.start_again_with(&options);
    let checkup = without_a_job(&workspace);
    checkup.fails_at("login_shell", &["had not ended after 20s", "start files"]);
    assert_eq!(checkup.names("ok"), ["configuration", "ssh"]);
}
