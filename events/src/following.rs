//! What is asked of a router, and which of its events are told to whom we serve. Pure: events in, requests and lines out.
//!
//! On each connection: which swarms there are; a subscription from where we stand, and all that lies behind it; then how each swarm is
//! now, since that has no place in a stream. For that a swarm is subscribed to by its name, which brings its state when its past has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use codeswarm_client::event::{Event, Said};
use codeswarm_client::failure::Failure;
use codeswarm_client::rejection::refusal;
use codeswarm_client::request::{Names, Request};
use codeswarm_protocol::command::{Command, Since, Subscribe, SwarmList};
use codeswarm_protocol::event::{RouterWord, SwarmSummary};
use codeswarm_protocol::{JobId, Place, Position, RequestId, SwarmId, Timestamp};
use serde::Deserialize;

use crate::cursor::{Cursor, Mark, News, Reach, State, Taken};
use crate::kinds::Kinds;
use crate::line::Wording;
use crate::start::LeftOut;
use crate::states;

/// What is wanted.
pub struct Wanted {
    /// Which kinds of events.
    pub kinds: Kinds,
    /// Also what is still to come.
    pub follow: bool,
    /// How events are worded.
    pub wording: Box<dyn Wording + Send>,
}

/// A line to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which event it tells.
    pub mark: Mark,
    /// The line, with its newline.
    pub text: Vec<u8>,
}

/// What follows from an event.
#[derive(Debug, Default)]
pub struct Reaction {
    /// To be sent.
    pub send: Vec<Request>,
    /// To be told.
    pub tell: Option<Line>,
    /// What the consumer was told, or not, must be kept soon: a place that cannot be found again depends on it.
    pub keep: bool,
    /// All that was asked for has come.
    pub done: bool,
    /// It cannot go on.
    pub failed: Option<Failure>,
}

/// How far a connection has come.
#[derive(Debug)]
enum Stage {
    /// None is open.
    Away,
    /// Which swarms are there?
    Listing(RequestId),
    /// What has happened since?
    Past(RequestId),
    /// Which swarms are there now?
    ListingAgain(RequestId),
    /// How is each of them?
    States,
    /// What happens is told as it happens.
    Live,
}

/// A swarm that is asked how it is.
#[derive(Debug)]
struct Asking {
    request: RequestId,
    swarm: SwarmId,
    /// Its past has come; its state comes next.
    caught_up: bool,
}

/// One consumer's conversation with routers.
pub struct Following {
    names: Box<dyn Names + Send>,
    wanted: Wanted,
    /// Empty: all.
    swarms: Vec<SwarmId>,
    left_out: Option<LeftOut>,
    taken: Taken,
    stage: Stage,
    /// What the router knows.
    known: BTreeMap<SwarmId, SwarmSummary>,
    asking: Option<Asking>,
    left_to_ask: VecDeque<SwarmId>,
    /// Swarms that were over when all that they had said had come.
    at_their_end: BTreeSet<SwarmId>,
    /// Where nodes stand that have said nothing since it began.
    passed: Reach,
    /// The router was told to end.
    router_left: bool,
}

#[derive(Deserialize)]
struct Moment {
    timestamp: Timestamp,
}

impl Following {
    /// Goes on from where the cursor is.
    pub fn new(cursor: &Cursor, wanted: Wanted, names: Box<dyn Names + Send>) -> Self {
        Self {
            names,
            wanted,
            swarms: cursor.swarms.clone(),
            left_out: cursor.left_out,
            taken: Taken::from_cursor(cursor),
            stage: Stage::Away,
            known: BTreeMap::new(),
            asking: None,
            left_to_ask: VecDeque::new(),
            at_their_end: BTreeSet::new(),
            passed: Reach::default(),
            router_left: false,
        }
    }

    /// Everything that was taken in.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// What is left out because of where it began.
    pub fn left_out(&self) -> Option<LeftOut> {
        self.left_out
    }

    /// Whether the router that is gone was told to end.
    pub fn router_left(&self) -> bool {
        self.router_left
    }

