//! The link to the mailbox: while it is down nothing is asked of the follower, and when it is back everything that
//! an answer is owed for is asked again. A lost answer is never guessed: an append is settled by reading the inbox.

use codeswarm_protocol::frame::Downward;
use codeswarm_protocol::{Rejection, RejectionCode, SwarmId};

use super::answer::{Asker, reject};
use super::model::{Awaited, Outgoing};
use super::{Context, Core, Effect};
use codeswarm_protocol::inbox::Control;

/// How the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The follower answers.
    Up {
        /// The `codeswarm` program on the far side, as jobs name it; empty where no job needs one.
        binary: String,
    },
    /// It does not, or not yet.
    Down(LinkTrouble),
}

/// Why the link is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTrouble {
    /// What failed, where.
    pub what: String,
    /// What to do; absent where it passes by itself.
    pub advice: Option<String>,
    /// Whether a person must act before it can come up.
    pub lasting: bool,
}

impl Link {
    /// The follower is in this process: there is nothing that could break. `binary` is the program that jobs start.
    pub fn here(binary: String) -> Self {
        Self::Up { binary }
    }

    /// Nothing has come of it yet.
    pub fn not_yet() -> Self {
        Self::Down(LinkTrouble {
            what: "the login node is not connected yet".to_owned(),
            advice: None,
            lasting: false,
        })
    }
}

impl Core {
    /// Asks the follower for something, if there is one. What is not asked now is asked when the link is back.
    pub(super) fn ask_follower(&self, down: Downward, context: &mut Context<'_>) {
        if self.link_is_up() {
            context.effects.push(Effect::Follower(down));
        }
    }

    pub(super) fn link_is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// How the link is.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Why nothing can be asked of the cluster, if a person must do something about it first.
    pub(super) fn lasting_trouble(&self) -> Option<Rejection> {
        match &self.link {
            Link::Down(trouble) if trouble.lasting => Some(Rejection::new(RejectionCode::Link, sentence(trouble))),
            _ => None,
        }
    }

    /// There is a follower, which knows nothing yet.
    pub(super) fn link_up(&mut self, binary: String, context: &mut Context<'_>) {
        self.link = Link::Up { binary };
        let live = |swarm: &&super::Swarm| !swarm.status.is_over();
        let live: Vec<SwarmId> = self
            .swarms
            .values()
            .filter(live)
            .map(|swarm| swarm.swarm_id.clone())
            .collect();
        for swarm_id in &live {
            if self.preparing.contains(swarm_id) {
                self.prepare(swarm_id, context);
            } else {
                self.follow_again(swarm_id, context);
            }
        }
        self.jobs_after_link_up(context);
    }

    fn follow_again(&mut self, swarm_id: &SwarmId, context: &mut Context<'_>) {
        for place in self.places(swarm_id) {
            self.watch(&place, context);
            // A new follower begins to wait anew for what it cannot read.
            if let Some(ending) = self.nodes.get_mut(&place).and_then(|node| node.ending.as_mut()) {
                ending.unread_since = None;
            }
            self.look_for_the_end(&place, context);
            self.deliver_next(&place, context);
        }
    }

    /// Has a node's outbox followed from where it was read to, unless it is known to have ended for good.
    pub(super) fn watch(&self, place: &codeswarm_protocol::Place, context: &mut Context<'_>) {
        // A job that Slurm may run again can write an outbox again that had ended.
        let may_grow = |node: &&super::Node| !node.ended || self.may_run_again(&place.job_id);
        if let Some(node) = self.nodes.get(place).filter(may_grow) {
            let watch = Downward::Watch {
                place: place.clone(),
                offset: node.offset,
            };
            self.ask_follower(watch, context);
        }
    }

    /// The follower is gone: no answer comes any more for what it was asked.
    pub(super) fn link_down(&mut self, trouble: LinkTrouble, context: &mut Context<'_>) {
        self.link = Link::Down(trouble);
        self.appending_bytes = 0;
        self.held_back.clear();
        let awaited: Vec<Awaited> = std::mem::take(&mut self.tickets).into_values().collect();
        for awaited in awaited {
            match awaited {
                Awaited::Heartbeats(swarm_id, _) => self.answer_waiting_status(&swarm_id, context),
                Awaited::LaunchFile(swarm_id) => self.launch_file_lost(&swarm_id),
                Awaited::Append(..) | Awaited::Prepare(_) | Awaited::Rest(_) => {}
            }
        }
        self.nameless_interrupts_are_void(context);
        self.forbid_lasting(context);
    }

    /// An interrupt of whatever runs must not reach a turn that runs when the link is back, whether it was on its way or
    /// waited behind something else.
    fn nameless_interrupts_are_void(&mut self, context: &mut Context<'_>) {
        let nameless = |outgoing: &Outgoing| {
            matches!(
                outgoing,
                Outgoing::Control {
                    control: Control::Interrupt { injection_id: None },
                    ..
                }
            )
        };
        for node in self.nodes.values_mut() {
            let under_way = node.appending.take().is_some();
            let (void, kept) = std::mem::take(&mut node.line)
                .into_iter()
                .enumerate()
                .partition::<Vec<_>, _>(|(_, outgoing)| nameless(outgoing));
            node.line = kept.into_iter().map(|(_, outgoing)| outgoing).collect();
            for (place_in_line, outgoing) in void {
                let reason = if under_way && place_in_line == 0 {
                    "the link broke while the interrupt was on its way; it may have reached the node: look at the node's \
                     state, and interrupt again if need be"
                } else {
                    "the link broke before the interrupt was sent; it will not be"
                };
                if let Outgoing::Control { client, request_id, .. } = outgoing {
                    let rejection = Rejection::new(RejectionCode::NotDelivered, reason);
                    reject(&Asker { client, request_id }, rejection, context);
                }
            }
        }
    }

    /// What waits for the link is refused when a person must act before it can come up.
    fn forbid_lasting(&mut self, context: &mut Context<'_>) {
        if let Some(rejection) = self.lasting_trouble() {
            self.refuse_waiting_launches(&rejection, context);
            self.refuse_waiting_adoptions(&rejection, context);
        }
    }
}

/// What is known of a link that is down, in one sentence.
pub(super) fn sentence(trouble: &LinkTrouble) -> String {
    match &trouble.advice {
        Some(advice) => format!("{}; {advice}", trouble.what),
        None => trouble.what.clone(),
    }
}
