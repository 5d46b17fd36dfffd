//! A follower that has a folder of outboxes to watch in which nothing happens, or `tail` doing the same.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use bytes::BytesMut;
use codeswarm_follower::wire::Encoder;
use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::frame::{Downward, Ticket};

use super::outboxes::place;
use super::usage::Killed;
use super::{Lab, outboxes};

/// Which program watches, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watcher {
    /// `codeswarm follower --root`, as a router has it, polling.
    Follower,
    /// The same with the kernel's events.
    FollowerEvents,
    /// `codeswarm follower --lines --watch poll`.
    Lines,
    /// `tail -F` with the kernel's events.
    Tail,
    /// `tail -F` without them, looking once a second as is its default.
    TailPolling,
}

impl Watcher {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Follower,
        Self::FollowerEvents,
        Self::Lines,
        Self::Tail,
        Self::TailPolling,
    ];

    /// For a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower --root --watch poll",
            Self::FollowerEvents => "follower --root --watch inotify",
            Self::Lines => "follower --lines --watch poll",
            Self::Tail => "tail -F, inotify",
            Self::TailPolling => "tail -F ---disable-inotify",
        }
    }
}

/// A mailbox with so many outboxes, each with a few records.
#[track_caller]
pub fn mailbox(folder: &Path, files: u32) -> Mailbox {
    let mailbox = Mailbox::at(folder.join("root"));
    let job = place("7", 0).job_id;
    let made = mailbox.create().and_then(|()| mailbox.prepare(&job, files));
    made.unwrap_or_else(|error| panic!("{error}"));
    for node in 0..files {
        let place = place("7", node);
        outboxes::write(&mailbox.outbox(&place), place, 1);
    }
    mailbox
}

/// A watcher at work.
pub struct Watching {
    process: Killed,
    stdin: Option<ChildStdin>,
    pings: u64,
}

impl Watching {
    /// Starts it on all files of the mailbox.
    #[track_caller]
    pub fn start(lab: &Lab, watcher: Watcher, mailbox: &Mailbox, files: u32) -> Self {
        let mut command = match watcher {
            Watcher::Follower | Watcher::FollowerEvents | Watcher::Lines => Command::new(&lab.codeswarm),
            Watcher::Tail | Watcher::TailPolling => Command::new("tail"),
        };
        match watcher {
            Watcher::Follower => command
                .args(["follower", "--watch", "poll", "--root"])
                .arg(mailbox.root()),
            Watcher::FollowerEvents => command
                .args(["follower", "--watch", "inotify", "--root"])
                .arg(mailbox.root()),
            Watcher::Lines => command
                .args(["follower", "--watch", "poll", "--lines"])
                .arg(mailbox.outbox_folder()),
            Watcher::Tail => command.args(["-q", "-n", "+1", "-F"]).args(paths(mailbox, files)),
            Watcher::TailPolling => command
                .args(["-q", "-n", "+1", "-F", "---disable-inotify"])
                .args(paths(mailbox, files)),
        };
        let mut process = Killed::spawn(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let stdin = process.0.stdin.take();
        let mut watching = Self {
            process,
            stdin,
            pings: 0,
        };
        if matches!(watcher, Watcher::Follower | Watcher::FollowerEvents) {
            watching.watch(files);
        } else {
            watching.stdin = None;
        }
        watching
    }

    /// Starts `follower --root` on all files of the mailbox, polling, with a doorbell, and with the soft limit of open files that
    /// most systems give.
    #[track_caller]
    pub fn rung(lab: &Lab, mailbox: &Mailbox, files: u32) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -S -n 1024 && exec \"$0\" \"$@\""])
            .arg(&lab.codeswarm);
        command.args(["follower", "--watch", "poll", "--doorbell", "127.0.0.1", "--root"]);
        command.arg(mailbox.root()).stdin(Stdio::piped());
        let mut process = Killed::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let stdin = process.0.stdin.take();
        let mut watching = Self {
            process,
            stdin,
            pings: 0,
        };
        watching.watch(files);
        watching
    }

    fn watch(&mut self, files: u32) {
        self.say((0..files).map(|node| Downward::Watch {
            place: place("7", node),
            offset: 0,
        }));
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// What a router says now and then, without which the follower would end.
    #[track_caller]
    pub fn ping(&mut self) {
        self.pings += 1;
        let ticket = Ticket(self.pings);
        if self.stdin.is_some() {
            self.say([Downward::Ping { ticket }]);
        }
    }

    #[track_caller]
    fn say(&mut self, frames: impl IntoIterator<Item = Downward>) {
        let mut encoder = Encoder::new();
        let mut bytes = BytesMut::new();
        for frame in frames {
            let encoded = encoder.encode(&frame, &mut bytes);
            encoded.unwrap_or_else(|error| panic!("{frame:?}: {error}"));
        }
        let sent = self.stdin.as_mut().map(|stdin| stdin.write_all(&bytes));
        sent.transpose()
            .unwrap_or_else(|error| panic!("the follower does not listen: {error}"));
    }
}

fn paths(mailbox: &Mailbox, files: u32) -> Vec<PathBuf> {
    (0..files).map(|node| mailbox.outbox(&place("7", node))).collect()
}