    /// A connection is open.
    pub fn connected(&mut self) -> Vec<Request> {
        self.router_left = false;
        self.asking = None;
        self.left_to_ask.clear();
        let request = Request::new(self.names.as_mut(), Command::SwarmList(SwarmList {}));
        self.stage = Stage::Listing(request.id.clone());
        vec![request]
    }

    /// An event has come.
    pub fn heard(&mut self, event: &Event) -> Reaction {
        let mut reaction = Reaction::default();
        let answers = |request: &RequestId| event.head.answers(request);
        match (&self.stage, event.head.kind.as_str()) {
            (_, "command_rejected") if self.is_answer(event) => {
                reaction.failed = refusal(event).map(|(_, failure)| failure);
            }
            (Stage::Listing(request), "swarm_list") if answers(request) => self.listed(event, &mut reaction),
            (Stage::ListingAgain(request), "swarm_list") if answers(request) => self.listed_again(event, &mut reaction),
            (_, "subscribed") if self.is_answer(event) => self.subscribed(event, &mut reaction),
            (_, "caught_up") if self.is_answer(event) => self.caught_up(event, &mut reaction),
            (_, "shutting_down") => self.router_left = true,
            (
                _,
                "subscribed" | "caught_up" | "swarm_list" | "command_rejected" | "recalled" | "pong" | "providers_list",
            ) => {}
            _ => self.news(event, &mut reaction),
        }
        reaction
    }

    fn is_answer(&self, event: &Event) -> bool {
        let staged = match &self.stage {
            Stage::Listing(request) | Stage::Past(request) | Stage::ListingAgain(request) => Some(request),
            Stage::Away | Stage::States | Stage::Live => None,
        };
        let asked = self.asking.as_ref().map(|asking| &asking.request);
        staged
            .into_iter()
            .chain(asked)
            .any(|request| event.head.answers(request))
    }

    fn listed(&mut self, event: &Event, reaction: &mut Reaction) {
        self.learn(event);
        if self.left_out == Some(LeftOut::BeforeNow) && self.taken.reach.is_empty() {
            // How they were before: whatever differs from it is news.
            for (swarm, summary) in &self.known {
                if self.swarms.is_empty() || self.swarms.contains(swarm) {
                    let mark = Mark::Swarm(swarm.clone(), State::word(states::word(summary.status)));
                    self.taken.take(&mark);
                }
            }
        }
        if self.swarms.is_empty() {
            let since = self.since_of_all();
            let request = self.subscription(None, since);
            self.stage = Stage::Past(request.id.clone());
            reaction.send.push(request);
        } else {
            self.stage = Stage::States;
            self.left_to_ask = self.swarms.iter().cloned().collect();
            self.ask_next(reaction);
        }
    }

    fn listed_again(&mut self, event: &Event, reaction: &mut Reaction) {
        self.learn(event);
        let taken = &self.taken.reach.swarms;
        // Of a swarm that is over only its end can be news, and what was taken last before it.
        let differs = |(swarm, summary): &(&SwarmId, &SwarmSummary)| {
            let told = taken.get(*swarm);
            !summary.status.is_over()
                || told.is_none_or(|told| told.is != states::word(summary.status))
                || self.taken.doubts(swarm)
        };
        self.left_to_ask = self
            .known
            .iter()
            .filter(differs)
            .map(|(swarm, _)| swarm.clone())
            .collect();
        self.stage = Stage::States;
        self.ask_next(reaction);
    }

    fn learn(&mut self, event: &Event) {
        if let Said::Router(RouterWord::SwarmList { swarms }) = event.said() {
            self.known = swarms;
        }
    }

    fn subscription(&mut self, swarm_id: Option<SwarmId>, since: Option<Since>) -> Request {
        Request::new(self.names.as_mut(), Command::Subscribe(Subscribe { swarm_id, since }))
    }

