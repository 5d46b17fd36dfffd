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
    let mark = router.mark();
    workspace.login.refuse();
    router.wait_after(mark, "the link's end", |event| {
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
    workspace.login.start_again();
    // Whoever asks has the link tried at once.
    let waiting = router.inject(&swarm, 0, "in time");
    router.event_of(&waiting, "usage");
    let records = workspace.records(&swarm.job_id, 0);
    let asked = records.iter().filter(|record| record["type"] == "turn_started").count();
    assert_eq!(asked, 2, "{records:#?}");
    let inbox = workspace.mailbox("inbox").join(format!("{}_00.jsonl", swarm.job_id));
    assert!(!std::fs::read_to_string(inbox).unwrap().contains("too late"));
    router.terminate(&swarm);
    assert_flat_events(&router.lines());
}

/// What a person must mend; the others may pass by themselves, so a launch waits for them a while.
const LASTING: [SshTrouble; 4] = [
    SshTrouble::PermissionDenied,
    SshTrouble::HostKeyChanged,
    SshTrouble::HostKeyUnknown,
    SshTrouble::AliasUnknown,
];

#[test]
fn ssh_that_does_not_work_is_told_with_what_to_do_and_an_exit_code() {
    let Some(cluster) = requires::cluster() else { return };
    for trouble in LASTING {
        let workspace = SlurmWorkspace::echo(&cluster);
        let swarm = Swarm::left_running(&workspace, 1);
        let records = workspace.records(&swarm.job_id, 0);
        let start = records.iter().find(|record| record["type"] == "worker_start");
        let host = start.and_then(|record| record["host"].as_str()).unwrap().to_owned();
        let config = trouble.ssh_config(&workspace.login);
        let workspace = workspace.configured(|it| {
            it["ssh"]["config_file"] = json!(config);
            it["router"]["inject_timeout_seconds"] = json!(2);
        });
        let words = match trouble {
            SshTrouble::PermissionDenied => "`ssh testlogin` once by hand; it must log in without asking",
            SshTrouble::HostKeyChanged => "the host key of testlogin is not the one this machine knows",
            SshTrouble::HostKeyUnknown => "compare the fingerprint",
            _ => "is ssh.login_alias spelled as in",
        };
        let began = Instant::now();
        let launch = cli(&workspace, &["launch", "--nodes", "1"]);
        assert_eq!(launch.code(), 75, "{trouble:?}: {launch:#?}");
        assert!(launch.stderr.contains(words), "{trouble:?}: {launch:#?}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{trouble:?}: {:?}",
            began.elapsed()
        );
        // Its swarm may go on all the same: the prompt waits its time, then it has failed, and both are told.
        let inject = cli(&workspace, &["inject", &swarm.swarm_id, "--prompt", "hello", "--json"]);
        assert_eq!(inject.code(), 1, "{trouble:?}: {inject:#?}");
        let events = inject.json_lines();
        let failure = events.iter().find(|event| event["type"] == "inject_failed");
        let failure = failure.unwrap_or_else(|| panic!("{inject:#?}"));
        assert_eq!(failure["error"], "timeout");
        assert!(
            failure["reason"].as_str().is_some_and(|reason| reason.contains(words)),
            "{failure}"
        );
        // What was known is shown, with the word that it may be old.
        let status = cli(&workspace, &["status", &swarm.swarm_id]);
        assert!(
            status.stdout.contains(&host) && status.stderr.contains(words),
            "{trouble:?}: {status:#?}"
        );
        assert_eq!(workspace.jobs(), [swarm.job_id.as_str()]);
    }
}

#[test]
fn a_login_node_that_is_away_for_a_moment_only_delays_a_launch() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    workspace.login.refuse();
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "hello"}));
    router.wait_for("ssh's words", |event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["type"] == "link" && event["up"] == false && reason.contains("Connection refused")
    });
    workspace.login.start_again();
    router.answer(&request, "swarm_launched");
    router.wait_for("the first turn", |event| event["type"] == "usage");
}
