//! What a configuration or a launch asks of Slurm, and what Slurm says to that.

use codeswarm_tests::cli::cli;
use codeswarm_tests::fakes::{Answer, words};
use codeswarm_tests::requires;
use codeswarm_tests::router::{RouterProcess, Swarm};
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use serde_json::{Value, json};

fn launch_with(router: &mut RouterProcess, params: Value) -> Swarm {
    let launched = router.asked(
        json!({"command": "swarm_launch", "nodes": 1, "provider_params": params}),
        "swarm_launched",
    );
    Swarm {
        swarm_id: launched["swarm_id"].as_str().unwrap().to_owned(),
        job_id: launched["job_id"].as_str().unwrap().to_owned(),
        nodes: 1,
    }
}

#[test]
fn what_slurm_refuses_is_told_with_the_setting_to_change() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let mut refused = |nodes: u32, params: Value| {
        let command = json!({"command": "swarm_launch", "nodes": nodes, "provider_params": params});
        let request = router.ask(command);
        let refusal = router.refusal(&request);
        assert_eq!(refusal["code"], "launch_failed", "{refusal}");
        refusal["reason"].as_str().unwrap().to_owned()
    };
    let cases = [
        (json!({"partition": "nowhere"}), "set cluster.slurm.partition to"),
        (json!({"constraint": "gpu"}), "correct cluster.slurm.constraint"),
        (json!({"gres": "gpu:1"}), "correct cluster.slurm.gres"),
        (json!({"agents_per_node": 9}), "compare agents_per_node"),
        (
            json!({"sbatch_args": ["--no-such-option"]}),
            "correct the option in cluster.slurm.sbatch_args",
        ),
        (json!({"sbatch_args": ["--mem=9T"]}), "sbatch_args"),
        (
            json!({"sbatch_args": ["--cpus-per-task=none"]}),
            "correct the option in cluster.slurm.sbatch_args",
        ),
        (
            json!({"sbatch_args": ["--hint=abc"]}),
            "correct the option in cluster.slurm.sbatch_args",
        ),
    ];
    for (params, advice) in cases {
        let reason = refused(1, params.clone());
        assert!(reason.contains(advice), "{params}: {reason}");
    }
    // What this cluster does not check, in the words of one that does.
    for (fake, setting) in [
        (words::INVALID_ACCOUNT, "set cluster.slurm.account to"),
        (words::TOO_MANY_JOBS, "the limits of the account or QOS"),
        ("sbatch: error: courses only, see our web page\n", "courses only"),
    ] {
        workspace.fakes.set("sbatch", Answer::fails(fake));
        let reason = refused(1, json!({"account": "somebody"}));
        assert!(reason.contains(setting), "{reason}");
    }
    assert_eq!(workspace.jobs().len(), 0);
    assert_eq!(
        workspace.fakes.calls("squeue").len(),
        0,
        "a refusal leaves nothing to search for"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_slurm_is_asked() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let mut router = RouterProcess::daemon(&workspace);
    let cases = [
        (
            json!({"sbatch_args": ["--ntasks=7"]}),
            "use the number of nodes and cluster.slurm.agents_per_node",
        ),
        (json!({"sbatch_args": ["-N3"]}), "use the number of nodes of the launch"),
        (
            json!({"sbatch_args": ["--partition=compute"]}),
            "cluster.slurm.partition",
        ),
        (json!({"sbatch_args": ["--wrap=reboot"]}), "use a template of your own"),
        (json!({"time_limit": "for ever"}), "is not a time limit"),
        (json!({"partition": ""}), "partition"),
        (json!({"partition": "compute\n#SBATCH --uid=0"}), "partition"),
        (json!({"agents_per_node": 0}), "agents_per_node"),
        (json!({"template": "/etc/passwd"}), "cannot be set by a launch"),
        (json!({"partitoin": "compute"}), "did you mean \"partition\"?"),
    ];
    for (params, words) in cases {
        let command = json!({"command": "swarm_launch", "nodes": 1, "provider_params": params});
        let request = router.ask(command);
        let refusal = router.refusal(&request);
        assert_eq!(refusal["field"], "provider_params", "{params}: {refusal}");
        let reason = refusal["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{params}: {reason}");
    }
    assert_eq!(workspace.fakes.calls("sbatch").len(), 0);
}

