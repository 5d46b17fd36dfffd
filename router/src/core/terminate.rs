//! The end of nodes and of swarms, asked for or not.

use std::time::Duration;

use codeswarm_protocol::event::{NodeState, RouterWord, SwarmState};
use codeswarm_protocol::frame::{Downward, ReadFrom, Ticket};
use codeswarm_protocol::{JobId, Place, Rejection, RejectionCode, SwarmId};

use super::answer::Asker;
use super::model::{Awaited, Ending};
use super::{Change, Context, Core, Effect, Node, ProviderCommand, ProviderEvent, Timer, Unread};

/// How soon it is looked again whether an outbox is read to its end.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long the rest of an outbox may be unreadable: longer than a shared filesystem remembers a name or a stale handle.
const UNREADABLE_FOR: Duration = Duration::from_secs(90);

/// How long its bytes may be late: longer than a follower waits for them before it passes over them and reads what stands
/// behind. If nothing does, it waits for ever, and this alone ends it.
const LATE_FOR: Duration = codeswarm_mailbox::tail::LATE_PAGE_PATIENCE.saturating_add(Duration::from_secs(60));

/// How long the last record of an archived outbox may be behind the rename. A worker writes it before; some shared
/// filesystems show the name before the bytes. Twice as long as a client believes a name by default (nfs(5), `acdirmax`).
const LAST_RECORD_WITHIN: Duration = Duration::from_secs(120);

impl Core {
    pub(super) fn terminate(
        &mut self,
        asker: &Asker,
        swarm_id: &SwarmId,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let Some(swarm) = self.swarms.get_mut(swarm_id) else {
            return Err(Rejection::field(
                RejectionCode::UnknownSwarm,
                "swarm_id",
                format!("no swarm {swarm_id} is known here; swarm_list tells which are"),
            ));
        };
        let (first, job_id) = (swarm.status.takes_prompts(), swarm.job_id.clone());
        if first {
            swarm.status = SwarmState::Terminating;
            let (swarm, job_id) = (swarm.clone(), job_id.clone());
            let of_slurm = swarm.job.is_some();
            context.save(Change::of_swarm(swarm));
            if of_slurm {
                self.end_job(&job_id, context);
            } else {
                let command = ProviderCommand::Terminate { job_id };
                context.effects.push(Effect::Provider(command));
            }
        }
        // A second one while it runs, or afterwards, is answered in the same way.
        context.effects.push(Effect::FollowSwarm {
            client: asker.client,
            swarm_id: swarm_id.clone(),
            request_id: asker.request_id.clone(),
        });
        if let Some(mut event) = self.swarm_event(swarm_id, context.at) {
            event.request_id.clone_from(&asker.request_id);
            super::answer::answer(asker, event, context);
        }
        if first {
            self.settle(&job_id, context);
        }
        Ok(())
    }

    pub(super) fn provider(&mut self, event: ProviderEvent, context: &mut Context<'_>) {
        match event {
            ProviderEvent::Answered { errand, outcome } => self.answered_call(errand, outcome, context),
            ProviderEvent::LaunchFailed { swarm_id, error } => self.swarm_failed(&swarm_id, &error, context),
            ProviderEvent::WorkerEnded { place } => {
                self.worker_gone(place, NodeState::Exited, "the worker has ended".to_owned(), context);
            }
            ProviderEvent::WorkerRestarting { place, reason } => {
                if let Some(node) = self.nodes.get_mut(&place).filter(|node| !node.is_over()) {
                    node.state = NodeState::Starting;
                    node.error = Some(reason);
                    self.save_node(&place, context);
                }
            }
            ProviderEvent::WorkerLost { place, reason } => self.worker_gone(place, NodeState::Lost, reason, context),
        }
    }

