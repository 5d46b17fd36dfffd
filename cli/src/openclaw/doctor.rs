//! `openclaw doctor`.

use std::io::{self, IsTerminal};

use serde_json::json;

use super::checks::{self, Check, Health};
use super::install;
use super::program::Program;
use crate::args::Options;
use crate::args::openclaw;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::colours::{Colours, Look};

/// How wide the words are.
const STATUS: usize = 8;
const NAME: usize = 11;

pub async fn doctor(args: &openclaw::Check, options: &Options) -> Result<Exit, Failure> {
    let wanted = install::what_is_wanted(options, true)?;
    let program = Program::find(args.which.openclaw.as_deref()).await?;
    let mut view = View::new(options);
    view.show(checks::program(&program.version))?;
    let found = install::found(&program, false).await?;
    view.show(checks::entry(&wanted, &found))?;
    let hidden = match found.skill.is_some() {
        true => program.skill_is_hidden().await?,
        false => None,
    };
    view.show(checks::skill(&wanted, &found, hidden))?;
    let probed = match found.entry.is_some() {
        true => Some(program.probe().await?),
        false => None,
    };
    view.show(checks::probe(probed))?;
    let automation = match program.automation().await {
        Err(failure) if failure.exit == Exit::Unreachable => Err(failure.what),
        found => Ok(found?),
    };
    view.show(checks::automation(&wanted, automation))?;
    view.finish()
}

struct View {
    json: bool,
    colours: Colours,
    output: Output,
    checks: Vec<Check>,
}

impl View {
    fn new(options: &Options) -> Self {
        Self {
            json: options.json,
            colours: Colours::for_stream(io::stdout().is_terminal()),
            output: Output,
            checks: Vec::new(),
        }
    }

    fn show(&mut self, check: Check) -> Result<(), Failure> {
        let line = match self.json {
            true => check.to_json(),
            false => {
                let look = match check.health {
                    Health::Ok => Look::Good,
                    Health::Warning => Look::Warn,
                    Health::Failure => Look::Bad,
                    Health::Absent => Look::Dim,
                };
                let word = check.health.as_str();
                let gap = " ".repeat(STATUS.saturating_sub(word.len()));
                let mut line = format!(
                    "{}{gap} {:<NAME$} {}",
                    self.colours.paint(look, word),
                    check.name,
                    check.seen
                );
                if !check.advice.is_empty() {
                    line.push_str(&format!("\n{}→ {}", " ".repeat(STATUS + NAME + 2), check.advice));
                }
                line
            }
        };
        self.checks.push(check);
        self.output.line(line.as_bytes())
    }

    fn finish(mut self) -> Result<Exit, Failure> {
        let count = |health| self.checks.iter().filter(|check| check.health == health).count();
        let (failures, warnings) = (count(Health::Failure), count(Health::Warning));
        if self.json {
            let line = json!({"type": "openclaw_doctor", "ok": failures == 0, "checks": self.checks.len(),
                "warnings": warnings, "failures": failures});
            self.output.line(line.to_string().as_bytes())?;
        }
        Ok(if failures == 0 { Exit::Done } else { Exit::Failed })
    }
}
