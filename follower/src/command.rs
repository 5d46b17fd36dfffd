//! `codeswarm follower`: the arguments, and what they set going.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use codeswarm_mailbox::{LeaseError, WatchMode};
use codeswarm_protocol::doorbell::Listen;

use crate::config::{FollowerConfig, FollowerError};
use crate::lines::{self, PlainLines};
use crate::serve::{ServeError, serve};

/// Another follower holds the mailbox.
pub const EXIT_HELD: u8 = 3;

/// Follows the outboxes of a mailbox for a router, or prints the lines of a folder.
///
/// Exit status: 0 when the input ended, nobody reads the output any more, or nothing was heard for too long; 1 when
/// something failed, which standard error tells; 2 for wrong arguments; 3 when another follower holds the mailbox.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Speak frames on standard input and output about the mailbox in this folder (what a router asks for)
    #[arg(long, value_name = "DIR", required_unless_present = "lines")]
    root: Option<PathBuf>,

    /// Print all lines of the *.jsonl files in this folder as they grow, as a better `tail -F`
    #[arg(long, value_name = "DIR", conflicts_with = "root")]
    lines: Option<PathBuf>,

    /// How to learn that a file grew; auto polls where the filesystem is shared with other machines
    #[arg(long, value_enum, default_value_t = Watch::Auto)]
    watch: Watch,

    /// With --lines: print what is there already, then what comes (the default)
    #[arg(long, requires = "lines")]
    from_start: bool,

    /// With --lines: print only what comes
    #[arg(long, requires = "lines", conflicts_with = "from_start")]
    from_end: bool,

    /// With --lines: print what is there and end
    #[arg(long, requires = "lines", conflicts_with = "from_end")]
    once: bool,

    /// With --root: end when nothing was heard from the router for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ping_timeout: u64,

    /// While polling: look at files that turn out to have nothing new at most so often a second
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lookups_per_second: u32,

    /// With --root: where workers ring when their files have grown: auto (where files must be polled, at a port that the
    /// system gives), off, or an IP address with or without a port
    #[arg(long, value_name = "WHERE", default_value_t = Listen::Auto)]
    doorbell: Listen,
}

/// How to learn that a file grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Watch {
    /// By the kernel's events on a local filesystem, else by polling
    Auto,
    /// By the kernel's events, which do not tell what other machines do
    Inotify,
    /// By looking again and again
    Poll,
}

impl From<Watch> for WatchMode {
    fn from(watch: Watch) -> Self {
        match watch {
            Watch::Auto => Self::Auto,
            Watch::Inotify => Self::Inotify,
            Watch::Poll => Self::Poll,
        }
    }
}

/// Runs the command on this process's standard input and output; standard error gets a sentence when it fails.
pub fn run(args: Args) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each of these errors names its cause itself.
            eprintln!("codeswarm follower: {error}");
            match error.downcast_ref() {
                Some(ServeError::Start(FollowerError::Lease(LeaseError::Held { .. }))) => ExitCode::from(EXIT_HELD),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    let output = own(io::stdout())?;
    if let Some(folder) = args.lines {
        return Ok(lines::print(
            PlainLines {
                folder,
                watch: args.watch.into(),
                from_end: args.from_end,
                once: args.once,
                lookups_per_second: args.lookups_per_second,
            },
            output,
        )?);
    }
    let root = args
        .root
        .ok_or_else(|| anyhow::anyhow!("--root or --lines is needed"))?;
    let config = FollowerConfig {
        watch: args.watch.into(),
        lookups_per_second: args.lookups_per_second,
        doorbell: args.doorbell,
        ..FollowerConfig::at(root)
    };
    let ending = serve(
        config,
        Duration::from_secs(args.ping_timeout),
        own(io::stdin())?,
        output,
    )?;
    tracing::debug!(?ending, "the follower ends");
    Ok(())
}

/// A descriptor of our own beside the standard library's, which buffers.
fn own(stream: impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn without_a_folder_nothing_is_started() {
        assert!(Command::try_parse_from(["follower"]).is_err());
        let args = Command::try_parse_from(["follower", "--root", "/nowhere"]).map(|command| command.args);
        let args = Args {
            root: None,
            ..args.unwrap()
        };
        let told = start(args).unwrap_err().to_string();
        assert!(told.contains("--root or --lines"), "{told}");
    }
}
