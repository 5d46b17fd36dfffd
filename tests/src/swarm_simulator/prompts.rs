//! The inboxes of all played workers, read on one thread with the mailbox's own watching and tailing.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use codeswarm_mailbox::{Mailbox, Outcome, Rings, Tail, TailStep, Wakes, WatchMode};
use codeswarm_protocol::inbox::InboxRecord;
use codeswarm_protocol::{InjectionId, Place};

/// How much of an inbox is read at once.
const CHUNK: usize = 64 << 10;

/// How many prompts may wait to be answered.
const WAITING: usize = 4096;

/// A prompt that stands in an inbox.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Whose.
    pub node: u32,
    /// Which.
    pub injection_id: InjectionId,
}

/// Reads the inboxes from now on, until the prompts' receiver is dropped and one more comes. The doorbell can tell of them, too.
///
/// # Errors
/// No thread, or no way to watch the folder.
pub fn listen(mailbox: &Mailbox, places: &[Place]) -> io::Result<(Receiver<Prompt>, Rings)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut tails: HashMap<Place, Tail> = HashMap::new();
    let mut wakes =
        Wakes::new(WatchMode::Auto, mailbox.filesystem(), &[mailbox.inbox_folder()]).map_err(io::Error::other)?;
    for place in places {
        tails.insert(place.clone(), Tail::inbox(mailbox, place.clone(), 0));
        wakes.add(place.clone());
    }
    let (sender, prompts) = sync_channel(WAITING);
    let rings = wakes.rings();
    let listening = move || {
        runtime.block_on(async {
            loop {
                let place = wakes.next().await;
                let began = Instant::now();
                let Some(tail) = tails.get_mut(&place) else { continue };
                let Some(outcome) = read(tail, &place, &sender) else {
                    return;
                };
                wakes.read_to(&place, tail.offset());
                // Ten thousand files are not held open.
                tail.put_down();
                wakes.looked(&place, outcome, began.elapsed());
            }
        });
    };
    std::thread::Builder::new()
        .name("inboxes".to_owned())
        .spawn(listening)?;
    Ok((prompts, rings))
}

/// Hands on what is new; `None` when nobody listens.
fn read(tail: &mut Tail, place: &Place, prompts: &SyncSender<Prompt>) -> Option<Outcome> {
    let mut outcome = Outcome::Nothing;
    loop {
        match tail.step(CHUNK, Instant::now()) {
            Ok(TailStep::Lines { data, .. }) => {
                outcome = Outcome::Data;
                for line in data.split(|byte| *byte == b'\n') {
                    if let Ok(InboxRecord::User { injection_id, .. }) = serde_json::from_slice(line) {
                        let node = place.node_id.rank();
                        prompts.send(Prompt { node, injection_id }).ok()?;
                    }
                }
            }
            Ok(TailStep::Skipped { .. } | TailStep::Shrunk { .. }) => {}
            Ok(_) => return Some(if tail.in_doubt() { Outcome::Doubt } else { outcome }),
            Err(_) => return Some(Outcome::Doubt),
        }
    }
}
