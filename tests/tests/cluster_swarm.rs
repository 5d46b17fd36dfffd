//! A swarm on a Slurm cluster, used from the command line as the user guide says.

use std::collections::BTreeSet;

use codeswarm_tests::cli::{Output, cli, run};
use codeswarm_tests::cluster::NODES;
use codeswarm_tests::json_process::JsonProcess;
use codeswarm_tests::model_server::{ModelServer, answer_to};
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::stream::{assert_every_record_once, assert_in_order};
use codeswarm_tests::workspace::wait_until;
use serde_json::Value;

/// `codeswarm launch --nodes 4 --wait` with the user guide's prompt; answers with the swarm's id.
fn launched(workspace: &SlurmWorkspace) -> String {
    let nodes = NODES.to_string();
    let prompt = "You are a distributed agent.";
    let output = cli(workspace, &["launch", "--nodes", &nodes, "--prompt", prompt, "--wait"]).success();
    let id = output.stdout.trim().to_owned();
    assert_eq!(
        output.stdout,
        format!("{id}\n"),
        "standard output is the id and nothing else"
    );
    id
}

/// What `codeswarm status --json` says.
fn status(workspace: &SlurmWorkspace, swarm: &str) -> Value {
    let lines = cli(workspace, &["status", swarm, "--json"]).success().json_lines();
    let [status] = &lines[..] else {
        panic!("not one line: {lines:#?}")
    };
    status.clone()
}

/// The same once all nodes have ended so many turns.
fn status_after_turns(workspace: &SlurmWorkspace, swarm: &str, turns: u64) -> Value {
    wait_until(&format!("{turns} turns of each node"), || {
        let status = status(workspace, swarm);
        let all = status["nodes"].as_array().is_some_and(|nodes| {
            nodes
                .iter()
                .all(|node| node["turns"].as_u64() >= Some(turns) && node["open_injections"] == 0)
        });
        if all { Ok(status) } else { Err(status.to_string()) }
    })
}

