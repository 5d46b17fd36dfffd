//! `openclaw`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Options;

/// `openclaw`.
#[derive(Debug, Args)]
pub struct OpenClaw {
    /// Options that stand before the next word.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What to do with OpenClaw.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Give OpenClaw's agents the tools of `codeswarm mcp` and the skill that teaches them; shows what it changes, and asks
    Install(Install),
    /// Check that OpenClaw has the tools and the skill, and reaches them
    Doctor(Check),
    /// Undo what install did, but for what was changed since
    Uninstall(Uninstall),
}

/// Which OpenClaw is meant.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// OpenClaw's program, if it is not on the PATH
    #[arg(long, value_name = "PROGRAM")]
    pub openclaw: Option<PathBuf>,
}

/// Whether to ask.
#[derive(Debug, Clone, Copy, Args)]
pub struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Only show what would change
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// `openclaw install`.
#[derive(Debug, Args)]
pub struct Install {
    /// Also an automation: when a turn of a swarm ends, OpenClaw's main session is told (its Gateway must run)
    #[arg(long)]
    pub automation: bool,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
    /// Which OpenClaw.
    #[command(flatten)]
    pub which: Which,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `openclaw doctor`.
#[derive(Debug, Args)]
pub struct Check {
    /// Which OpenClaw.
    #[command(flatten)]
    pub which: Which,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}

/// `openclaw uninstall`.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
    /// Which OpenClaw.
    #[command(flatten)]
    pub which: Which,
    /// The common options.
    #[command(flatten)]
    pub options: Options,
}
