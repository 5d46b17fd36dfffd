//! What a swarm is to its login node and to the router's own machine: one process there, one connection, and nothing once the
//! router has gone, however it went. And nothing of a prompt where it does not belong.

use std::time::{Duration, Instant};

use codeswarm_tests::cli::cli;
use codeswarm_tests::processes::Process;
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::workspace::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Ten seconds are promised; a machine that is busy with other tests has half as many again.
const NOTHING_LEFT_WITHIN: Duration = Duration::from_secs(15);

/// The ssh processes of the router's side.
fn ssh_here(workspace: &SlurmWorkspace) -> Vec<Process> {
    let mut found = workspace.processes();
    found.retain(|process| process.command_line.starts_with("ssh "));
    found
}

/// How long it takes until nothing of the router is left: not on the login node, and no connection on its own side.
#[track_caller]
fn gone_after(workspace: &SlurmWorkspace, began: Instant, how: &str) {
    workspace.login.wait_until_quiet();
    let there = began.elapsed();
    wait_until("no ssh is left on the router's side", || match ssh_here(workspace) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:#?}")),
    });
    println!(
        "{how}: nothing on the login node after {there:?}, no ssh here after {:?}",
        began.elapsed()
    );
    assert!(began.elapsed() < NOTHING_LEFT_WITHIN, "{how}: {:?}", began.elapsed());
}

/// The swarm that was left is found by the next router, and answers.
fn assert_goes_on(workspace: &SlurmWorkspace, swarm: &Swarm) -> RouterProcess {
    let mut router = RouterProcess::daemon(workspace);
    assert_eq!(router.turn(swarm, 0, "still there?")["status"], "completed");
    router
}

#[test]
fn the_login_node_runs_one_follower_and_no_shell_for_a_prompt() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let only_follower = || match &workspace.login.processes()[..] {
        [one] if one.command_line.contains(" follower --root ") => Ok(one.clone()),
        other => Err(format!("not one follower but {other:#?}")),
    };
    let follower = || only_follower().unwrap();
    // The last command of the launch may just be ending.
    let before = wait_until("the follower to be alone", only_follower);
    let slurm_calls = |program: &str| workspace.fakes.calls(program).len();
    let asked = slurm_calls("squeue") + slurm_calls("scontrol");
    for number in 0..50 {
        let injection = router.inject(&swarm, number % 2, &format!("prompt {number}"));
        // While it runs, too.
        assert_eq!(follower(), before);
        router.event_of(&injection, "usage");
    }
    assert_eq!(follower(), before, "the same process as before");
    assert!(
        workspace.login.sessions().len() <= 2,
        "{:#?}",
        workspace.login.sessions()
    );
    assert!(
        slurm_calls("squeue") + slurm_calls("scontrol") <= asked + 1,
        "Slurm is asked nothing while workers speak"
    );
    assert_eq!(
        ssh_here(&workspace).len(),
        2,
        "the master and the follower's channel: {:#?}",
        ssh_here(&workspace)
    );
    router.terminate(&swarm);
    let after = wait_until("the commands that ended the job to be gone", only_follower);
    assert_eq!(after, before);
}

#[test]
fn nothing_is_left_when_standard_input_ends() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let began = Instant::now();
    let took = router.leave();
    assert!(took < Duration::from_secs(4), "two seconds are promised: {took:?}");
    gone_after(&workspace, began, "end of standard input");
    assert_goes_on(&workspace, &swarm);
}

#[test]
fn nothing_is_left_after_sigterm() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let began = Instant::now();
    router.signal(Signal::TERM);
    router.wait_exit();
    gone_after(&workspace, began, "SIGTERM");
    assert_goes_on(&workspace, &swarm);
}

#[test]
fn p4_nothing_is_left_of_a_router_that_was_killed_in_the_middle_of_turns() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(2);
    let injections = router.inject_all(&swarm, "[[echo deltas=300 pace_ms=10]]");
    router.event_of(&injections[1], "assistant_delta");
    let began = Instant::now();
    router.kill();
    gone_after(&workspace, began, "SIGKILL");
    let mut router = assert_goes_on(&workspace, &swarm);
    router.asked(
        json!({"command": "subscribe", "swarm_id": swarm.swarm_id, "since": 0}),
        "caught_up",
    );
    for injection in &injections {
        assert_eq!(router.event_of(injection, "turn_complete")["status"], "completed");
    }
}