    /// The worker writes nothing more. What it has written may still be on its way, and may hold the ends of injections: only
    /// when all of that is read is the node over.
    pub(super) fn worker_gone(&mut self, place: Place, state: NodeState, reason: String, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(&place).filter(|node| !node.is_over()) else {
            return;
        };
        node.ending = Some(Ending {
            state,
            reason,
            unread_since: None,
        });
        self.look_for_the_end(&place, context);
        self.ask_follower(Downward::Hint { place }, context);
    }

    /// Asks whether anything stands in the outbox behind what was read.
    pub(super) fn look_for_the_end(&mut self, place: &Place, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get(place).filter(|node| node.ending.is_some()) else {
            return;
        };
        if !self.link_is_up() {
            return;
        }
        let from = ReadFrom::Offset(node.offset);
        let read = Downward::Read {
            ticket: self.ticket(Awaited::Rest(place.clone())),
            place: place.clone(),
            from,
            until: u64::MAX,
            max_bytes: 64 * 1024,
        };
        self.ask_follower(read, context);
    }

    pub(super) fn outbox_read(
        &mut self,
        ticket: Ticket,
        next: u64,
        done: bool,
        unread: Option<Unread>,
        context: &mut Context<'_>,
    ) {
        let Some(Awaited::Rest(place)) = self.tickets.remove(&ticket) else {
            return;
        };
        let Some(Node {
            ending: Some(ending),
            offset,
            last_record_until,
            exit_said,
            ..
        }) = self.nodes.get_mut(&place)
        else {
            return;
        };
        let over = match unread {
            None => {
                ending.unread_since = None;
                done && *offset >= next && last_record_until.is_none()
            }
            Some(unread) => {
                let patience = match unread {
                    Unread::Failed => UNREADABLE_FOR,
                    Unread::Late => LATE_FOR,
                };
                let since = *ending.unread_since.get_or_insert(context.at.now);
                context.at.now >= since + patience.max(self.settings.inject_timeout)
            }
        };
        if over {
            // A worker that has said its last word has ended of itself, whoever was heard first.
            let state = if *exit_said { NodeState::Exited } else { ending.state };
            let reason = ending.reason.clone();
            self.node_over(&place, state, &reason, context);
        } else {
            self.timers.insert((context.at.now + LOOK_AGAIN, Timer::Rest(place)));
        }
    }

    pub(super) fn outbox_ended(&mut self, place: &Place, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(place).filter(|node| !node.ended) else {
            // Told again to a new follower. Its job may be run again, and has prompts that wait for that.
            return;
        };
        if !node.exit_said {
            // The ends of its injections may be still to come as well.
            let until = context.at.now + LAST_RECORD_WITHIN;
            let until = *node.last_record_until.get_or_insert(until);
            if context.at.now < until {
                self.timers.insert((until, Timer::LastRecord(place.clone())));
                return;
            }
        }
        node.ended = true;
        node.last_record_until = None;
        let reason = "the worker has ended and its outbox is in the archive";
        self.node_over(place, NodeState::Exited, reason, context);
    }

    /// The last record of an archived outbox was read, or has been waited for.
    pub(super) fn last_record(&mut self, place: &Place, context: &mut Context<'_>) {
        if self
            .nodes
            .get(place)
            .is_some_and(|node| node.last_record_until.is_some())
        {
            self.outbox_ended(place, context);
        }
    }

    pub(super) fn outbox_reopened(&mut self, place: &Place, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        node.last_record_until = None;
        if !node.ended && !node.is_over() {
            // The next life was heard before: a client may believe the name in the archive for a while, and read on there.
            return;
        }
        (node.ended, node.exit_said, node.ending) = (false, false, None);
        node.state = NodeState::Starting;
        self.save_node(place, context);
        self.deliver_next(place, context);
    }

