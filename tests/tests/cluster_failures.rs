//! The user guide's failure modes: what a person hears when ssh does not work, and that a prompt that has failed is never run.

use std::time::{Duration, Instant};

use codeswarm_tests::cli::cli;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::ssh_trouble::SshTrouble;
use serde_json::json;

#[test]
fn p3_a_prompt_that_could_not_be_brought_in_time_has_failed_with_ssh_s_words_and_is_never_run() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["router"]["inject_timeout_seconds"] = json!(3));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    router.turn(&swarm, 0, "before");
    workspace.login.refuse();
    router.wait_for("the link's end", |event| {
        event["type"] == "link" && event["up"] == false
    });
    let began = Instant::now();
    let failed = router.inject(&swarm, 0, "too late");
    let failure = router.event_of(&failed, "inject_failed");
    assert!(began.elapsed() >= Duration::from_secs(3), "{failure}");
    assert_eq!(failure["error"], "timeout", "{failure}");
    assert!(
        failure["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("Connection refused")),
        "{failure}"
    );
    for name in ["swarm_id", "job_id", "node_id", "injection_id", "seq"] {
        assert!(!failure[name].is_null(), "without {name}: {failure}");
    }
    let waiting = router.inject(&swarm, 0, "in time");
    workspace.login.start_again();
    router.event_of(&waiting, "usage");
    let records = workspace.records(&swarm.job_id, 0);
    let asked = records.iter().filter(|record| record["type"] == "turn_started").count();
    assert_eq!(asked, 2, "{records:#?}");
    let inbox = workspace.mailbox("inbox").join(format!("{}_00.jsonl", swarm.job_id));
    assert!(!std::fs::read_to_string(inbox).unwrap().contains("too late"));
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

#[test]
fn ssh_that_does_not_work_is_told_with_what_to_do_and_an_exit_code() {
    let Some(cluster) = requires::cluster() else { return };
    for trouble in SshTrouble::ALL {
        let workspace = SlurmWorkspace::echo(&cluster);
        let swarm = Swarm::left_running(&workspace, 1);
        let config = trouble.ssh_config(&workspace.login);
        let workspace = workspace.configured(|it| {
            it["ssh"]["config_file"] = json!(config);
            it["router"]["inject_timeout_seconds"] = json!(2);
        });
        let began = Instant::now();
        let launch = cli(&workspace, &["launch", "--nodes", "1"]);
        println!(
            "{trouble:?}, launch: {} after {:?}\n{}",
            launch.code(),
            began.elapsed(),
            launch.stderr
        );
        assert_eq!(launch.code(), 75, "{trouble:?}: {launch:#?}");
        assert!(launch.stderr.contains("testlogin"), "{trouble:?}: {launch:#?}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{trouble:?}: {:?}",
            began.elapsed()
        );
        let inject = cli(&workspace, &["inject", &swarm.swarm_id, "--prompt", "hello"]);
        println!(
            "{trouble:?}, inject: {}\n{}{}",
            inject.code(),
            inject.stdout,
            inject.stderr
        );
        assert_eq!(inject.code(), 1, "{trouble:?}: {inject:#?}");
        let status = cli(&workspace, &["status", &swarm.swarm_id]);
        println!(
            "{trouble:?}, status: {}\n{}{}",
            status.code(),
            status.stdout,
            status.stderr
        );
        assert!(
            status.stdout.contains("node0"),
            "what is known is told all the same: {status:#?}"
        );
        assert_eq!(workspace.jobs(), [swarm.job_id.as_str()]);
    }
}
