//! A server without its loop, its sockets and its clock: whoever holds it says what happens next and when it is stored. The
//! same server, for a simulation that plays everything around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use codeswarm_follower::{Follower, FollowerConfig};
use codeswarm_link::Trouble;
use codeswarm_protocol::frame::{Downward, Upward};
use tokio::sync::mpsc;

use super::client_io::FromClient;
use super::clock::Clock;
use super::line_reader::ReadLine;
use super::link::up_word;
use super::options::{MailboxAt, Options, ServeError};
use super::queue::ClientQueue;
use super::server::Server;
use crate::audience::Recent;
use crate::core::{ClientId, Core, Input, Names, ProviderCommand, ProviderEvent, Settings};
use crate::state::{StateError, Store};

/// One life of a router.
pub struct ByHand {
    server: Server,
    /// The other ends of channels that nobody uses here.
    _ends: (mpsc::Receiver<ProviderCommand>, mpsc::Sender<ProviderEvent>),
}

/// A client's end.
#[derive(Debug, Clone)]
pub struct Ear {
    id: ClientId,
    queue: ClientQueue,
}

impl ByHand {
    /// Takes up what is in the store. `clock` tells milliseconds, and never goes back. So many bytes of what clients lack are kept
    /// in memory.
    pub fn open(
        settings: Settings,
        store: Box<dyn Store>,
        names: impl FnOnce(u64) -> Box<dyn Names + Send>,
        clock: Arc<AtomicU64>,
        recent: usize,
    ) -> Result<Self, ServeError> {
        let loaded = store.load()?;
        let names = names(loaded.last_number);
        let began = clock.load(Ordering::Relaxed);
        let (provider, commands) = mpsc::channel(1);
        let (event, events) = mpsc::channel(1);
        let options = Options {
            settings,
            database: std::path::PathBuf::new(),
            mailbox: MailboxAt::Here(FollowerConfig::at("")),
            worker_command: Vec::new(),
            idle_exit: None,
        };
        let clock = Clock::Played(clock, began);
        let mut server = Server::assemble(
            options,
            (store, loaded),
            (names, clock),
            (None, None),
            (provider, events),
        )?;
        server.recent = Recent::new(recent);
        Ok(Self {
            server,
            _ends: (commands, event),
        })
    }

    /// What it has decided.
    pub fn core(&self) -> &Core {
        &self.server.core
    }

    /// A client connects. Beyond so many bytes that it has not read it gets no more events.
    pub fn join(&mut self, limit: usize) -> Ear {
        self.server.last_client += 1;
        let id = ClientId(self.server.last_client);
        let queue = ClientQueue::with_limit(limit);
        self.server.audience.join(id);
        self.server.outputs.join(id, queue.clone());
        Ear { id, queue }
    }

    /// A client says a line.
    pub fn says(&mut self, ear: &Ear, line: Bytes) {
        ear.queue.asked(line.len());
        self.server.client_said(FromClient::Sent(ear.id, ReadLine::Line(line)));
    }

    /// A client reads what is on its way to it.
    pub fn read(&mut self, ear: &Ear) -> Vec<Bytes> {
        let lines = ear.queue.take_now();
        if ear.queue.written(lines.iter().map(Bytes::len).sum()) {
            self.server.client_said(FromClient::Room(ear.id));
        }
        lines
    }

    /// A client is gone.
    pub fn leaves(&mut self, ear: &Ear) {
        self.server.client_said(FromClient::Gone(ear.id));
    }

    /// A follower is there, a new one. Needs a Tokio runtime.
    pub fn link_up(&mut self, binary: String) {
        self.server.follower_gone();
        // What it is told is taken out of `down`; what it says is handed in. So nothing goes through these channels.
        let (commands, _) = mpsc::channel(1);
        let (_, events) = mpsc::channel(1);
        let task = tokio::spawn(std::future::ready(()));
        self.server.follower = Some(Follower { commands, events, task });
        self.server.input(Input::LinkUp { binary });
        self.server.tell_everybody(up_word("login".to_owned()));
    }

    /// The follower is gone.
    pub fn link_down(&mut self, trouble: Trouble) {
        self.server.link_is_down(trouble);
    }

    /// Whether it takes what the follower says next, or waits a moment for who listens.
    pub fn takes_more(&mut self) -> bool {
        self.server.held_until().is_none()
    }

    /// The follower says something.
    pub fn follower_says(&mut self, up: Upward) {
        self.server.follower_said(up);
    }

    /// The provider says something.
    pub fn provider_says(&mut self, event: ProviderEvent) {
        self.server.input(Input::Provider(event));
    }

    /// What was due is done.
    pub fn tick(&mut self) {
        self.server.input(Input::Tick);
    }

    /// Stores what was decided, and lets its words out. After an error it is to be tried again before anything else happens.
    pub fn commit(&mut self) -> Result<Vec<Asked>, StateError> {
        self.server.pump_history();
        let durability = self.server.batch.durability();
        if let Err(error) = self.server.state.commit(&self.server.batch, durability) {
            self.server.cannot_store(&error);
            return Err(error);
        }
        self.server.let_out();
        let follower = self.server.down.drain(..).map(Asked::Follower);
        let provider = self.server.to_provider.drain(..).map(Asked::Provider);
        Ok(follower.chain(provider).collect())
    }
}

/// What the router asks of others.
#[derive(Debug)]
pub enum Asked {
    /// Of its follower.
    Follower(Downward),
    /// Of its provider.
    Provider(ProviderCommand),
}