#[test]
fn settings_reach_slurm_from_the_configuration_and_from_a_launch() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster).configured(|config| {
        config["cluster"]["slurm"] = json!({
            "partition": "compute",
            "time_limit": "00:10:00",
            "constraint": "loopback",
            "sbatch_args": ["--nice=7", "--nodelist=node2"],
        });
    });
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = launch_with(&mut router, json!({}));
    let shown = cluster.shown(&swarm.job_id);
    for words in [
        "Partition=compute",
        "TimeLimit=00:10:00",
        "Features=loopback",
        "Nice=7",
        "ReqNodeList=node2",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    router.wait_for("node2", |event| {
        event["type"] == "node_ready" && event["host"] == "node2"
    });
    let swarm = launch_with(
        &mut router,
        json!({"time_limit": "20", "partition": null, "sbatch_args": ["--exclusive"]}),
    );
    let shown = cluster.shown(&swarm.job_id);
    for words in [
        "Partition=compute",
        "TimeLimit=00:20:00",
        "Features=loopback",
        "Nice=0",
        "OverSubscribe=NO",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // A person writes a number of minutes without quotes.
    let params = [
        "launch",
        "--param",
        "time_limit=30",
        "--param",
        "constraint=loopback",
        "--json",
    ];
    let output = cli(&workspace, &params).success();
    let launched = output
        .json_lines()
        .into_iter()
        .find(|event| event["type"] == "swarm_launched")
        .unwrap();
    let shown = cluster.shown(launched["job_id"].as_str().unwrap());
    assert!(shown.contains("TimeLimit=00:30:00"), "{shown}");
}

#[test]
fn two_agents_share_each_node_and_have_ranks_and_mailboxes_of_their_own() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace =
        SlurmWorkspace::echo(&cluster).configured(|config| config["cluster"]["slurm"]["agents_per_node"] = json!(2));
    let mut router = RouterProcess::daemon(&workspace);
    let launched = router.launch_ready(2);
    let swarm = Swarm { nodes: 4, ..launched };
    let injections = router.inject_all(&swarm, "who are you?");
    for injection in &injections {
        router.event_of(injection, "usage");
    }
    let status = json!({"command": "swarm_status", "swarm_id": swarm.swarm_id});
    let status = router.asked(status, "swarm_status");
    assert_eq!(status["node_count"], 4, "{status:#}");
    let nodes = status["nodes"].as_array().unwrap();
    let hosts: Vec<_> = nodes.iter().map(|node| node["host"].as_str().unwrap()).collect();
    assert_eq!(hosts[0], hosts[1], "block by block: {hosts:?}");
    assert_eq!(hosts[2], hosts[3], "block by block: {hosts:?}");
    assert_ne!(hosts[0], hosts[2], "{hosts:?}");
    assert!(nodes.iter().all(|node| node["turns"] == 1), "{status:#}");
    for node in 0..4 {
        assert!(workspace.node_dir(&swarm.job_id, node).is_dir());
    }
    router.terminate(&swarm);
    for node in 0..4 {
        assert_eq!(
            workspace.records(&swarm.job_id, node).last().unwrap()["type"],
            "worker_exit"
        );
    }
}

#[test]
fn a_template_of_ones_own_takes_the_place_of_the_built_in_one() {
    let Some(cluster) = requires::cluster() else { return };
    // The built-in one with a module of this site's loaded.
    let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../slurm/templates/batch.sh");
    let text = std::fs::read_to_string(built_in).unwrap();
    let changed = text.replace(
        "umask 077\n",
        "umask 077\necho \"loaded for {{swarm_id}}\" > {{root}}/module-loaded\n",
    );
    assert_ne!(text, changed);
    let workspace = SlurmWorkspace::echo(&cluster);
    std::fs::write(workspace.path().join("site.sh"), changed).unwrap();
    let workspace = workspace.configured(|config| config["cluster"]["slurm"]["template"] = json!("site.sh"));
    let mut router = RouterProcess::daemon(&workspace);
    let swarm = router.launch_ready(1);
    let mark = workspace.path().join("shared/codeswarm/module-loaded");
    assert_eq!(
        std::fs::read_to_string(mark).unwrap(),
        format!("loaded for {}\n", swarm.swarm_id)
    );
    assert_eq!(router.turn(&swarm, 0, "hello")["status"], "completed");
    router.terminate(&swarm);
    router.leave();

    // One that lacks what it needs is refused by name, and so is one that is not there.
    std::fs::write(workspace.path().join("site.sh"), "#!/bin/sh\n{{directives}}\n{{rot}}\n").unwrap();
    let mut router = RouterProcess::daemon(&workspace);
    let request = router.ask(json!({"command": "swarm_launch", "nodes": 1}));
    let reason = router.refusal(&request)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("rot"), "{reason}");
    router.leave();
    std::fs::remove_file(workspace.path().join("site.sh")).unwrap();
    let mut router = RouterProcess::daemon(&workspace);
    assert_eq!(router.wait_exit().code(), Some(78));
    assert!(
        router.stderr().contains("cluster.slurm.template"),
        "{}",
        router.stderr()
    );
}
