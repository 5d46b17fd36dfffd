//! The program on the cluster: copied there once, or installed by the site, and of the router's version.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use codeswarm_tests::cli::{cli, run};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use serde_json::{Value, json};

fn root(workspace: &SlurmWorkspace) -> PathBuf {
    workspace.path().join("shared/codeswarm")
}

/// The programs below the mailbox's root.
fn deployed(workspace: &SlurmWorkspace) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root(workspace).join("bin"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// What tells whether a file was written again.
fn identity(file: &Path) -> (u64, u64, std::time::SystemTime) {
    let there = std::fs::metadata(file).unwrap();
    (there.ino(), there.size(), there.modified().unwrap())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The version that this program tells.
fn version() -> String {
    let mut command = Command::new(requires::codeswarm());
    command.arg("--version");
    let output = run(command, b"").success();
    output.stdout.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn the_program_is_copied_once_and_named_by_what_is_in_it() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let told = router.wait_for("what takes time", |event| {
        event["type"] == "link"
            && event["reason"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("copying"))
    });
    assert_eq!(told["up"], false);
    let [program] = &deployed(&workspace)[..] else {
        panic!("{:?}", deployed(&workspace))
    };
    let name = program.file_name().unwrap().to_str().unwrap();
    let prefix = format!("codeswarm-{}-", version());
    let hash = name.strip_prefix(&prefix).unwrap_or_else(|| panic!("{name}"));
    assert!(
        hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{name}"
    );
    let before = identity(program);
    assert_eq!(before.1, std::fs::metadata(requires::codeswarm()).unwrap().size());
    // Worker and follower both are that file.
    let running = workspace.processes_named(&program.canonicalize().unwrap().display().to_string());
    assert!(
        running
            .iter()
            .any(|process| process.command_line.contains(" follower ")),
        "{running:#?}"
    );
    assert!(
        running.iter().any(|process| process.command_line.contains(" worker ")),
        "{running:#?}"
    );
    // Nobody else may look at what is below the root.
    for folder in [
        "",
        "bin",
        "launch",
        "mailbox",
        "mailbox/inbox",
        "mailbox/outbox",
        "mailbox/archive",
        "runs",
    ] {
        let folder = root(&workspace).join(folder);
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    assert_eq!(mode(program), 0o700);
    let job = format!("runs/{}", swarm.job_id);
    for folder in [&job, &format!("{job}/node_00")] {
        assert_eq!(mode(&root(&workspace).join(folder)), 0o700, "{folder}");
    }
    for file in [
        format!("launch/{}.json", swarm.swarm_id),
        format!("mailbox/inbox/{}_00.jsonl", swarm.job_id),
        format!("mailbox/outbox/{}_00.jsonl", swarm.job_id),
    ] {
        assert_eq!(mode(&root(&workspace).join(&file)), 0o600, "{file}");
    }

    router.launch_ready(1);
    router.leave();
    workspace.login.wait_until_quiet();
    let mut router = RouterProcess::daemon(&workspace);
    router.launch_ready(1);
    assert_eq!(deployed(&workspace), std::slice::from_ref(program));
    assert_eq!(identity(program), before, "it was written again");
    let copying = |event: &Value| {
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("copying"))
    };
    assert!(!router.lines().iter().any(copying));
}

#[test]
fn a_program_that_the_site_has_installed_is_used_as_it_is() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let installed = workspace.path().join("opt/codeswarm");
    std::fs::create_dir(workspace.path().join("opt")).unwrap();
    std::fs::copy(requires::codeswarm(), &installed).unwrap();
    let workspace = workspace.configured(|config| config["cluster"]["remote_binary"] = json!(installed));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    assert_eq!(router.turn(&swarm, 0, "hello")["status"], "completed");
    assert_eq!(deployed(&workspace), Vec::<PathBuf>::new());
    let running = workspace.processes_named(&installed.display().to_string());
    assert!(
        running
            .iter()
            .any(|process| process.command_line.contains(" follower ")),
        "{running:#?}"
    );
    assert!(
        running.iter().any(|process| process.command_line.contains(" worker ")),
        "{running:#?}"
    );
    router.terminate(&swarm);
}

#[test]
fn a_program_that_the_site_has_not_installed_is_told_with_the_setting() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster)
        .configured(|config| config["cluster"]["remote_binary"] = json!("/opt/nowhere/codeswarm"));
    let output = cli(&workspace, &["launch", "--nodes", "1"]);
    assert_ne!(output.code(), 0, "{output:#?}");
    for words in ["/opt/nowhere/codeswarm", "cluster.remote_binary"] {
        assert!(output.stderr.contains(words), "{words}: {output:#?}");
    }
}

