//! Answers to the client that asked.

use codeswarm_protocol::Rejection;
use codeswarm_protocol::RequestId;
use codeswarm_protocol::command::BadRequest;
use codeswarm_protocol::event::{RouterEvent, RouterWord};

use super::{ClientId, Context, Moment, Swarm, Whom};

/// Who asked, and under which name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asker {
    pub client: ClientId,
    pub request_id: Option<RequestId>,
}

impl Asker {
    /// Whoever asked an earlier life of the router: not connected now, and found again by its request.
    pub(super) fn nobody(request_id: Option<RequestId>) -> Self {
        Self {
            client: ClientId(0),
            request_id,
        }
    }
}

/// The refusal of a line that is no command.
pub fn refusal(bad: BadRequest, at: Moment) -> RouterEvent {
    let Rejection { code, field, reason } = bad.rejection;
    let mut event = RouterEvent::new(RouterWord::CommandRejected { code, field, reason }, at.wall);
    event.request_id = bad.request_id;
    event
}

pub(super) fn reject(asker: &Asker, rejection: Rejection, context: &mut Context<'_>) {
    let Rejection { code, field, reason } = rejection;
    answer(
        asker,
        context.event(RouterWord::CommandRejected { code, field, reason }),
        context,
    );
}

pub(super) fn answer(asker: &Asker, mut event: RouterEvent, context: &mut Context<'_>) {
    event.request_id.clone_from(&asker.request_id);
    context.tell(Whom::Client(asker.client), event);
}

pub(super) fn launched(swarm: &Swarm) -> RouterWord {
    RouterWord::SwarmLaunched {
        node_count: swarm.node_count,
        status: swarm.status,
        provider: swarm.provider.clone(),
        slurm_state: swarm.slurm_state(),
        slurm_reason: swarm.job.as_ref().and_then(|job| job.reason.clone()),
    }
}
