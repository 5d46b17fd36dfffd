//! A launch that fails on its way through sbatch, or whose answer is lost: one job or none, told with advice (P2, P12).

use std::time::Duration;

use codeswarm_tests::account::wait_for_completion;
use codeswarm_tests::fakes::{Answer, words};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use serde_json::json;

#[track_caller]
fn assert_nothing_launched(workspace: &SlurmWorkspace, router: &mut RouterProcess) {
    workspace.wait_until_no_job_is_left();
    let list = router.asked(json!({"command": "swarm_list"}), "swarm_list");
    assert_eq!(list["swarms"], json!({}), "{list}");
    // Whatever turns up with this launch file does nothing.
    wait_until("all launch files to be withdrawn", || {
        let files = std::fs::read_dir(workspace.path().join("shared/codeswarm/launch")).unwrap();
        let paths = files.flatten().map(|file| file.path());
        // Beside one lies what the job has for the end of a task.
        let specs = paths.filter(|path| path.extension().is_some_and(|name| name == "json"));
        let specs = specs.map(|path| std::fs::read(path).unwrap());
        let mut specs = specs.map(|spec| serde_json::from_slice::<serde_json::Value>(&spec).unwrap());
        match specs.find(|spec| spec["node_count"] != 0) {
            None => Ok(()),
            Some(valid) => Err(format!("{valid:#}")),
        }
    });
}

#[track_caller]
fn refused(router: &mut RouterProcess) -> String {
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "hello"}));
    let refusal = router.refusal(&request);
    assert_eq!(refusal["code"], "launch_failed", "{refusal}");
    refusal["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_sbatch_refuses_is_told_with_the_setting_and_advice() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    for (answer, said) in [
        (
            Answer::fails(words::INVALID_PARTITION),
            ["cluster.slurm.partition", "sinfo -s"],
        ),
        (
            Answer::fails(words::INVALID_ACCOUNT),
            ["cluster.slurm.account", "sacctmgr"],
        ),
        (
            Answer::fails(words::TOO_MANY_JOBS),
            ["QOSMaxSubmitJobPerUserLimit", "wait until other jobs"],
        ),
        (
            Answer::fails("bash: sbatch: command not found\n").code(127),
            ["sbatch", "PATH"],
        ),
        (
            Answer::fails(words::SBATCH_NO_CONTROLLER),
            ["Unable to contact slurm controller", "again"],
        ),
        (
            Answer::fails("sbatch: error: Something quite new\n"),
            ["Something quite new", "sbatch"],
        ),
    ] {
        workspace.fakes.set("sbatch", answer.times(1));
        let reason = refused(&mut router);
        assert!(said.iter().all(|part| reason.contains(part)), "{said:?}: {reason}");
        assert_nothing_launched(&workspace, &mut router);
    }
    assert_eq!(workspace.fakes.calls("sbatch").len(), 6, "each once");
    // By the real one, too.
    let request =
        router.ask(json!({"command": "swarm_launch", "nodes": 1, "provider_params": {"partition": "nowhere"}}));
    let reason = router.refusal(&request)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("cluster.slurm.partition"), "{reason}");
    assert_nothing_launched(&workspace, &mut router);
    // And it works as soon as it may.
    let swarm = router.launch_ready(1);
    router.terminate(&swarm);
}

#[test]
fn p2_a_submission_whose_answer_is_lost_is_found_and_not_repeated() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    workspace.fakes.set("sbatch", Answer::done_but_not_told().times(1));
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "hello"}));
    let launched = router.answer(&request, "swarm_launched");
    assert_eq!(workspace.jobs(), [launched["job_id"].as_str().unwrap()]);
    assert_eq!(router.answer(&request, "turn_complete")["status"], "completed");
    assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
    let swarm = Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 1,
    };
    router.terminate(&swarm);
    workspace.wait_until_no_job_is_left();
}