    /// Where we stand in the streams of all nodes that the router knows; all others are at their beginning.
    fn since_of_all(&self) -> Option<Since> {
        let known: BTreeMap<&JobId, u32> = self
            .known
            .values()
            .map(|summary| (&summary.job_id, summary.node_count))
            .collect();
        let stand = self.taken.reach.nodes.iter();
        let of_known = stand.filter(|(place, _)| {
            known
                .get(&place.job_id)
                .is_some_and(|count| place.node_id.rank() < *count)
        });
        let mut since: BTreeMap<String, Position> = of_known.map(|(place, at)| (place.stem(), *at)).collect();
        if since.is_empty() && self.left_out == Some(LeftOut::BeforeNow) {
            return None;
        }
        since.insert(Since::ALL_OTHERS.to_owned(), Position::START);
        Some(Since::ByNode(since))
    }

    /// The same for one swarm.
    fn since_of(&self, swarm: &SwarmId) -> Option<Since> {
        let job = self.known.get(swarm).map(|summary| &summary.job_id);
        let stand = self.taken.reach.nodes.iter();
        let of_swarm = stand.filter(|(place, _)| Some(&place.job_id) == job);
        let since: BTreeMap<String, Position> = of_swarm.map(|(place, at)| (place.stem(), *at)).collect();
        match (since.is_empty(), self.left_out) {
            (true, Some(LeftOut::BeforeNow)) => None,
            (true, _) => Some(Since::Everywhere(Position::START)),
            (false, _) => Some(Since::ByNode(since)),
        }
    }

    fn subscribed(&mut self, event: &Event, reaction: &mut Reaction) {
        let Said::Router(RouterWord::Subscribed { positions }) = event.said() else {
            return;
        };
        if self.left_out != Some(LeftOut::BeforeNow) {
            return;
        }
        // Now is here, in each stream.
        for (place, position) in places(positions) {
            if !self.taken.reach.nodes.contains_key(&place) {
                self.taken.take(&Mark::Node(place, position));
            }
        }
        if self.swarms.is_empty() {
            self.left_out = None;
        }
        reaction.keep = true;
    }

    fn caught_up(&mut self, event: &Event, reaction: &mut Reaction) {
        let Said::Router(RouterWord::CaughtUp { positions }) = event.said() else {
            return;
        };
        if matches!(self.left_out, Some(LeftOut::Before(_))) {
            for (place, position) in places(positions) {
                self.passed.take(&Mark::Node(place, position));
            }
        }
        match (&self.stage, &mut self.asking) {
            (Stage::Past(_), _) => {
                let request = Request::new(self.names.as_mut(), Command::SwarmList(SwarmList {}));
                self.stage = Stage::ListingAgain(request.id.clone());
                reaction.send.push(request);
            }
            (_, Some(asking)) => asking.caught_up = true,
            _ => {}
        }
    }

    /// Asks how the next swarm is; when all were asked, what there was has been told.
    fn ask_next(&mut self, reaction: &mut Reaction) {
        self.asking = None;
        if let Some(swarm) = self.left_to_ask.pop_front() {
            // Of all swarms, the past has come already.
            let since = (!self.swarms.is_empty()).then(|| self.since_of(&swarm)).flatten();
            let request = self.subscription(Some(swarm.clone()), since);
            self.asking = Some(Asking {
                request: request.id.clone(),
                swarm,
                caught_up: false,
            });
            reaction.send.push(request);
            return;
        }
        if self.left_out.take().is_some() {
            for (place, position) in std::mem::take(&mut self.passed).nodes {
                self.taken.take(&Mark::Node(place, position));
            }
            reaction.keep = true;
        }
        self.stage = Stage::Live;
        let all_over = !self.swarms.is_empty() && self.swarms.iter().all(|swarm| self.at_their_end.contains(swarm));
        reaction.done = !self.wanted.follow || all_over;
    }

