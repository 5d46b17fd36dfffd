//! `run` and `launch`.

use std::time::Duration;

use codeswarm_protocol::SwarmId;
use codeswarm_protocol::command::{Command, Subscribe, SwarmLaunch, SwarmStatus};
use codeswarm_protocol::event::{NodeState, NodeStatus, RouterWord, SwarmState};

use super::{if_interrupted, misunderstood};
use crate::args::LaunchArgs;
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::output::Output;
use crate::prompt;
use crate::render::words;
use crate::request::{RandomNames, Request};
use crate::session::{Answer, Session};
use crate::tables::swarm_state;
use codeswarm_client::configuration::SwarmSettings;

/// A launch may wait for `sbatch` and for binaries on their way.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(300);
/// A job may wait in its queue for days; `--wait` waits with it.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Launch, follow the first prompt, terminate.
pub async fn run(mut session: Session, args: LaunchArgs, prompt: String) -> Result<Exit, Failure> {
    let launch = session.request(launch_command(args, Some(prompt), session.swarm.clone())?);
    let options = session.options_to_repeat();
    session
        .follow(Follow::run(launch, Box::new(RandomNames), options))
        .await
}

/// Launch, and print the id.
pub async fn launch(
    mut session: Session,
    args: LaunchArgs,
    prompt: Option<String>,
    wait: bool,
) -> Result<Exit, Failure> {
    let with_prompt = prompt.is_some();
    let launch = session.request(launch_command(args, prompt, session.swarm.clone())?);
    let swarm_id = submit(&mut session, launch).await?;
    if !session.json() {
        Output.line(swarm_id.as_str().as_bytes())?;
    }
    if wait {
        until_up(&mut session, &swarm_id).await?;
    }
    let options = session.options_to_repeat();
    session.screen.note(&if with_prompt {
        format!("see the answers: codeswarm attach {swarm_id}{options} --since 0")
    } else {
        format!("send a prompt: codeswarm inject {swarm_id}{options} --prompt TEXT")
    });
    Ok(Exit::Done)
}

/// Waits until the swarm exists.
async fn submit(session: &mut Session, launch: Request) -> Result<SwarmId, Failure> {
    let id = launch.id.clone();
    let is_launched = |event: &Event| match event.head.kind.as_str() {
        "swarm_launched" if event.head.answers(&id) => Answer::Last,
        _ => Answer::None,
    };
    let options = session.options_to_repeat();
    let answers = session
        .ask(&[launch], "launching the swarm", LAUNCH_PATIENCE, is_launched)
        .await;
    let answers = answers.map_err(|failure| {
        if_interrupted(failure, || {
            format!("the swarm may be launched all the same: codeswarm list{options} shows it")
        })
    })?;
    let launched = answers.last().ok_or_else(|| misunderstood("swarm_launched"))?;
    let (
        Some(swarm_id),
        Said::Router(RouterWord::SwarmLaunched {
            node_count, provider, ..
        }),
    ) = (launched.head.swarm_id.clone(), launched.said())
    else {
        return Err(misunderstood("swarm_launched"));
    };
    let job = launched.head.job_id.as_ref();
    session
        .screen
        .note(&words::launched(&swarm_id, node_count, &provider, job));
    Ok(swarm_id)
}

/// Waits until all nodes are up.
async fn until_up(session: &mut Session, swarm_id: &SwarmId) -> Result<(), Failure> {
    let subscribe = Subscribe {
        swarm_id: Some(swarm_id.clone()),
        since: None,
    };
    let subscribe = session.request(Command::Subscribe(subscribe));
    let status = session.request(Command::SwarmStatus(SwarmStatus {
        swarm_id: swarm_id.clone(),
    }));
    let mut state = SwarmState::Pending;
    let mut over: Vec<String> = Vec::new();
    let is_up = |event: &Event| {
        if event.head.swarm_id.as_ref() != Some(swarm_id) {
            return Answer::None;
        }
        match event.said() {
            Said::Router(RouterWord::SwarmStatus { status, nodes, .. }) => {
                state = status;
                over = nodes.iter().filter_map(has_ended).collect();
            }
            Said::Router(RouterWord::SwarmTerminated { status, .. }) => state = status,
            Said::Router(RouterWord::NodeReady { .. }) => return Answer::Part,
            _ => return Answer::None,
        }
        if state == SwarmState::Pending {
            Answer::Part
        } else {
            Answer::Last
        }
    };
    let options = session.options_to_repeat();
    let asked = session
        .ask(
            &[subscribe, status],
            "waiting for the nodes to come up",
            QUEUE_PATIENCE,
            is_up,
        )
        .await;
    asked.map_err(|failure| if_interrupted(failure, || format!("swarm {swarm_id} goes on without you")))?;
    let what = match (state, over.first()) {
        (SwarmState::Running, None) => return Ok(()),
        (SwarmState::Running, Some(_)) => format!("swarm {swarm_id} runs, but not all of it: {}", over.join("; ")),
        _ => format!(
            "swarm {swarm_id} is {} before all its nodes were up",
            swarm_state(state)
        ),
    };
    Err(Failure::new(
        Exit::Failed,
        what,
        format!("codeswarm status {swarm_id}{options} tells what is known"),
    ))
}

/// Says of a node that it has ended, if it has.
fn has_ended(node: &NodeStatus) -> Option<String> {
    let has_ended = matches!(node.state, NodeState::Exited | NodeState::Lost);
    let why = node.error.as_deref().unwrap_or("its worker did not say why");
    has_ended.then(|| format!("node {} has ended: {why}", node.node_id))
}

fn launch_command(args: LaunchArgs, prompt: Option<String>, settings: SwarmSettings) -> Result<Command, Failure> {
    let agents_md_content = args.agents_md.as_deref().map(prompt::file).transpose()?;
    // A --param of the same name is the more particular wish.
    let params: serde_json::Map<_, _> = args.slurm.params().chain(args.params).collect();
    let SwarmSettings { mut agent, worker } = settings;
    if let Some(kind) = args.agent {
        agent.kind = kind.into();
    }
    Ok(Command::SwarmLaunch(SwarmLaunch {
        nodes: args.nodes,
        system_prompt: prompt,
        agents_md_content,
        agent: Some(Box::new(agent)),
        worker: Some(worker),
        provider: args.provider,
        provider_params: (!params.is_empty()).then_some(params),
        immediate: args.immediate,
    }))
}
