//! `adopt`.

use std::time::Duration;

use codeswarm_protocol::JobId;
use codeswarm_protocol::command::{Command, SwarmAdopt};
use codeswarm_protocol::event::RouterWord;

use super::misunderstood;
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Answer, Session};

/// The router asks Slurm about the job, and may have to reach the login node first.
const ADOPT_PATIENCE: Duration = Duration::from_secs(90);

/// Takes a job for a swarm, and prints the swarm's id.
pub async fn adopt(mut session: Session, job_id: JobId) -> Result<Exit, Failure> {
    let request = session.request(Command::SwarmAdopt(SwarmAdopt { job_id: job_id.clone() }));
    let id = request.id.clone();
    let is_adopted = |event: &Event| match event.head.kind.as_str() {
        "swarm_adopted" if event.head.answers(&id) => Answer::Last,
        _ => Answer::None,
    };
    let answers = session
        .ask(&[request], "looking the job up", ADOPT_PATIENCE, is_adopted)
        .await?;
    let adopted = answers.last().ok_or_else(|| misunderstood("swarm_adopted"))?;
    let (Some(swarm_id), Said::Router(RouterWord::SwarmAdopted { node_count, .. })) =
        (adopted.head.swarm_id.clone(), adopted.said())
    else {
        return Err(misunderstood("swarm_adopted"));
    };
    if !session.json() {
        Output.line(swarm_id.as_str().as_bytes())?;
    }
    let options = session.options_to_repeat();
    let nodes = if node_count == 1 { "1 node" } else { "nodes" };
    let count = if node_count == 1 {
        String::new()
    } else {
        format!("{node_count} ")
    };
    session.screen.note(&format!(
        "job {job_id} is swarm {swarm_id} from now on: {count}{nodes}; see what it has said: codeswarm attach \
         {swarm_id}{options} --since 0"
    ));
    Ok(Exit::Done)
}
