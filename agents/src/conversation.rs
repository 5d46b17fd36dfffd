//! The loop between a driver, its agent's process and its worker. It decides nothing about turns; it carries out.

use std::collections::VecDeque;
use std::time::Duration;

use codeswarm_protocol::record::Word;
use codeswarm_protocol::turn::ErrorClass;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::driver::{AgentCommand, AgentEvent, Driver, Effect, Now, answer_after_end};
use crate::keeper::Keeper;
use crate::launch::{self, Launch};
use crate::process::{Happening, Process};
use crate::session::SessionSpec;
use crate::tree;

/// From SIGTERM to SIGKILL, at most.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long the pipes of an agent that is gone may stay open without a word.
const DRAIN: Duration = Duration::from_secs(2);

/// The loop looks around at least this often.
const FAR: Duration = Duration::from_secs(3600);

/// The channels to the worker.
pub struct Line {
    /// What the worker asks.
    pub commands: mpsc::Receiver<AgentCommand>,
    /// What the agent says.
    pub events: mpsc::Sender<AgentEvent>,
    /// How long the agent may take to end by itself.
    pub grace: watch::Receiver<Duration>,
}

/// Runs a session from its start to [`AgentEvent::Exited`].
pub async fn run(spec: SessionSpec, line: Line) {
    let keeper = Keeper::new(spec.home.clone(), spec.keep.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let launch = launch::prepare(&spec, &std::env::vars_os().collect())
            .map_err(|error| (error.to_string(), error.may_pass()))?;
        let process = match &launch.process {
            None => None,
            Some(plan) => Some(Process::start(plan, &tree::new_mark(&spec.home)).map_err(|error| {
                let program = plan.argv.first().cloned().unwrap_or_default();
                let message = crate::preflight::cannot_start(&program, &error);
                (message, error.kind() == std::io::ErrorKind::WouldBlock)
            })?),
        };
        Ok((launch, process))
    })
    .await
    .unwrap_or_else(|error| Err((format!("preparing the agent failed: {error}"), true)));
    match prepared {
        Ok((launch, process)) => Conversation::new(launch, process, keeper, line).run().await,
        Err((message, may_restart)) => refuse(line, message, may_restart).await,
    }
}

/// Tells that no session comes up; prompts that were sent already end as failed.
async fn refuse(mut line: Line, message: String, may_restart: bool) {
    let class = if may_restart {
        ErrorClass::AgentDied
    } else {
        ErrorClass::Config
    };
    line.commands.close();
    while let Some(command) = line.commands.recv().await {
        if let Some(event) = answer_after_end(command, class, &message)
            && line.events.send(event).await.is_err()
        {
            return;
        }
    }
    let exited = AgentEvent::Exited {
        code: None,
        signal: None,
        asked: false,
        message,
        stderr_tail: None,
        may_restart,
    };
    // A worker that is gone needs no answer.
    let _ = line.events.send(exited).await;
}

/// What the loop has to deal with next.
enum Next {
    Command(Option<AgentCommand>),
    Process(Happening),
    Room,
    Kept(Option<String>),
    Clock,
}

/// How far the ending of the process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    InputClosed,
    Terminated,
    Killed,
}

struct Conversation {
    driver: Box<dyn Driver>,
    process: Option<Process>,
    keeper: Keeper,
    line: Line,
    /// Told by the driver, not yet taken by the worker.
    pending: VecDeque<AgentEvent>,
    clock: Clock,
    asked: bool,
    reason: Option<(String, bool)>,
    ending: Option<(Stage, Instant)>,
    /// Since the process is gone: until when its pipes are read.
    drain: Option<Now>,
    ended: bool,
    told_ending: bool,
    worker_gone: bool,
}

impl Conversation {
    fn new(launch: Launch, process: Option<Process>, keeper: Keeper, line: Line) -> Self {
        Self {
            driver: launch.driver,
            process,
            keeper,
            line,
            pending: VecDeque::new(),
            clock: Clock::start(),
            asked: false,
            reason: None,
            ending: None,
            drain: None,
            ended: false,
            told_ending: false,
            worker_gone: false,
        }
    }