#[test]
fn the_program_that_the_configuration_names_is_the_one_that_is_copied() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    // A build of its own: the same program with something behind it.
    let build = workspace.path().join("static-codeswarm");
    let mut bytes = std::fs::read(requires::codeswarm()).unwrap();
    bytes.extend_from_slice(b"another build");
    std::fs::write(&build, &bytes).unwrap();
    let workspace = workspace.configured(|config| config["cluster"]["binary"] = json!("static-codeswarm"));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    assert_eq!(router.turn(&swarm, 0, "hello")["status"], "completed");
    let [program] = &deployed(&workspace)[..] else {
        panic!("{:?}", deployed(&workspace))
    };
    assert!(std::fs::read(program).unwrap() == bytes, "another program was copied");
    router.terminate(&swarm);
    router.leave();

    // With the program of the router itself afterwards: beside it, not over it.
    let workspace = workspace.configured(|config| {
        config["cluster"].as_object_mut().unwrap().remove("binary");
    });
    let mut router = RouterProcess::daemon(&workspace);
    router.launch_ready(1);
    assert_eq!(deployed(&workspace).len(), 2, "{:?}", deployed(&workspace));
}

#[test]
fn a_follower_of_another_version_is_refused_and_both_are_named() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let ours = version();
    let theirs = format!("{}9", &ours[..ours.len() - 1]);
    // The same program, but for its word about itself.
    let other = workspace.path().join("other-codeswarm");
    let mut sed = Command::new("sed");
    sed.env("LC_ALL", "C")
        .arg(format!("s/{}/{theirs}/g", ours.replace('.', "\\.")));
    sed.arg(requires::codeswarm())
        .stdout(std::fs::File::create(&other).unwrap());
    assert!(sed.status().unwrap().success());
    // A file that is open for writing cannot be run.
    drop(sed);
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    let workspace = workspace.configured(|config| config["cluster"]["remote_binary"] = json!(other));
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1}));
    let refusal = router.refusal(&request);
    assert_eq!(refusal["code"], "link", "{refusal}");
    let reason = refusal["reason"].as_str().unwrap();
    for words in [ours.as_str(), theirs.as_str(), "install the same version"] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    assert_eq!(workspace.jobs().len(), 0);
}

#[test]
fn p6_a_worker_of_another_version_refuses_to_run_and_both_are_named() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).configured(|config| {
        config["cluster"]["slurm"]["poll_seconds"] = json!(1);
    });
    let mut router = RouterProcess::daemon(&workspace);
    let command = json!({"command": "swarm_launch", "nodes": 2, "system_prompt": "hello",
        "provider_params": {"sbatch_args": ["--hold"]}});
    let launched = router.asked(command, "swarm_launched");
    let text = |name: &str| launched[name].as_str().unwrap().to_owned();
    let swarm = Swarm {
        swarm_id: text("swarm_id"),
        job_id: text("job_id"),
        nodes: 2,
    };
    let file = root(&workspace).join(format!("launch/{}.json", swarm.swarm_id));
    let written = std::fs::read_to_string(&file).unwrap();
    let ours = version();
    let changed = written.replace(&format!("\"{ours}\""), "\"9.9.9\"");
    assert_ne!(written, changed);
    std::fs::write(&file, changed).unwrap();
    cluster.slurm(&["scontrol", "release", &swarm.job_id]);

    for node in 0..2 {
        let refused = router.wait_for("why the worker refuses", |event| {
            event["type"] == "worker_exit" && event["node_id"] == node && event["reason"] == "worker_refused"
        });
        assert_eq!(refused["job_id"], swarm.job_id.as_str());
        let failed = router.wait_for("the prompt's end", |event| {
            event["type"] == "inject_failed" && event["node_id"] == node
        });
        assert!(failed["reason"].is_string(), "{failed}");
    }
    let end = router.wait_for("the swarm's end", |event| event["type"] == "swarm_terminated");
    assert_eq!(end["status"], "failed", "{end}");
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    let why = status["nodes"][0]["error"]
        .as_str()
        .unwrap_or_else(|| panic!("{status:#}"));
    for words in [ours.as_str(), "9.9.9"] {
        assert!(why.contains(words), "{words}: {why}");
    }
}
