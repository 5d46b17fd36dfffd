//! What a user sees of a stream: its events as JSON, or as text with notes and progress beside it.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use crate::args::Options;
use crate::event::Event;
use crate::failure::Failure;
use crate::output::{Output, say};
use crate::progress::Progress;
use crate::render::Renderer;
use crate::render::colours::Colours;

/// The user's side of a command.
pub struct Screen {
    renderer: Option<Renderer>,
    output: Output,
    progress: Progress,
    quiet: bool,
    muted: bool,
    since: Instant,
    last_shown: Duration,
}

impl Screen {
    /// What the options and the terminals ask for.
    pub fn new(options: &Options) -> Self {
        let colours = Colours::for_stream(io::stdout().is_terminal());
        Self {
            renderer: (!options.json).then(|| Renderer::new(colours)),
            output: Output,
            progress: Progress::suited(options.quiet, options.json),
            quiet: options.quiet,
            muted: false,
            since: Instant::now(),
            last_shown: Duration::ZERO,
        }
    }

    /// Time since the beginning: the clock of everything that is shown and followed.
    pub fn now(&self) -> Duration {
        self.since.elapsed()
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) -> Result<(), Failure> {
        let now = self.now();
        match &mut self.renderer {
            Some(renderer) => {
                renderer.event(event, now);
                self.flush()
            }
            None if self.muted => Ok(()),
            None => {
                self.progress.clear();
                self.last_shown = now;
                self.output.line(event.line())
            }
        }
    }

    /// A note for people, on standard error.
    pub fn note(&mut self, note: &str) {
        if !self.quiet {
            self.break_line();
            self.progress.clear();
            say(note);
        }
    }

    /// Time has passed; `waiting_for` is asked for only when there is a place to show it.
    pub fn tick(&mut self, waiting_for: impl FnOnce() -> String) -> Result<(), Failure> {
        let now = self.now();
        if let Some(renderer) = &mut self.renderer {
            renderer.tick(now);
        }
        self.flush()?;
        let mid_line = self.renderer.as_ref().is_some_and(Renderer::mid_line);
        if !mid_line || !io::stdout().is_terminal() {
            self.progress.show(&waiting_for(), now.saturating_sub(self.last_shown));
        }
        Ok(())
    }

    /// Shows what was kept back.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let now = self.now();
        if let Some(renderer) = &mut self.renderer {
            renderer.finish(now);
        }
        let flushed = self.flush();
        self.progress.clear();
        flushed
    }

    /// Nobody reads standard output any more: nothing is written to it from now on.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let Some(renderer) = &mut self.renderer else {
            return Ok(());
        };
        let (text, notes) = (renderer.take(), renderer.take_notes());
        for note in notes {
            self.note(&note);
        }
        if text.is_empty() || self.muted {
            return Ok(());
        }
        self.progress.clear();
        self.last_shown = self.since.elapsed();
        self.output.write(text.as_bytes())
    }

    /// On one terminal, a note must not start in the middle of an agent's line.
    fn break_line(&mut self) {
        let both = io::stdout().is_terminal() && io::stderr().is_terminal();
        if both && self.renderer.as_ref().is_some_and(Renderer::mid_line) {
            say("");
        }
    }
}
