//! `openclaw install|doctor|uninstall`: what OpenClaw must be told so that its agents can use swarms.
//!
//! What is to be changed is decided without I/O ([`wanted`], [`plan`], [`checks`]); [`program`] asks OpenClaw's own command, which knows its
//! configuration. This must never read or write that configuration itself, nor talk to a router.

mod checks;
mod diff;
mod doctor;
mod install;
mod plan;
mod program;
mod record;
mod uninstall;
mod wanted;

use std::io::{self, BufRead, IsTerminal, Write};

use crate::args::Options;
use crate::args::openclaw::{Consent, OpenClaw, What};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Does what was asked for; `before` stood before the command.
pub async fn run(args: OpenClaw, before: Options) -> Result<Exit, Failure> {
    let before = args.options.over(before);
    match args.what {
        What::Install(args) => {
            let options = args.options.clone().over(before);
            install::install(&args, &options).await
        }
        What::Doctor(args) => {
            let options = args.options.clone().over(before);
            doctor::doctor(&args, &options).await
        }
        What::Uninstall(args) => {
            let options = args.options.clone().over(before);
            uninstall::uninstall(&args, &options).await
        }
    }
}

/// Whether `--json` was given, before the command or behind it.
pub fn is_json(args: &OpenClaw, before: &Options) -> bool {
    let mine = match &args.what {
        What::Install(args) => &args.options,
        What::Doctor(args) => &args.options,
        What::Uninstall(args) => &args.options,
    };
    mine.json || args.options.json || before.json
}

/// Whether the changes may be made. Who cannot be asked must have said it.
fn agreed(consent: Consent, json: bool) -> Result<bool, Failure> {
    if consent.yes || consent.dry_run {
        return Ok(consent.yes);
    }
    if json || !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "nobody can be asked whether these changes may be made, so nothing was changed",
            "say --yes to make them, or --dry-run to see them",
        ));
    }
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "Make these changes? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let heard = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    heard.map_err(|error| Failure::new(Exit::Failed, format!("no answer could be read: {error}"), "say --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Shows changes to a person.
fn show(output: &mut Output, head: &str, changes: &[plan::Change]) -> Result<(), Failure> {
    let mut text = format!("{head}\n");
    for change in changes {
        text.push_str(&format!("\n{}\n", change.place));
        text.push_str(&diff::lines(change.before.as_deref(), change.after.as_deref()));
    }
    output.write(text.as_bytes())
}