    fn news(&mut self, event: &Event, reaction: &mut Reaction) {
        let head = &event.head;
        let mark = match (head.position(), &head.job_id, &head.swarm_id) {
            (Some((node, position)), Some(job), _) => Mark::Node(Place::new(job.clone(), node), position),
            (None, _, Some(swarm)) => match states::of_swarm(event) {
                Some(state) => Mark::Swarm(swarm.clone(), state),
                None => Mark::Moment,
            },
            _ => states::of_link(event).map_or(Mark::Moment, Mark::Link),
        };
        match &mark {
            Mark::Node(place, position) if self.is_before_the_start(place, event) => {
                self.passed.take(&Mark::Node(place.clone(), *position));
            }
            Mark::Swarm(swarm, state) => self.state_of_swarm(&swarm.clone(), &state.clone(), event, reaction),
            Mark::Node(..) | Mark::Link(_) | Mark::Moment => self.tell(mark, event, reaction),
        }
    }

    fn is_before_the_start(&self, place: &Place, event: &Event) -> bool {
        let Some(LeftOut::Before(start)) = self.left_out else {
            return false;
        };
        let begun = self.taken.reach.nodes.contains_key(place);
        let said_at = serde_json::from_slice::<Moment>(event.line());
        !begun && said_at.is_ok_and(|said_at| said_at.timestamp < start)
    }

    fn state_of_swarm(&mut self, swarm: &SwarmId, state: &State, event: &Event, reaction: &mut Reaction) {
        let begins = matches!(event.head.kind.as_str(), "swarm_launched" | "swarm_adopted");
        let asked = self.asking.as_ref().is_some_and(|asking| asking.swarm == *swarm);
        let answered = asked && self.asking.as_ref().is_some_and(|asking| asking.caught_up);
        let comes_again = match self.stage {
            // What it says on its nodes comes before how it is.
            Stage::Listing(_) | Stage::Past(_) | Stage::ListingAgain(_) => true,
            Stage::States => (asked && !answered) || self.left_to_ask.contains(swarm),
            Stage::Away | Stage::Live => false,
        };
        if comes_again && !begins {
            return;
        }
        let mark = Mark::Swarm(swarm.clone(), state.clone());
        if self.is_of_before(swarm, state) {
            self.taken.take(&mark);
        } else {
            self.tell(mark, event, reaction);
        }
        let over = states::is_over(state);
        if answered {
            if over {
                self.at_their_end.insert(swarm.clone());
            }
            self.ask_next(reaction);
        } else if over
            && self.swarms.contains(swarm)
            && !self.at_their_end.contains(swarm)
            && matches!(self.stage, Stage::Live)
        {
            // Its last words may still be on their way to us.
            self.stage = Stage::States;
            self.left_to_ask.push_back(swarm.clone());
            self.ask_next(reaction);
        }
    }

    /// Whether a swarm was over before the moment at which we began.
    fn is_of_before(&self, swarm: &SwarmId, state: &State) -> bool {
        let Some(LeftOut::Before(start)) = self.left_out else {
            return false;
        };
        let Some(summary) = self.known.get(swarm) else {
            return false;
        };
        let mut told = self.taken.reach.nodes.keys();
        let spoke = told.any(|place| place.job_id == summary.job_id);
        states::is_over(state) && summary.created < start && !spoke && !self.taken.reach.swarms.contains_key(swarm)
    }

    fn tell(&mut self, mark: Mark, event: &Event, reaction: &mut Reaction) {
        let news = self.taken.judge(&mark);
        if news == News::No {
            // The same in other words, or in more.
            if let Mark::Swarm(..) = mark {
                self.taken.take(&mark);
            }
            return;
        }
        self.taken.take(&mark);
        if self.wanted.kinds.has(&event.head.kind) {
            let text = self.wanted.wording.line(event, news == News::Perhaps);
            reaction.tell = Some(Line { mark, text });
        }
    }
}

fn places(positions: BTreeMap<String, Position>) -> impl Iterator<Item = (Place, Position)> {
    let place = |(stem, position): (String, Position)| Some((Place::from_stem(&stem).ok()?, position));
    positions.into_iter().filter_map(place)
}

#[cfg(test)]
mod tests;
