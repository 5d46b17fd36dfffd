//! `wait`: until something of a prompt's turns, or of a swarm, is new.

use std::collections::BTreeSet;
use std::time::Duration;

use codeswarm_client::event::{Event, Said};
use codeswarm_client::request::Request;
use codeswarm_client::swarm::SwarmNow;
use codeswarm_protocol::command::{Command, Recall, Subscribe, SwarmStatus};
use codeswarm_protocol::event::RouterWord;
use codeswarm_protocol::{NodeId, RequestId, SwarmId};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::asking::{Desk, Heard, Question, Trouble, look};
use crate::parameters::Wait;
use crate::reply::{Reply, head, shortened, sorry, sorry_about};
use crate::status::{cursor, summary};
use crate::turns::{Cursor, Turns};

/// How long is waited if nothing is said, and at most: clients give up after 60 s unless they are told otherwise.
const PATIENCE: u32 = 30;
const LONGEST: u32 = 50;
/// The router may take this long to tell the past, however short the wait is to be.
const PAST: Duration = Duration::from_secs(8);
/// So many turns that go on are described.
const SHOWN_PENDING: usize = 8;

/// Who hears how far it is while it is waited: how many of how many have ended, and a few words.
pub type Progress<'a> = &'a mut (dyn FnMut(usize, usize, String) + Send);

pub async fn wait(desk: &Desk, wait: Wait, progress: Progress<'_>) -> Reply {
    let seconds = wait.timeout_s.unwrap_or(PATIENCE).min(LONGEST);
    let until = Instant::now() + Duration::from_secs(seconds.into());
    match (wait.prompt, wait.swarm_id) {
        (Some(name), _) => for_turns(desk, name, Cursor::of(wait.cursor), until, progress).await,
        (None, Some(swarm_id)) => for_swarm(desk, swarm_id, wait.cursor.unwrap_or_default(), until).await,
        (None, None) => Err("wait: say prompt (the idempotency_key of a prompt or launch) or swarm_id".to_owned()),
    }
}

/// Recalls a request, and goes on until its turns satisfy `enough`.
pub struct Recalling<'a, F> {
    of: RequestId,
    turns: &'a mut Turns,
    /// Until when the past is waited for, and until when news.
    until: (Instant, Instant),
    enough: F,
}

impl<'a, F: FnMut(&Turns) -> bool> Recalling<'a, F> {
    /// `until`: the past is waited for, and then news.
    pub fn new(of: RequestId, turns: &'a mut Turns, until: (Instant, Instant), enough: F) -> Self {
        Self {
            of,
            turns,
            until,
            enough,
        }
    }
}

impl<F: FnMut(&Turns) -> bool> Question for Recalling<'_, F> {
    type Answer = ();

    fn begin(&mut self) -> Vec<Request> {
        let of = self.of.clone();
        let recall = look(Command::Recall(Recall { of }));
        *self.turns = Turns::asked_by(recall.id.clone());
        vec![recall]
    }

    fn until(&self) -> Instant {
        let (past, news) = self.until;
        if self.turns.told_all { news } else { past.max(news) }
    }

    fn hear(&mut self, event: &Event) -> Heard<()> {
        self.turns.hear(event);
        match self.turns.told_all && (self.enough)(self.turns) {
            true => Heard::Answer(()),
            false => Heard::More,
        }
    }
}

async fn for_turns(desk: &Desk, name: RequestId, cursor: Cursor, until: Instant, progress: Progress<'_>) -> Reply {
    let mut turns = Turns::default();
    let mut last = (usize::MAX, Instant::now());
    let enough = |turns: &Turns| {
        let ended = turns.count() - turns.pending().count();
        // A client may be told of each end; of what goes on, once in five seconds is enough.
        if ended != last.0 || last.1.elapsed() >= Duration::from_secs(5) {
            last = (ended, Instant::now());
            let doing = turns.pending().next();
            let words = doing.map(|(node, turn)| format!("node {node}: {}", turn.doing));
            progress(
                ended,
                turns.count(),
                words.unwrap_or_else(|| "all turns have ended".to_owned()),
            );
        }
        ended == turns.count()
            || Instant::now() >= until
            || turns.new_ends(&cursor).next().is_some()
            || turns.new_questions(&cursor).next().is_some()
    };
    let asked = desk
        .ask(&mut Recalling::new(
            name.clone(),
            &mut turns,
            (Instant::now() + PAST, until),
            enough,
        ))
        .await;
    match asked {
        Ok(()) => {}
        Err(Trouble::Late) if turns.told_all => {}
        Err(trouble) => {
            let late =
                "the router has not told in this time what became of the prompt; wait again with the same arguments";
            return Err(sorry_about(&name, trouble, late));
        }
    }
    Ok(told(&name, &turns, &cursor))
}

