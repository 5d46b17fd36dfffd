//! Workers or agents that cannot start: said with the reason within seconds, as an event, in the status and at the end, and not
//! by a node that is silent (P6).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codeswarm_tests::account::{ends_of, wait_for_end};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_processes::wait_for_failure;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use serde_json::{Value, json};

/// A swarm whose job waits, for something to be spoilt before it starts.
fn waiting(workspace: &SlurmWorkspace) -> (RouterProcess, Swarm, Vec<String>) {
    let mut router = RouterProcess::daemon(workspace);
    router.follow_all();
    let swarm = router.launch(2);
    let prompts = router.inject_all(&swarm, "given in the queue");
    for prompt in &prompts {
        router.event_of(prompt, "inject_delivered");
    }
    (router, swarm, prompts)
}

fn in_a_closed_partition() -> Option<SlurmWorkspace> {
    let cluster = requires::cluster()?;
    let workspace = SlurmWorkspace::echo(&cluster)
        .looking_every_second()
        .configured(|config| config["cluster"]["slurm"]["partition"] = json!("closed"));
    Some(workspace)
}

/// Lets the job start, and returns what was told of its end.
#[track_caller]
fn started(workspace: &SlurmWorkspace, router: &RouterProcess, swarm: &Swarm, prompts: &[String]) -> String {
    let job = format!("jobid={}", swarm.job_id);
    workspace
        .cluster()
        .slurm(&["scontrol", "update", &job, "partition=compute"]);
    for prompt in prompts {
        assert_eq!(wait_for_end(router, prompt)["type"], "inject_failed");
    }
    let told = wait_for_failure(router, swarm);
    for prompt in prompts {
        assert_eq!(ends_of(&router.lines(), prompt).len(), 1);
    }
    workspace.wait_until_no_job_is_left();
    told["reason"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn only_file(folder: &Path) -> PathBuf {
    let found: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].path()
}

#[test]
fn p6_an_agent_that_is_not_there_is_told_within_seconds() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster)
        .looking_every_second()
        .configured(|config| {
            config["agent"] = json!({"kind": "codex", "command": ["/nowhere/codex"]});
        });
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let swarm = router.launch(2);
    let began = Instant::now();
    let prompt = router.inject(&swarm, 0, "hello");
    let said = router.wait_for("a worker to say it", |event| event["type"] == "agent_exit");
    assert!(
        said["message"].as_str().unwrap_or_default().contains("/nowhere/codex"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(wait_for_end(&router, &prompt)["type"], "inject_failed");
    let told = wait_for_failure(&router, &swarm);
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("/nowhere/codex"), "{told}");
    let status = router.asked(
        json!({"command": "swarm_status", "swarm_id": swarm.swarm_id}),
        "swarm_status",
    );
    for node in 0..2 {
        let error = status["nodes"][node]["error"].as_str().unwrap_or_default();
        assert!(error.contains("/nowhere/codex"), "{status:#}");
    }
    workspace.wait_until_no_job_is_left();
}

#[test]
fn p6_a_launch_file_of_another_version_is_told_with_both_versions() {
    let Some(workspace) = in_a_closed_partition() else {
        return;
    };
    let (router, swarm, prompts) = waiting(&workspace);
    let file = only_file(&workspace.path().join("shared/codeswarm/launch"));
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    spec["version"] = json!("9.9.9");
    std::fs::write(&file, spec.to_string()).unwrap();
    let reason = started(&workspace, &router, &swarm, &prompts);
    assert!(reason.contains("9.9.9"), "{reason}");
}

#[test]
fn p6_a_launch_file_that_is_gone_is_told() {
    let Some(workspace) = in_a_closed_partition() else {
        return;
    };
    let (router, swarm, prompts) = waiting(&workspace);
    let file = only_file(&workspace.path().join("shared/codeswarm/launch"));
    // The name that it has everywhere.
    let file = file.canonicalize().unwrap();
    std::fs::remove_file(&file).unwrap();
    let reason = started(&workspace, &router, &swarm, &prompts);
    assert!(reason.contains(file.to_str().unwrap()), "{reason}");
}

#[test]
fn p6_a_program_that_may_not_be_executed_is_told_with_the_jobs_last_words() {
    let Some(workspace) = in_a_closed_partition() else {
        return;
    };
    let (router, swarm, prompts) = waiting(&workspace);
    let program = only_file(&workspace.path().join("shared/codeswarm/bin"));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o600)).unwrap();
    let reason = started(&workspace, &router, &swarm, &prompts);
    assert!(
        reason.contains("there is no program") && reason.contains("exit code 78"),
        "{reason}"
    );
}

#[test]
fn p6_a_program_that_is_none_is_told_with_the_jobs_last_words() {
    let Some(workspace) = in_a_closed_partition() else {
        return;
    };
    let (router, swarm, prompts) = waiting(&workspace);
    let program = only_file(&workspace.path().join("shared/codeswarm/bin"));
    // The follower runs from the old file.
    std::fs::rename(&program, program.with_extension("old")).unwrap();
    std::fs::write(
        &program,
        "#!/bin/sh\necho 'no such library: libfoo.so.9' >&2\nexit 127\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let reason = started(&workspace, &router, &swarm, &prompts);
    assert!(reason.contains("FAILED") && reason.contains("libfoo.so.9"), "{reason}");
}

#[test]
fn p6_a_job_whose_output_has_no_folder_is_told() {
    let Some(workspace) = in_a_closed_partition() else {
        return;
    };
    let (mut router, swarm, prompts) = waiting(&workspace);
    let runs = workspace.path().join("shared/codeswarm/runs");
    std::fs::rename(&runs, runs.with_extension("away")).unwrap();
    let job = format!("jobid={}", swarm.job_id);
    workspace
        .cluster()
        .slurm(&["scontrol", "update", &job, "partition=compute"]);
    // Slurm fails it, or queues it again and holds it: either way somebody is told what to look at.
    let told = router.wait_for("what became of it", |event| {
        let about_it = event["type"] == "swarm_terminated" || event["type"] == "swarm_status";
        about_it && event["reason"].as_str().is_some_and(|reason| reason.contains("runs"))
    });
    if told["type"] == "swarm_status" {
        router.terminate(&swarm);
    }
    for prompt in &prompts {
        assert_eq!(wait_for_end(&router, prompt)["type"], "inject_failed");
    }
    workspace.wait_until_no_job_is_left();
}
