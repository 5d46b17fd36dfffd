//! The tools as clients list them: fixed, so that listing asks nobody.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde_json::Value;

use crate::parameters;

/// What a tool does to the world.
enum Does {
    /// It only looks.
    Looks,
    /// It adds work; again under the same key nothing.
    Acts,
    /// It ends work; again under the same key nothing.
    Ends,
}

/// All tools.
pub fn definitions() -> Vec<Tool> {
    vec![
        tool::<parameters::Launch>(
            "launch",
            "Launch a swarm of coding agents (Codex) on a Slurm cluster or on this machine: N nodes, each with one persistent agent \
             in its own working directory, that take prompts and answer in parallel. Use it to fan out coding, review, analysis, \
             test or data work over many nodes of an HPC cluster. Returns the swarm_id at once, while the Slurm job may still wait \
             in its queue; prompts can be sent right away. Ends only by terminate or the job's time limit.",
            Does::Acts,
        ),
        tool::<parameters::Prompt>(
            "prompt",
            "Send a prompt (task, question, instruction) to all nodes or some nodes of a swarm of coding agents. Returns at once when \
             the prompt is durable; each node works on it in turn and keeps its conversation. Then call wait with the same \
             idempotency_key as prompt, and output for whole answers.",
            Does::Acts,
        ),
        tool::<parameters::Wait>(
            "wait",
            "Wait for answers of a prompt to a swarm of coding agents, or for a swarm's state to change. Returns at the first news \
             (a node has finished, failed, or asks for approval), after 50 seconds at most, with a cursor for the next call. done \
             tells that all nodes have ended their turns. Waiting or not changes nothing: agents go on by themselves.",
            Does::Looks,
        ),
        tool::<parameters::Status>(
            "status",
            "Show the swarms of coding agents: all of them, or one node by node (Slurm job, queue state and reason, which nodes are up, \
             busy or lost, turns and tokens).",
            Does::Looks,
        ),
        tool::<parameters::Output>(
            "output",
            "Read the whole answer of one node to a prompt, page by page; with detail also the shell commands it ran, what they \
             printed, and the files it changed. Works while the node is still at it, and after its swarm has ended.",
            Does::Looks,
        ),
        tool::<parameters::Steer>(
            "steer",
            "Tell running agents of a swarm something while they work, without interrupting their turn: a correction, a hint, new \
             facts. A node that is idle takes it as a prompt.",
            Does::Acts,
        ),
        tool::<parameters::Interrupt>(
            "interrupt",
            "Interrupt (cancel, stop) the running turn of nodes of a swarm. The agents stay and take further prompts.",
            Does::Ends,
        ),
        tool::<parameters::Approve>(
            "approve",
            "Answer an agent of a swarm that asks whether it may run a command or change a file (wait tells of such questions).",
            Does::Acts,
        ),
        tool::<parameters::Terminate>(
            "terminate",
            "End a swarm: stop its coding agents and cancel its Slurm job. Its answers stay readable.",
            Does::Ends,
        ),
        tool::<parameters::Doctor>(
            "doctor",
            "Check the set-up: ssh to the cluster, Slurm, partitions, the shared workspace, the agent and its model. Call it when another \
             tool fails; it says what is wrong and what to do.",
            Does::Looks,
        ),
    ]
}

fn tool<T: JsonSchema>(name: &'static str, description: &'static str, does: Does) -> Tool {
    let looks = matches!(does, Does::Looks);
    let annotations = ToolAnnotations::new()
        .read_only(looks)
        .destructive(matches!(does, Does::Ends))
        .idempotent(true)
        .open_world(false);
    Tool::new(name, description, Arc::new(schema::<T>())).with_annotations(annotations)
}

/// A flat object, without what models and some clients stumble over: references and titles.
fn schema<T: JsonSchema>() -> JsonObject {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = match schema.to_value() {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    };
    object.remove("title");
    object
}

#[cfg(test)]
mod tests;
