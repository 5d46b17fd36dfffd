//! What the real Codex does on its node: commands are executed, files changed, in the node's working directory, and the
//! model hears of it.

use codeswarm_tests::codex_swarm::CodexSwarm;
use codeswarm_tests::model_server::answer_to;
use codeswarm_tests::requires;
use codeswarm_tests::schema::assert_flat_events;
use serde_json::json;

#[test]
fn a_command_changes_the_nodes_working_directory() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 2);
    let turn = codex
        .turn("[[exec pwd; echo hi > made-here.txt]] then talk")
        .completed();
    assert_flat_events(&turn.events);
    let work = codex.work();
    assert!(work.ends_with(format!("runs/{}/node_00", codex.swarm.job_id)));
    assert_eq!(std::fs::read_to_string(work.join("made-here.txt")).unwrap(), "hi\n");
    let other = codex.workspace.node_dir(&codex.swarm.job_id, 1);
    assert_eq!(std::fs::read_dir(other).unwrap().count(), 0);

    let (started, completed) = (turn.one("command_started"), turn.one("command_completed"));
    assert_eq!(started["call_id"], completed["call_id"]);
    assert!(
        started["command"].as_str().unwrap().contains("made-here.txt"),
        "{started}"
    );
    assert_eq!(started["cwd"], work.to_str().unwrap());
    let ended = [&completed["status"], &completed["exit_code"], &completed["output"]];
    let printed = format!("{}\n", work.display());
    assert_eq!(ended, [&json!("completed"), &json!(0), &json!(printed)]);
    assert!(completed["duration_ms"].is_u64(), "{completed}");

    // The model has read the output, and both of its responses are counted.
    let request = codex.model.requests().pop().unwrap();
    let outputs = request.tool_outputs();
    assert!(outputs.len() == 1 && outputs[0].text.contains(&printed), "{outputs:?}");
    assert_eq!(turn.answer(), answer_to("then talk"));
    assert_eq!(turn.one("usage")["total_tokens"], 2 * 1050);
}

#[test]
fn a_failing_command_is_told_and_does_not_fail_the_turn() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let turn = codex
        .turn("[[exec echo out; echo err >&2; exit 3]] [[exec no-such-program-anywhere]] over")
        .completed();
    let ended = turn.of("command_completed");
    let codes: Vec<_> = ended
        .iter()
        .map(|event| (&event["status"], &event["exit_code"]))
        .collect();
    assert_eq!(
        codes,
        [(&json!("failed"), &json!(3)), (&json!("failed"), &json!(127))],
        "{ended:#?}"
    );
    let output = ended[0]["output"].as_str().unwrap();
    assert!(output.contains("out\n") && output.contains("err\n"), "{output}");
    let last = codex.model.requests().pop().unwrap();
    let outputs = last.tool_outputs();
    assert!(outputs[0].text.contains("exited with code 3"), "{outputs:?}");
    assert_eq!(turn.one("usage")["total_tokens"], 3 * 1050);
}

#[test]
fn a_commands_output_comes_while_it_runs_and_long_output_says_that_it_was_cut() {
    let Some(program) = requires::codex() else { return };
    let mut codex = CodexSwarm::launch(&program, 1);
    let waits = "until [ -e go ]; do echo waiting; sleep 0.05; done; echo gone";
    let injection = codex.inject(&format!("[[exec {waits}]] done"));
    // The command goes on only once the client has heard its output.
    codex.router.event_of(&injection, "command_output_delta");
    std::fs::write(codex.work().join("go"), "").unwrap();
    let turn = codex.end_of(&injection).completed();
    let output = turn.one("command_completed")["output"].as_str().unwrap();
    assert!(
        output.starts_with("waiting\n") && output.ends_with("gone\n"),
        "{output}"
    );

    let turn = codex.turn("[[exec seq 1 200000]] done").completed();
    let completed = turn.one("command_completed");
    let output = completed["output"].as_str().unwrap();
    assert_eq!(completed["output_truncated"], true, "{} bytes", output.len());
    assert!(
        output.starts_with("1\n2\n") && output.ends_with("199999\n200000\n"),
        "{} bytes",
        output.len()
    );
}

/// Codex gives a model that it knows a tool for patches; for others a patch is a command that it recognises.
#[test]
fn a_patch_is_a_file_change_and_a_file_on_disk() {
    let Some(program) = requires::codex() else { return };
    for model in ["mock-model", "gpt-5.5"] {
        let mut codex = CodexSwarm::configured(&program, 1, |config| config["agent"]["model"] = json!(model));
        let turn = codex
            .turn("[[patch *** Add File: note.txt\n+hello\n+world]] [[patch *** Update File: note.txt\n@@\n-hello\n+good morning]] patched")
            .completed();
        let file = codex.work().join("note.txt");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "good morning\nworld\n",
            "{model}"
        );
        let changes = turn.of("file_change");
        let told: Vec<_> = changes
            .iter()
            .map(|change| (&change["status"], &change["changes"][0]["operation"]))
            .collect();
        assert_eq!(
            told,
            [
                (&json!("completed"), &json!("add")),
                (&json!("completed"), &json!("update"))
            ],
            "{changes:#?}"
        );
        for change in &changes {
            let path = change["changes"][0]["path"].as_str().unwrap();
            assert!(file.ends_with(path) || file.to_str() == Some(path), "{model}: {path}");
            assert!(
                change["changes"][0]["diff"].as_str().unwrap().contains("hello"),
                "{change}"
            );
        }
        assert_eq!(turn.answer(), answer_to("patched"));

        let turn = codex.turn("[[patch *** Delete File: note.txt]] gone").completed();
        assert_eq!(turn.one("file_change")["changes"][0]["operation"], "delete");
        assert!(!file.exists());
    }
}
