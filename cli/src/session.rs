//! One client command at work: the router, the screen, the signals, and the two ways of talking: to ask, and to follow.

use std::time::Duration;

use codeswarm_protocol::command::Command;
use codeswarm_protocol::event::RouterWord;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::args::Options;
use codeswarm_client::configuration::SwarmSettings;

use crate::background::RouterAddress;
use crate::configuration;
use crate::connection::Connection;
use crate::event::{Event, Said};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Follow, Reaction};
use crate::rejection::refusal;
use crate::render::words;
use crate::request::{RandomNames, Request};
use crate::screen::Screen;
use crate::signals::Signals;

/// The screen is looked at so often while something is waited for.
const TICK: Duration = Duration::from_millis(100);
/// So many connections in a row may break without a single event.
const FRUITLESS: u32 = 6;
/// The pause before the first new connection; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A command at work.
pub struct Session {
    address: RouterAddress,
    options: Options,
    signals: Signals,
    /// What the configuration means by a swarm.
    pub swarm: SwarmSettings,
    /// What the user sees.
    pub screen: Screen,
    /// Names for commands.
    pub names: RandomNames,
}

/// What an event is to someone who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Not an answer.
    None,
    /// One of several.
    Part,
    /// The last one.
    Last,
    /// The last one, to a question that is not the user's own: never printed.
    LastUnprinted,
}

impl Session {
    /// Reads the configuration and looks where its router is. Must be called within a runtime.
    pub fn open(options: Options) -> Result<Self, Failure> {
        let mut screen = Screen::new(&options);
        let configured =
            codeswarm_client::configuration::read(options.config.as_deref(), &mut |warning| screen.note(warning))?;
        Ok(Self {
            address: configured.router,
            swarm: configured.swarm,
            options,
            signals: Signals::listen()?,
            screen,
            names: RandomNames,
        })
    }

    /// Options that must be repeated to reach the same router, with a blank before them.
    pub fn options_to_repeat(&self) -> String {
        configuration::to_repeat(&self.options)
    }

    /// Whether events are printed as they are.
    pub fn json(&self) -> bool {
        self.options.json
    }

    /// A request with a name of its own.
    pub fn request(&mut self, command: Command) -> Request {
        Request::new(&mut self.names, command)
    }

    /// A connection to a router that runs already, if one does.
    pub async fn existing(&self) -> Result<Option<Connection>, Failure> {
        self.address.existing().await
    }

    /// Sends `requests` and collects the answers, as `answer` tells them, until the last one or for as long as
    /// `patience` between two events. A connection that breaks is made again and the requests are repeated under their
    /// names. With `--json` the answers are printed; a refusal of any of the requests is the failure.
    pub async fn ask(
        &mut self,
        requests: &[Request],
        waiting_for: &str,
        patience: Duration,
        mut answer: impl FnMut(&Event) -> Answer,
    ) -> Result<Vec<Event>, Failure> {
        let mut fruitless = 0;
        let mut noted = String::new();
        let mut tick = ticks();
        loop {
            let mut answers = Vec::new();
            let mut connection = self.connect().await?;
            for request in requests {
                connection.send(request).await?;
            }
            let mut heard_at = self.screen.now();
            loop {
                let event = tokio::select! {
                    event = connection.event() => event,
                    () = self.signals.next() => return Err(Failure::new(Exit::Interrupted, "interrupted", "")),
                    _ = tick.tick() => {
                        self.screen.tick(|| waiting_for.to_owned())?;
                        if self.screen.now().saturating_sub(heard_at) < patience {
                            continue;
                        }
                        return Err(self.no_answer(waiting_for, patience));
                    }
                };
                let Some(event) = event else { break };
                heard_at = self.screen.now();
                fruitless = 0;
                if let Some((_, failure)) = refusal(&event)
                    && requests.iter().any(|request| event.head.answers(&request.id))
                {
                    self.print_answer(&event)?;
                    return Err(failure);
                }
                let said = answer(&event);
                if said != Answer::LastUnprinted && said != Answer::Last {
                    self.note_why_it_takes_long(&event, &mut noted);
                }
                if said != Answer::None {
                    answers.push(event);
                }
                match said {
                    Answer::None | Answer::Part => {}
                    Answer::LastUnprinted => return Ok(answers),
                    // Not one by one: a connection that breaks in between brings them again.
                    Answer::Last => {
                        for answer in &answers {
                            self.print_answer(answer)?;
                        }
                        return Ok(answers);
                    }
                }
            }
            fruitless = self.pause(fruitless).await?;
        }
    }