fn told(name: &RequestId, turns: &Turns, cursor: &Cursor) -> Value {
    let ends: Vec<_> = turns.new_ends(cursor).collect();
    let room = (8_000 / ends.len().max(1)).clamp(60, 2_000);
    let news = ends.iter().map(|(node, turn, end)| {
        let mut news = json!({"node": node, "status": end.how});
        if let Some(why) = &end.why {
            news["why"] = json!(why);
        }
        if let Some((answer, cut)) = &turn.answer {
            let (answer, all) = head(answer, room);
            news["answer"] = json!(answer);
            if *cut || !all {
                news["cut"] = json!(true);
            }
        }
        news
    });
    let questions = turns.new_questions(cursor).take(20);
    let questions = questions.map(|(node, call_id, asks)| json!({"node": node, "call_id": call_id, "asks": asks}));
    let pending: Vec<_> = turns.pending().collect();
    let going_on = pending.iter().take(SHOWN_PENDING);
    let going_on = going_on.map(|(node, turn)| json!({"node": node, "doing": turn.doing}));
    let mut value = json!({
        "prompt": name,
        "swarm_id": turns.swarm_id,
        "done": pending.is_empty(),
        "turns": turns.count(),
        "pending": pending.len(),
        "news": news.collect::<Vec<_>>(),
        "questions": questions.collect::<Vec<_>>(),
        "going_on": going_on.collect::<Vec<_>>(),
    });
    let shown = shortened(&mut value, "news");
    let shown: BTreeSet<NodeId> = ends.iter().take(shown).map(|(node, ..)| *node).collect();
    let all_shown = shown.len() == ends.len();
    value["cursor"] = json!(turns.cursor(cursor, &shown));
    value["next"] = json!(match (all_shown, pending.is_empty(), turns.count()) {
        (_, _, 0) => "this request gave no prompt to any node; wait with swarm_id for the swarm itself",
        (false, ..) => "more turns have ended: call wait again at once with this cursor",
        (true, true, _) => "all turns have ended; output has the whole text of a node's answer",
        (true, false, _) =>
            "call wait again with this cursor, or end your turn and come back later: nothing is lost meanwhile",
    });
    value
}

/// Waits for a swarm to be another than `seen`.
struct Watching<'a> {
    swarm_id: &'a SwarmId,
    seen: &'a str,
    /// Until when its first state is waited for, and until when another.
    past: Instant,
    until: Instant,
    now: &'a mut Option<SwarmNow>,
}

impl Watching<'_> {
    fn status(&self) -> Request {
        let swarm_id = self.swarm_id.clone();
        look(Command::SwarmStatus(SwarmStatus { swarm_id }))
    }
}

impl Question for Watching<'_> {
    type Answer = ();

    fn begin(&mut self) -> Vec<Request> {
        let swarm_id = Some(self.swarm_id.clone());
        let subscribe = look(Command::Subscribe(Subscribe { swarm_id, since: None }));
        vec![subscribe, self.status()]
    }

    fn until(&self) -> Instant {
        let news = self.until;
        if self.now.is_some() { news } else { news.max(self.past) }
    }

    fn hear(&mut self, event: &Event) -> Heard<()> {
        if event.head.swarm_id.as_ref() != Some(self.swarm_id) {
            return Heard::More;
        }
        let status = SwarmNow::of(event.clone());
        if let Some(now) = status.filter(|now| now.nodes.len() == now.node_count as usize) {
            let now = self.now.insert(now);
            return match cursor(now) == self.seen && !now.status.is_over() && Instant::now() < self.until {
                true => Heard::More,
                false => Heard::Answer(()),
            };
        }
        match event.said() {
            Said::Router(
                RouterWord::SwarmStatus { .. }
                | RouterWord::NodeReady { .. }
                | RouterWord::NodeLost { .. }
                | RouterWord::SwarmTerminated { .. },
            ) => Heard::Ask(self.status()),
            _ => Heard::More,
        }
    }
}

async fn for_swarm(desk: &Desk, swarm_id: SwarmId, seen: String, until: Instant) -> Reply {
    let mut now = None;
    let mut question = Watching {
        swarm_id: &swarm_id,
        seen: &seen,
        past: Instant::now() + PAST,
        until,
        now: &mut now,
    };
    let asked = desk.ask(&mut question).await;
    match (asked, now) {
        (Ok(()) | Err(Trouble::Late), Some(now)) => {
            let mut value = summary(&swarm_id, &now);
            value["changed"] = json!(cursor(&now) != seen);
            value["cursor"] = json!(cursor(&now));
            Ok(value)
        }
        (Err(trouble), _) => {
            let late = "the router has not told in this time how the swarm is; wait again with the same arguments";
            Err(sorry(trouble, late))
        }
        (Ok(()), None) => Err("the router's swarm_status cannot be read; codeswarm ping tells its version".to_owned()),
    }
}