    async fn run(mut self) {
        let now = self.clock.now();
        let effects = self.driver.open(now);
        self.carry_out(effects);
        loop {
            self.hand_over();
            if self.worker_gone {
                return;
            }
            if self.pending.is_empty() && self.read_line() {
                continue;
            }
            if self.over() {
                break;
            }
            if self.pending.is_empty() && self.tick() {
                // More may be due at once; the worker's word comes between.
                if let Ok(command) = self.line.commands.try_recv() {
                    self.command(Some(command));
                }
                tokio::task::yield_now().await;
                continue;
            }
            match self.next().await {
                Next::Command(command) => self.command(command),
                Next::Process(happening) => self.process_did(happening).await,
                Next::Kept(trouble) => self.notice(trouble),
                Next::Room => {}
                Next::Clock => self.push_ending().await,
            }
        }
        self.finish().await;
    }

    /// Gives the worker what it takes at once.
    fn hand_over(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            match self.line.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.pending.push_front(event);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.worker_gone = true;
                    break;
                }
            }
        }
        self.clock.stand_still(!self.pending.is_empty());
    }

    fn read_line(&mut self) -> bool {
        let now = self.clock.now();
        let Some(line) = self.process.as_mut().and_then(Process::line) else {
            return false;
        };
        let effects = self.driver.line(line, now);
        self.carry_out(effects);
        true
    }

    fn over(&self) -> bool {
        match &self.process {
            None => self.ended,
            Some(process) => {
                let drained = self.drain.is_some_and(|until| until <= self.clock.now());
                self.pending.is_empty() && (process.finished() || drained)
            }
        }
    }

    /// Tells the driver that its moment has come, if it has.
    fn tick(&mut self) -> bool {
        let now = self.clock.now();
        let due = self.driver.deadline().is_some_and(|deadline| deadline <= now);
        if self.ended || !due {
            return false;
        }
        let effects = self.driver.tick(now);
        self.carry_out(effects);
        true
    }

    async fn next(&mut self) -> Next {
        let blocked = !self.pending.is_empty();
        let wake = self.wake();
        let process = async {
            match &mut self.process {
                Some(process) => process.next(!blocked).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.line.commands.recv(), if !self.asked => Next::Command(command),
            happening = process => Next::Process(happening),
            _ = self.line.events.reserve(), if blocked => Next::Room,
            trouble = self.keeper.done() => Next::Kept(trouble),
            () = sleep_until(wake) => Next::Clock,
        }
    }

    /// When the loop has to look again at the latest.
    fn wake(&self) -> Instant {
        let mut wake = Instant::now() + FAR;
        if self.pending.is_empty() {
            let driver = self.driver.deadline().filter(|_| !self.ended);
            for at in [driver, self.drain].into_iter().flatten() {
                wake = wake.min(self.clock.instant(at));
            }
        }
        if let Some((_, until)) = self.ending {
            wake = wake.min(until);
        }
        wake
    }

    fn command(&mut self, command: Option<AgentCommand>) {
        let command = command.unwrap_or(AgentCommand::Stop);
        self.asked |= command == AgentCommand::Stop;
        let effects = self.driver.command(command, self.clock.now());
        self.carry_out(effects);
    }

    /// Once, as soon as it is known, so that the worker keeps the prompts that wait for the next session.
    fn tell_ending(&mut self) {
        if !std::mem::replace(&mut self.told_ending, true) {
            self.pending.push_back(AgentEvent::Ending);
        }
    }

    fn notice(&mut self, trouble: Option<String>) {
        if let Some(message) = trouble {
            self.pending.push_back(AgentEvent::Said(Word::Notice { message }));
        }
    }

    async fn process_did(&mut self, happening: Happening) {
        match happening {
            Happening::Output | Happening::Moved => {}
            Happening::BadOutput(error) => self.end(format!("the agent cannot be heard: {error}"), true),
            Happening::Ended => {
                self.tell_ending();
                self.ended = true;
                self.ending = None;
                self.drain = Some(self.clock.now() + DRAIN);
                self.kill().await;
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        if effects.iter().any(|effect| matches!(effect, Effect::End { .. })) {
            self.tell_ending();
        }
        for effect in effects {
            match effect {
                Effect::Write(bytes) => {
                    let written = self.process.as_mut().map_or(Ok(()), |process| process.write(bytes));
                    if let Err(reason) = written {
                        self.end(reason, true);
                    }
                }
                Effect::Tell(event) => {
                    if let (AgentEvent::TurnEnded { .. }, Some(process)) = (&event, &self.process) {
                        tree::reap_orphans(process.pid());
                    }
                    self.pending.push_back(event);
                }
                Effect::Keep(file) => self.keeper.keep(file),
                Effect::End { reason, may_restart } => self.end(reason, may_restart),
            }
        }
    }

    fn end(&mut self, reason: String, may_restart: bool) {
        self.tell_ending();
        self.reason.get_or_insert((reason, may_restart));
        match &mut self.process {
            None => self.ended = true,
            Some(process) if !self.ended && self.ending.is_none() => {
                process.close_input();
                let grace = *self.line.grace.borrow();
                self.ending = Some((Stage::InputClosed, Instant::now() + grace));
            }
            Some(_) => {}
        }
    }

    /// Goes a step further with an agent that does not end.
    async fn push_ending(&mut self) {
        let Some((stage, until)) = self.ending else {
            return;
        };
        if until > Instant::now() {
            return;
        }
        let Some(process) = &self.process else {
            return;
        };
        match stage {
            Stage::InputClosed => {
                process.terminate();
                let grace = TERM_GRACE.min(*self.line.grace.borrow());
                self.ending = Some((Stage::Terminated, Instant::now() + grace));
            }
            Stage::Terminated | Stage::Killed => {
                self.kill().await;
                self.ending = Some((Stage::Killed, Instant::now() + TERM_GRACE));
            }
        }
    }

    async fn kill(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let left = process.kill().await;
        if !left.is_empty() {
            self.notice(Some(format!(
                "these processes of the agent could not be killed: {left:?}"
            )));
        }
    }

    /// The process is gone, or the built-in agent has ended: everything open is ended, and the worker is told.
    async fn finish(mut self) {
        let death = self.process.as_ref().map(Process::death).unwrap_or_default();
        let already = self.reason.take();
        self.tell_ending();
        let effects = self.driver.gone(&death, self.clock.now());
        self.carry_out(effects);
        self.line.commands.close();
        while let Some(command) = self.line.commands.recv().await {
            let effects = self.driver.command(command, self.clock.now());
            self.carry_out(effects);
        }
        let trouble = self.keeper.last().await;
        self.notice(trouble);
        let (message, may_restart) = already
            .or(self.reason.take())
            .unwrap_or_else(|| (death.to_string(), true));
        self.pending.push_back(AgentEvent::Exited {
            code: death.code,
            signal: death.signal,
            asked: self.asked,
            message,
            stderr_tail: death.stderr_tail.clone(),
            may_restart,
        });
        for event in self.pending {
            let event = with_stderr(event, death.stderr_tail.as_deref());
            if self.line.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// A turn that the agent's death has ended carries the agent's last words.
fn with_stderr(mut event: AgentEvent, tail: Option<&str>) -> AgentEvent {
    if let AgentEvent::TurnEnded { error: Some(error), .. } = &mut event
        && error.class == ErrorClass::AgentDied
        && error.stderr_tail.is_none()
    {
        error.stderr_tail = tail.map(str::to_owned);
    }
    event
}

/// The driver's clock: it stands still while the worker takes no events.
struct Clock {
    started: Instant,
    stood: Duration,
    stands_since: Option<Instant>,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            stood: Duration::ZERO,
            stands_since: None,
        }
    }

    fn stand_still(&mut self, still: bool) {
        match (still, self.stands_since) {
            (true, None) => self.stands_since = Some(Instant::now()),
            (false, Some(since)) => {
                self.stood += since.elapsed();
                self.stands_since = None;
            }
            _ => {}
        }
    }

    fn now(&self) -> Now {
        let until = self.stands_since.unwrap_or_else(Instant::now);
        until.duration_since(self.started).saturating_sub(self.stood)
    }

    /// The moment on the runtime's clock; one that it cannot express is far away.
    fn instant(&self, at: Now) -> Instant {
        let after = self.stood.saturating_add(at);
        self.started.checked_add(after).unwrap_or_else(|| Instant::now() + FAR)
    }
}