#[test]
fn p2_a_router_killed_while_sbatch_runs_finds_its_job() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    workspace
        .fakes
        .set("sbatch", Answer::late(Duration::from_secs(2)).times(1));
    let launch = json!({"command": "swarm_launch", "request_id": "launch", "nodes": 1, "system_prompt": "hello"});
    router.ask(launch.clone());
    wait_until("sbatch to be called", || match workspace.fakes.calls("sbatch").len() {
        1 => Ok(()),
        other => Err(other.to_string()),
    });
    router.kill();
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    router.ask(launch);
    let launched = router.answer("launch", "swarm_launched");
    assert_eq!(router.answer("launch", "turn_complete")["status"], "completed");
    assert_eq!(workspace.jobs(), [launched["job_id"].as_str().unwrap()]);
    assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
}

#[test]
fn p2_a_link_cut_before_sbatch_has_done_anything_launches_nothing() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    workspace.fakes.set("sbatch", Answer::script("cut").times(1));
    let reason = refused(&mut router);
    assert!(
        reason.contains("answer of sbatch was lost") && reason.contains("Launch again"),
        "{reason}"
    );
    assert_nothing_launched(&workspace, &mut router);
    assert_eq!(workspace.fakes.calls("sbatch").len(), 1);
}

/// The job comes to be after its launch was given up: it finds its launch file withdrawn.
#[test]
fn p2_a_job_that_turns_up_after_its_launch_was_given_up_does_nothing() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    // sbatch goes on without the connection, and slurmctld takes its time.
    let late = "cat >\"$FAKE_DIR/job\"; { until [ -e \"$FAKE_DIR/go\" ]; do sleep 0.1; done; real \"$@\" <\"$FAKE_DIR/job\"; } \
                >\"$FAKE_DIR/submitted\" 2>&1 & disown; cut";
    workspace.fakes.set("sbatch", Answer::script(late).times(1));
    let reason = refused(&mut router);
    assert!(reason.contains("should that job turn up"), "{reason}");
    let (_, folder) = workspace.fakes.variable();
    std::fs::write(format!("{folder}/go"), "").unwrap();
    let job = wait_until("the job", || {
        let said = std::fs::read_to_string(format!("{folder}/submitted")).unwrap_or_default();
        let said = said.trim().to_owned();
        if said.parse::<u32>().is_ok() {
            Ok(said)
        } else {
            Err(said)
        }
    });
    wait_until("its end", || match cluster.state(&job) {
        state if state == "FAILED" || state == "COMPLETED" => Ok(()),
        state => Err(state),
    });
    assert_nothing_launched(&workspace, &mut router);
    let errors = workspace.path().join(format!("shared/codeswarm/runs/{job}.err"));
    let said = std::fs::read_to_string(errors).unwrap();
    assert!(said.contains("withdrawn"), "{said}");
    let left: Vec<_> = workspace.mailbox_files().into_keys().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_slow_sbatch_is_waited_for_and_others_go_on_meanwhile() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    let first = router.launch_ready(1);
    workspace
        .fakes
        .set("sbatch", Answer::late(Duration::from_secs(6)).times(1));
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1}));
    let prompt = router.inject(&first, 0, "meanwhile");
    wait_for_completion(&router, &prompt);
    let early = router
        .lines()
        .into_iter()
        .find(|event| event["request_id"] == request.as_str() && event["type"] == "swarm_launched");
    assert_eq!(early, None);
    let launched = router.answer(&request, "swarm_launched");
    let second = Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 1,
    };
    let prompt = router.inject(&second, 0, "hello");
    wait_for_completion(&router, &prompt);
    router.terminate(&first);
    router.terminate(&second);
    workspace.wait_until_no_job_is_left();
}

#[test]
fn a_launch_while_the_controller_is_away_is_refused_and_works_when_it_is_back() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    router.follow_all();
    cluster.stop_slurmctld();
    let reason = refused(&mut router);
    assert!(reason.contains("controller"), "{reason}");
    cluster.start_slurmctld();
    assert_nothing_launched(&workspace, &mut router);
    let swarm = router.launch_ready(1);
    router.terminate(&swarm);
}
