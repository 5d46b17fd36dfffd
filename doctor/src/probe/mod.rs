//! `codeswarm probe`: what the deployed program looks at for the doctor, on the login node and on a compute node. It prints
//! one JSON object and leaves nothing behind but the exchange folder, which `clean` removes.

pub mod endpoint;
pub mod exchange;
pub mod folder;
pub mod host;
pub mod workspace;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use codeswarm_mailbox::Mailbox;
use serde::Serialize;

use crate::facts::Ask;
use folder::Exchange;

/// Look at this machine for `codeswarm doctor`, which starts it on the cluster; nothing for people
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// What to look at
    #[command(subcommand)]
    pub what: What,
}

/// What a probe looks at.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum What {
    /// The workspace, from the login node
    Workspace(Root),
    /// Make the exchange folder; standard input says what the node is to look at
    Prepare(Place),
    /// The login node's end of the exchange
    Attend(Attend),
    /// The compute node's end of it
    Node(Place),
    /// Remove the exchange folder, and tell the end of a job's errors
    Clean(Clean),
}

/// The mailbox's root folder.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Root {
    /// The mailbox's root folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
}

/// An exchange folder.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Place {
    /// The mailbox's root folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// The exchange's name
    #[arg(long, value_name = "NAME", value_parser = folder::name)]
    pub exchange: String,
}

/// `probe attend`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Attend {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How long to wait for the node's words
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub seconds: u64,
}

/// `probe clean`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Clean {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// The job whose output goes, too
    #[arg(long, value_name = "JOB")]
    pub job_id: Option<codeswarm_protocol::JobId>,
}

impl Place {
    fn open(&self) -> Exchange {
        Exchange::of(&self.root, &self.exchange)
    }
}

/// Looks, and prints what was seen.
pub fn run(args: &Args) -> ExitCode {
    let told = match &args.what {
        What::Workspace(place) => print(&workspace::look(&Mailbox::at(&place.root))),
        What::Prepare(place) => prepare(place),
        What::Attend(attend) => print(&exchange::attend(
            &attend.place.open(),
            Duration::from_secs(attend.seconds),
        )),
        What::Node(place) => exchange::node(&place.open()).and_then(|facts| print(&facts)),
        What::Clean(clean) => print(&clean.place.open().clean(clean.job_id.as_ref())),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _nobody_reads = writeln!(std::io::stderr(), "codeswarm probe: {why}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(place: &Place) -> Result<(), String> {
    let mut text = Vec::new();
    std::io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    let ask: Ask = serde_json::from_slice(&text).map_err(|error| format!("standard input: {error}"))?;
    print(&place.open().prepare(&ask)?)
}

fn print(facts: &impl Serialize) -> Result<(), String> {
    let line = serde_json::to_string(facts).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("standard output: {error}"))
}

/// This host's own name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