    /// While something is waited for: that the link is down, and why a job waits. Each is said once.
    fn note_why_it_takes_long(&mut self, event: &Event, noted: &mut String) {
        let Said::Router(word @ (RouterWord::Link { .. } | RouterWord::SwarmStatus { .. })) = event.said() else {
            return;
        };
        let Some(note) = words::note(&word, event.head.swarm_id.as_ref()) else {
            return;
        };
        if *noted != note {
            self.screen.note(&note);
            *noted = note;
        }
    }

    /// Follows to the end. Signals, broken connections and a reader that goes away are answered as `follow` says.
    pub async fn follow(&mut self, mut follow: Follow) -> Result<Exit, Failure> {
        let ended = self.follow_on(&mut follow).await;
        let finished = self.screen.finish();
        let exit = ended?;
        finished?;
        Ok(exit)
    }

    async fn follow_on(&mut self, follow: &mut Follow) -> Result<Exit, Failure> {
        let mut fruitless = 0;
        // Why nothing can be shown any more; the end of what was begun is still waited for.
        let mut unshown: Option<Failure> = None;
        let mut tick = ticks();
        loop {
            let mut connection = self.connect().await.map_err(|failure| follow.gave_up(failure))?;
            let mut reaction = follow.connected();
            loop {
                if let Some(exit) = self.carry_out(reaction, &mut connection).await? {
                    return unshown.map_or(Ok(exit), Err);
                }
                let shown = tokio::select! {
                    event = connection.event() => {
                        let Some(event) = event else { break };
                        fruitless = 0;
                        reaction = follow.heard(&event, self.screen.now());
                        if reaction.show { self.screen.show(&event) } else { Ok(()) }
                    }
                    () = self.signals.next() => {
                        reaction = follow.interrupted(self.screen.now());
                        Ok(())
                    }
                    _ = tick.tick() => {
                        reaction = follow.passed(self.screen.now());
                        self.screen.tick(|| follow.waiting_for())
                    }
                };
                if let Err(failure) = shown {
                    self.screen.mute();
                    if self.carry_out(reaction, &mut connection).await?.is_some() {
                        return Err(failure);
                    }
                    reaction = follow.interrupted(self.screen.now());
                    reaction.notes.clear();
                    unshown.get_or_insert(failure);
                }
            }
            if let Some(failure) = follow.lost() {
                return Err(failure);
            }
            fruitless = self.pause(fruitless).await.map_err(|failure| follow.gave_up(failure))?;
        }
    }

    async fn carry_out(&mut self, reaction: Reaction, connection: &mut Connection) -> Result<Option<Exit>, Failure> {
        for note in &reaction.notes {
            self.screen.note(note);
        }
        for request in &reaction.send {
            connection.send(request).await?;
        }
        reaction.end.transpose()
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        let mut note = |note: &str| self.screen.note(note);
        tokio::select! {
            connection = self.address.connect(&mut note) => connection,
            () = self.signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted", "")),
        }
    }

    /// Waits before the next connection.
    async fn pause(&mut self, fruitless: u32) -> Result<u32, Failure> {
        if fruitless >= FRUITLESS {
            let socket = self.address.endpoint.socket.display();
            let log = self.address.endpoint.log.display();
            return Err(Failure::new(
                Exit::Unreachable,
                format!("the router at {socket} closes every connection"),
                format!("its log {log} may tell why"),
            ));
        }
        if fruitless == 0 {
            self.screen
                .note("the connection to the router is lost; connecting again");
        }
        tokio::select! {
            () = sleep(FIRST_PAUSE * 2_u32.pow(fruitless)) => Ok(fruitless + 1),
            () = self.signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted", "")),
        }
    }

    fn print_answer(&mut self, event: &Event) -> Result<(), Failure> {
        if self.options.json {
            self.screen.show(event)
        } else {
            Ok(())
        }
    }

    fn no_answer(&self, waiting_for: &str, patience: Duration) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!(
                "{waiting_for}: no answer from the router within {} seconds",
                patience.as_secs()
            ),
            format!(
                "its log {} may tell why; codeswarm ping shows whether it lives",
                self.address.endpoint.log.display()
            ),
        )
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
