//! Telling at work: connections to routers, lines written, the cursor kept. Decides nothing ([`crate::following`] does).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use codeswarm_client::background::RouterAddress;
use codeswarm_client::connection::Connection;
use codeswarm_client::exit::Exit;
use codeswarm_client::failure::Failure;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::following::{Following, Line};
use crate::telling::{Burst, Teller};

/// How often it is looked whether the reader is still there.
const TICK: Duration = Duration::from_millis(250);
/// So long after an event another one may still join its burst …
const JOINS: Duration = Duration::from_millis(5);
/// … and so long after the first of them at most.
const WAITS: Duration = Duration::from_millis(50);
/// A burst that is as large as this is told at once.
const BURST_LINES: usize = 256;
const BURST_BYTES: usize = 256 * 1024;
/// How old a cursor may grow that only has passed over what nobody asked for: after a crash that is looked at again.
const PASSED_OVER: Duration = Duration::from_secs(5);
/// The pause before the first new connection; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often another router is looked for where one was told to end: none is started for us.
const LOOK_FOR_ANOTHER: Duration = Duration::from_secs(2);
/// So many connections in a row may break without a single event where nobody waits for what comes.
const FRUITLESS: u32 = 6;

/// How long lines that are on their way when we are told to stop are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What people at a terminal see besides.
pub trait Notes {
    /// A sentence.
    fn note(&mut self, note: &str);
    /// What is waited for, and how long.
    fn waiting(&mut self, what: &str, waited: Duration);
    /// Lines are about to be written.
    fn clear(&mut self);
}

/// The work of one process.
pub struct Follow<'a, Stop> {
    address: &'a RouterAddress,
    following: Following,
    follow: bool,
    /// Absent while it writes.
    teller: Option<Teller>,
    notes: &'a mut (dyn Notes + Send),
    stop: Pin<&'a mut Stop>,
    lines: Vec<Line>,
    bytes: usize,
    /// The first of these lines, and the last.
    taken_at: Option<(Instant, Instant)>,
    told_at: Instant,
    heard_at: Instant,
}

/// How a connection ended.
enum Ended {
    Done,
    Lost { fruitful: bool },
}

impl<'a, Stop: Future<Output = ()>> Follow<'a, Stop> {
    /// Tells until all is told, somebody says stop, or it cannot go on. `follow`: also what comes.
    pub async fn run(
        address: &'a RouterAddress,
        following: Following,
        follow: bool,
        teller: Teller,
        notes: &'a mut (dyn Notes + Send),
        stop: Pin<&'a mut Stop>,
    ) -> Result<Exit, Failure> {
        let now = Instant::now();
        let this = Self {
            address,
            following,
            follow,
            teller: Some(teller),
            notes,
            stop,
            lines: Vec::new(),
            bytes: 0,
            taken_at: None,
            told_at: now,
            heard_at: now,
        };
        this.serve().await
    }