    /// No worker will read this node's inbox again.
    pub(super) fn node_over(&mut self, place: &Place, state: NodeState, reason: &str, context: &mut Context<'_>) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        let was_over = node.is_over();
        (node.state, node.ending) = (state, None);
        if state == NodeState::Lost {
            node.error = Some(reason.to_owned());
            self.say_of_node(
                place,
                None,
                RouterWord::NodeLost {
                    reason: reason.to_owned(),
                },
                context,
            );
        }
        let error = if state == NodeState::Lost {
            "node_lost"
        } else {
            "worker_exit"
        };
        if self.may_go_on(place) {
            // Only Slurm knows. Its answer, or the end of the job, ends what waits if this was the end.
            self.show_job(&place.job_id, context);
        } else {
            self.end_all_of(place, error, reason, context);
        }
        self.save_node(place, context);
        if !was_over {
            self.perhaps_running(place, context);
            self.settle(&place.job_id, context);
        }
    }

    /// Whether a node that is over may have another life, in which a worker reads on in its inbox: Slurm had its worker end,
    /// and may run the job again.
    pub(super) fn may_go_on(&self, place: &Place) -> bool {
        let was_stopped = |node: &Node| node.state == NodeState::Exited && node.told_to_end;
        self.nodes.get(place).is_some_and(was_stopped)
            && self.live_swarm_of(&place.job_id).is_some()
            && self.may_run_again(&place.job_id)
    }

    /// Whether its whole job is about to end or to be run again, which Slurm says in a moment; until then prompts wait.
    pub(super) fn waits_for_another_life(&self, place: &Place) -> bool {
        self.may_go_on(place) && self.all_over(&place.job_id)
    }

    /// Ends a swarm whose nodes are all over.
    pub(super) fn settle(&mut self, job_id: &JobId, context: &mut Context<'_>) {
        if !self.all_over(job_id) {
            return;
        }
        let nodes = || self.nodes_of(job_id).map(|(_, node)| node);
        let lost = nodes().filter(|node| node.state == NodeState::Lost).count();
        let trouble = nodes().find_map(|node| node.error.clone());
        let said = nodes().filter(|node| node.state == NodeState::Exited);
        let said = said.filter_map(|node| node.error.clone()).next();
        if !self.job_lets_go(job_id, context) {
            return;
        }
        let live = |swarm: &&mut super::Swarm| !swarm.status.is_over();
        let Some(swarm) = self.swarm_of_job_mut(job_id).filter(live) else {
            return;
        };
        if swarm.status == SwarmState::Terminating {
            swarm.status = SwarmState::Terminated;
        } else {
            swarm.status = SwarmState::Failed;
            let trouble = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            let what = match lost {
                0 => "its workers have ended".to_owned(),
                lost => format!(
                    "{lost} of its {} workers were lost, the others have ended",
                    swarm.node_count
                ),
            };
            let over = swarm.job.as_ref().and_then(|job| job.over_with(said.as_deref()));
            swarm.reason = Some(over.unwrap_or_else(|| format!("{what}{trouble}")));
        }
        self.tell_job(job_id, context);
    }

    /// The swarm could not be started at all.
    pub(super) fn swarm_failed(&mut self, swarm_id: &SwarmId, reason: &str, context: &mut Context<'_>) {
        for place in self.places(swarm_id) {
            if let Some(node) = self.nodes.get_mut(&place) {
                (node.state, node.ending) = (NodeState::Lost, None);
                node.error = Some(reason.to_owned());
            }
            self.end_all_of(&place, "launch_failed", reason, context);
            self.save_node(&place, context);
        }
        let Some(swarm) = self.swarms.get_mut(swarm_id) else {
            return;
        };
        swarm.status = if swarm.status == SwarmState::Terminating {
            SwarmState::Terminated
        } else {
            SwarmState::Failed
        };
        swarm.reason = Some(reason.to_owned());
        context.save(Change::of_swarm(swarm.clone()));
        self.tell_swarm(swarm_id, context);
    }

    pub(super) fn save_node(&self, place: &Place, context: &mut Context<'_>) {
        if let Some(node) = self.nodes.get(place) {
            context.save(Change::Node(place.clone(), Box::new(node.clone())));
        }
    }
}