/// After `terminate` has come back: archives that end in order, no job, no worker.
fn assert_ended(workspace: &SlurmWorkspace, job: &str) {
    for node in 0..NODES {
        let name = format!("{job}_{node:02}.jsonl");
        assert!(
            workspace.mailbox("archive").join(&name).is_file(),
            "{name} is not in the archive"
        );
        assert!(
            !workspace.mailbox("outbox").join(&name).exists(),
            "{name} is in the outbox"
        );
        let records = workspace.records(job, node);
        let last = records.last().unwrap();
        assert_eq!(last["type"], "worker_exit", "{last}");
    }
    // Slurm takes a moment to see that the last task has ended, and its srun with it.
    wait_until("the job to leave the queue", || {
        match (
            workspace.jobs(),
            workspace.processes_named(" worker "),
            workspace.processes_named("app-server"),
        ) {
            (jobs, workers, agents) if jobs.is_empty() && workers.is_empty() && agents.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    });
    assert!(["CANCELLED", "COMPLETED"].contains(&workspace.cluster().state(job).as_str()));
}

fn text_of(event: &Value, kind: &str) -> Option<String> {
    let is = event["type"] == kind;
    event["content"].as_str().filter(|_| is).map(str::to_owned)
}

#[test]
fn the_workflow_of_the_user_guide() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let swarm = launched(&workspace);
    let swarm = swarm.as_str();

    let list = cli(&workspace, &["list"]).success().stdout;
    let row = list
        .lines()
        .find(|line| line.starts_with(swarm))
        .unwrap_or_else(|| panic!("{list}"));
    for word in ["running", "slurm", "echo", "You are a distributed agent."] {
        assert!(row.contains(word), "{word}: {list}");
    }
    let seen = status_after_turns(&workspace, swarm, 1);
    let job = seen["job_id"].as_str().unwrap();
    assert!(row.contains(job), "{list}");
    assert_eq!(workspace.jobs(), [job]);
    assert_eq!(seen["status"], "running", "{seen:#}");
    assert_eq!(seen["slurm_state"], "RUNNING", "{seen:#}");
    let nodes = seen["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), NODES as usize);
    for node in nodes {
        assert_eq!(node["state"], "idle", "{node}");
        assert_eq!(node["agent"], "echo", "{node}");
        assert_eq!(node["tokens"], 10, "five words asked and five said: {node}");
        assert_eq!(node["last_event"], "usage", "{node}");
        assert!(
            node["last_event_at"].is_string() && node["heartbeat_at"].is_string(),
            "{node}"
        );
    }
    let hosts: Vec<_> = nodes.iter().map(|node| node["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["node0", "node1", "node2", "node3"], "ranks tell their hosts");
    let shown = cli(&workspace, &["status", swarm]).success().stdout;
    for words in hosts.into_iter().chain(["HEARTBEAT"]) {
        assert!(shown.contains(words), "{shown}");
    }

    let attached = attach(&workspace, swarm);
    let output = cli(
        &workspace,
        &["inject", swarm, "--nodes", "2", "--prompt", "Optimize GEMM tiling."],
    )
    .success();
    assert!(
        output.stdout.contains("node 2") && output.stdout.contains("Optimize GEMM tiling."),
        "{output:#?}"
    );
    let output = cli(&workspace, &["inject", swarm, "--prompt", "to all", "--json"]).success();
    let answers = output
        .json_lines()
        .iter()
        .filter_map(|event| text_of(event, "assistant"))
        .collect::<Vec<_>>();
    assert_eq!(answers, ["to all"; 4]);

    let long = cli(
        &workspace,
        &["inject", swarm, "--nodes", "1", "--prompt", "[[hang]]", "--no-wait"],
    )
    .success();
    assert_eq!(long.stderr.matches("error").count(), 0, "{long:#?}");
    wait_until("the long turn", || match status(&workspace, swarm) {
        seen if seen["nodes"][1]["state"] == "busy" => Ok(()),
        seen => Err(seen.to_string()),
    });
    cli(&workspace, &["interrupt", swarm, "--nodes", "1"]).success();
    let seen = status_after_turns(&workspace, swarm, 2);
    assert_eq!(seen["nodes"][1]["state"], "idle", "{seen:#}");

    cli(&workspace, &["terminate", swarm]).success();
    assert_ended(&workspace, job);
    assert_attached(&workspace, attached, job);

    // What is over is told, and is no success.
    let over = cli(&workspace, &["inject", swarm, "--prompt", "too late"]);
    assert_eq!(over.code(), 1, "{over:#?}");
    assert_eq!(status(&workspace, swarm)["status"], "terminated");
    assert_eq!(cli(&workspace, &["status", "s-unknown"]).code(), 1);
    assert_eq!(
        cli(&workspace, &["terminate", swarm]).code(),
        0,
        "a second end is no failure"
    );
}

/// Two who watch from the beginning until the end: a program and a person.
fn attach(workspace: &SlurmWorkspace, swarm: &str) -> (JsonProcess, std::thread::JoinHandle<Output>) {
    let program = workspace.command(&["attach", swarm, "--json", "--since", "0"]);
    let program = JsonProcess::spawn("codeswarm attach", program);
    program.wait_for("the first prompt's end", |event| event["type"] == "usage");
    let person = workspace.command(&["attach", swarm, "--since", "0"]);
    (program, std::thread::spawn(move || run(person, b"")))
}

fn assert_attached(
    workspace: &SlurmWorkspace,
    (mut program, person): (JsonProcess, std::thread::JoinHandle<Output>),
    job: &str,
) {
    assert!(program.wait_exit().success());
    let events = program.lines();
    assert_flat_events(&events);
    for node in 0..NODES {
        assert_in_order(&events, job, node);
        assert_every_record_once(&events, &workspace.records(job, node), job, node);
    }
    for event in events.iter().filter(|event| event["injection_id"].is_string()) {
        for name in ["swarm_id", "job_id", "node_id", "seq"] {
            assert!(!event[name].is_null(), "without {name}: {event}");
        }
    }
    let person = person.join().unwrap().success();
    for words in [
        "You are a distributed agent.",
        "Optimize GEMM tiling.",
        "to all",
        "interrupted",
    ] {
        assert!(person.stdout.contains(words), "{words}: {person:#?}");
    }
    for node in 0..NODES {
        assert!(person.stdout.contains(&format!("node {node}]")), "{person:#?}");
    }
}

#[test]
fn a_launch_prints_its_id_when_the_job_is_submitted() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let output = cli(&workspace, &["launch", "--nodes", "2", "--json"]).success();
    let events = output.json_lines();
    assert_flat_events(&events);
    let launched = events.iter().find(|event| event["type"] == "swarm_launched").unwrap();
    let (swarm, job) = (
        launched["swarm_id"].as_str().unwrap(),
        launched["job_id"].as_str().unwrap(),
    );
    assert_eq!(workspace.jobs(), [job]);
    let output = cli(&workspace, &["inject", swarm, "--nodes", "0-1", "--prompt", "at once"]).success();
    assert_eq!(output.stdout.matches("at once").count(), 2, "{output:#?}");
    // Without waiting: only asked for.
    cli(&workspace, &["terminate", swarm, "--no-wait"]).success();
    wait_until("its end", || match status(&workspace, swarm) {
        seen if seen["status"] == "terminated" => Ok(()),
        seen => Err(seen.to_string()),
    });
}

#[test]
fn a_run_is_a_whole_life_and_its_exit_code_tells_how_its_turns_ended() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let good = cli(&workspace, &["run", "--nodes", "2", "--prompt", "hello"]).success();
    assert_eq!(good.stdout.matches("hello").count(), 2, "{good:#?}");
    let bad = cli(
        &workspace,
        &[
            "run",
            "--nodes",
            "1",
            "--prompt",
            "[[fail class=quota message=\"no more\"]]",
        ],
    );
    assert_eq!(bad.code(), 1, "{bad:#?}");
    assert!(
        bad.stdout.contains("no more") || bad.stderr.contains("no more"),
        "{bad:#?}"
    );
    wait_until("both jobs to end", || match &workspace.jobs()[..] {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn the_same_with_four_real_codexes() {
    let (Some(program), Some(cluster)) = (requires::codex(), requires::cluster()) else {
        return;
    };
    let model = ModelServer::start();
    let workspace = SlurmWorkspace::codex(&cluster, &program, &model);
    let swarm = launched(&workspace);
    let swarm = swarm.as_str();
    let seen = status_after_turns(&workspace, swarm, 1);
    let job = seen["job_id"].as_str().unwrap();
    for node in seen["nodes"].as_array().unwrap() {
        assert_eq!(
            (&node["agent"], &node["tokens"]),
            (&"codex".into(), &1050.into()),
            "{node}"
        );
    }

    let output = cli(
        &workspace,
        &[
            "inject",
            swarm,
            "--nodes",
            "2",
            "--prompt",
            "Optimize GEMM tiling.",
            "--json",
        ],
    );
    let events = output.success().json_lines();
    assert_flat_events(&events);
    let answers: Vec<_> = events.iter().filter_map(|event| text_of(event, "assistant")).collect();
    assert_eq!(answers, [answer_to("Optimize GEMM tiling.")]);
    let output = cli(&workspace, &["inject", swarm, "--prompt", "and all of you"]).success();
    assert_eq!(
        output.stdout.matches(&answer_to("and all of you")).count(),
        4,
        "{output:#?}"
    );

    cli(
        &workspace,
        &[
            "inject",
            swarm,
            "--nodes",
            "0",
            "--prompt",
            "[[stream n=2000 pace_ms=50]]",
            "--no-wait",
        ],
    )
    .success();
    wait_until("the long turn", || match status(&workspace, swarm) {
        seen if seen["nodes"][0]["last_event"] == "assistant_delta" => Ok(()),
        seen => Err(seen.to_string()),
    });
    cli(&workspace, &["interrupt", swarm, "--nodes", "0"]).success();
    status_after_turns(&workspace, swarm, 2);
    let ends = workspace.records(job, 0);
    let interrupted = ends.iter().filter(|record| record["status"] == "interrupted").count();
    assert_eq!(interrupted, 1, "{ends:#?}");

    // Each has its own thread, and remembers.
    let threads: BTreeSet<_> = model
        .requests()
        .iter()
        .map(|request| request.thread().to_owned())
        .collect();
    assert_eq!(threads.len(), NODES as usize);

    cli(&workspace, &["terminate", swarm]).success();
    assert_ended(&workspace, job);
}