    async fn serve(mut self) -> Result<Exit, Failure> {
        let mut connection = self.connect().await?;
        let mut fruitless = 0;
        loop {
            match self.converse(connection).await? {
                Ended::Done => return Ok(Exit::Done),
                Ended::Lost { fruitful: true } => fruitless = 0,
                Ended::Lost { fruitful: false } => fruitless += 1,
            }
            connection = loop {
                if self.following.router_left() {
                    break self.another_router().await?;
                }
                if !self.follow && fruitless >= FRUITLESS {
                    let socket = self.address.endpoint.socket.display();
                    let what = format!("the router at {socket} closes every connection");
                    let log = self.address.endpoint.log.display();
                    return Err(Failure::new(
                        Exit::Unreachable,
                        what,
                        format!("its log {log} may tell why"),
                    ));
                }
                self.notes
                    .note("the connection to the router is lost; connecting again");
                let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(fruitless));
                self.pause(pause.min(LONGEST_PAUSE)).await?;
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(failure) if self.follow && failure.exit == Exit::Unreachable => {
                        self.notes.note(&failure.what);
                        fruitless += 1;
                    }
                    Err(failure) => return Err(failure),
                }
            };
        }
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        let mut note = |note: &str| self.notes.note(note);
        tokio::select! {
            () = self.stop.as_mut() => Err(stopped()),
            connected = self.address.connect(&mut note) => connected,
        }
    }

    /// The router was told to end by somebody: we wait for the next one, and do not undo that.
    async fn another_router(&mut self) -> Result<Connection, Failure> {
        if !self.follow {
            return Err(Failure::new(
                Exit::Unreachable,
                "the router was told to end",
                "the next command starts one again; what is not told yet is told then",
            ));
        }
        self.notes
            .note("the router was told to end; waiting for another one, which the next command starts");
        loop {
            self.pause(LOOK_FOR_ANOTHER).await?;
            if let Some(connection) = self.address.existing().await? {
                return Ok(connection);
            }
        }
    }

    async fn converse(&mut self, mut connection: Connection) -> Result<Ended, Failure> {
        let mut fruitful = false;
        for request in self.following.connected() {
            connection.send(&request).await?;
        }
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.taken_at.map(|(first, last)| (first + WAITS).min(last + JOINS));
            tokio::select! {
                () = self.stop.as_mut() => return self.leave(),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tell().await?,
                event = connection.event() => {
                    let Some(event) = event else {
                        self.tell().await?;
                        return Ok(Ended::Lost { fruitful });
                    };
                    fruitful = true;
                    self.heard_at = Instant::now();
                    let reaction = self.following.heard(&event);
                    if let Some(failure) = reaction.failed {
                        return Err(failure);
                    }
                    if let Some(line) = reaction.tell {
                        let first = self.taken_at.map_or(self.heard_at, |(first, _)| first);
                        self.taken_at = Some((first, self.heard_at));
                        self.bytes += line.text.len();
                        self.lines.push(line);
                    }
                    let large = self.lines.len() >= BURST_LINES || self.bytes >= BURST_BYTES;
                    if large || reaction.keep || reaction.done {
                        self.tell().await?;
                    }
                    if reaction.done {
                        return Ok(Ended::Done);
                    }
                    for request in &reaction.send {
                        connection.send(request).await?;
                    }
                }
                _ = tick.tick() => {
                    self.look_for_the_reader()?;
                    self.notes.waiting("waiting for events", self.heard_at.elapsed());
                    let settled = self.following.left_out().is_none();
                    if settled && self.lines.is_empty() && self.told_at.elapsed() >= PASSED_OVER {
                        self.tell().await?;
                    }
                }
            }
        }
    }

    /// Hands over what was taken in. A reader that does not read is waited for, but not when we are told to stop.
    async fn tell(&mut self) -> Result<(), Failure> {
        let Some(mut teller) = self.teller.take() else {
            return Err(Failure::new(
                Exit::Internal,
                "a line was to be written beside another one",
                "",
            ));
        };
        let burst = self.burst();
        if !burst.lines.is_empty() {
            self.notes.clear();
        }
        let mut told = tokio::task::spawn_blocking(move || {
            let told = teller.tell(burst);
            (teller, told)
        });
        let told = tokio::select! {
            () = self.stop.as_mut() => {
                // A reader that reads has it soon; else what is on its way stays in doubt.
                return match timeout(LAST_LINES, told).await {
                    Ok(Ok((_, Err(failure)))) => Err(failure),
                    _ => Err(stopped()),
                };
            }
            told = &mut told => told,
        };
        let (teller, told) = told.map_err(|error| Failure::new(Exit::Internal, error.to_string(), ""))?;
        self.teller = Some(teller);
        self.told_at = Instant::now();
        told
    }

    fn burst(&mut self) -> Burst {
        (self.bytes, self.taken_at) = (0, None);
        Burst {
            lines: std::mem::take(&mut self.lines),
            taken: self.following.taken().clone(),
            left_out: self.following.left_out(),
        }
    }

    /// Stops; lines that are not written yet are told by whoever comes next.
    fn leave(&mut self) -> Result<Ended, Failure> {
        if self.lines.is_empty()
            && let Some(mut teller) = self.teller.take()
        {
            let burst = self.burst();
            teller.tell(burst)?;
        }
        Err(stopped())
    }

    fn look_for_the_reader(&self) -> Result<(), Failure> {
        match &self.teller {
            Some(teller) if teller.reader_is_gone() => Err(Failure::broken_pipe()),
            _ => Ok(()),
        }
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), Failure> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.look_for_the_reader()?;
            let part = until.saturating_duration_since(Instant::now()).min(TICK);
            tokio::select! {
                () = self.stop.as_mut() => return Err(stopped()),
                () = sleep(part) => {}
            }
        }
        Ok(())
    }
}

/// Nobody needs to be told that it did what it was told.
fn stopped() -> Failure {
    Failure::new(Exit::Interrupted, "", "")
}