#[test]
fn nothing_is_left_after_codeswarm_shutdown() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let launched = cli(&workspace, &["launch", "--nodes", "1", "--wait"]).success();
    let swarm = launched.stdout.trim().to_owned();
    assert_eq!(
        workspace.login.processes().len(),
        1,
        "{:#?}",
        workspace.login.processes()
    );
    let began = Instant::now();
    cli(&workspace, &["shutdown"]).success();
    gone_after(&workspace, began, "shutdown");
    assert_eq!(workspace.processes_named(" router "), []);
    let output = cli(&workspace, &["inject", &swarm, "--prompt", "still there?"]).success();
    assert!(output.stdout.contains("still there?"), "{output:#?}");
}

/// Every argument and log in which a word could stand that should not.
fn leaks(workspace: &SlurmWorkspace, secret: &str) -> Vec<String> {
    let on_command_lines = workspace.processes().into_iter().chain(workspace.login.processes());
    let mut found: Vec<_> = on_command_lines
        .filter(|process| process.command_line.contains(secret))
        .map(|process| process.command_line)
        .collect();
    for entry in files_below(workspace.path()) {
        // The state and the mailbox hold prompts; that is what they are for.
        let holds_prompts = ["/mailbox/", "/state/state.sqlite", ".session/"];
        let path = entry.display().to_string();
        let is_ours = !holds_prompts.iter().any(|part| path.contains(part));
        if is_ours && std::fs::read(&entry).is_ok_and(|bytes| contains(&bytes, secret.as_bytes())) {
            found.push(path);
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && !entry.path().to_string_lossy().contains("/bin/") => {
                    found.push(entry.path())
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn a_prompt_of_two_megabytes_arrives_byte_for_byte_and_nowhere_else() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::spawn(&workspace, &["--daemon", "--debug"]);
    let swarm = router.launch_ready(1);
    let secret = "xyzzy-plugh";
    // Few blanks: the echo agent says each word by itself.
    let nasty = format!(
        "{secret}'single'\"double\"$(reboot)`reboot`${{HOME}}\\n\\\\;&|><*?~!#%s\n\ttab\r\n\u{0}\u{1}\u{7f}\u{2028}é漢字🐝👩‍🚀 "
    );
    let nasty = format!("{} {nasty}", nasty.trim_end().repeat(50));
    let mut prompt = nasty.repeat(2_000_000 / nasty.len() + 1);
    prompt.push_str("the end");
    assert!(prompt.len() > 2_000_000);
    let began = Instant::now();
    let injection = router.inject(&swarm, 0, &prompt);
    // While it is on its way it is on no command line either.
    assert_eq!(leaks(&workspace, secret), Vec::<String>::new());
    let answer = router.event_of(&injection, "assistant");
    println!("2 MB there and back in {:?}", began.elapsed());
    let same = |text: &Value| text.as_str() == Some(prompt.as_str());
    assert!(same(&answer["content"]), "the answer is another text");
    router.event_of(&injection, "usage");
    let inbox = workspace.mailbox("inbox").join(format!("{}_00.jsonl", swarm.job_id));
    let inbox = std::fs::read_to_string(inbox).unwrap();
    let lines: Vec<Value> = inbox.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines
            .iter()
            .any(|line| line["injection_id"] == injection.as_str() && same(&line["content"]))
    );
    let records = workspace.records(&swarm.job_id, 0);
    assert!(
        records
            .iter()
            .any(|record| record["type"] == "assistant" && same(&record["content"]))
    );
    assert_eq!(leaks(&workspace, secret), Vec::<String>::new());
    assert!(!router.stderr().contains(secret), "the router's log has the prompt");
    router.terminate(&swarm);
    assert_eq!(leaks(&workspace, secret), Vec::<String>::new());
}

#[test]
fn a_prompt_from_the_command_line_s_standard_input_is_on_no_other_command_line() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let launched = cli(&workspace, &["launch", "--nodes", "1", "--prompt", "first xyzzy-plugh"]).success();
    let swarm = launched.stdout.trim().to_owned();
    let prompt = "second xyzzy-plugh $(reboot)\n";
    let inject = ["inject", swarm.as_str()];
    let output = codeswarm_tests::cli::cli_with_stdin(&workspace, &inject, prompt.as_bytes()).success();
    assert!(output.stdout.contains("second xyzzy-plugh $(reboot)"), "{output:#?}");
    assert_eq!(leaks(&workspace, "xyzzy-plugh"), Vec::<String>::new());
    let script = &workspace.fakes.calls("sbatch")[0];
    assert!(!script.stdin.contains("xyzzy-plugh"), "{script:#?}");
}
