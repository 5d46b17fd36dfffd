//! How the command ends, for scripts. The numbers stand in `--help` and in docs/CLI.md; changing one is a breaking change.

use std::process::ExitCode;

/// The exit codes. The high ones are those of `sysexits.h` and of shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// What was asked for is done; all turns that were followed completed.
    Done,
    /// A turn failed or was interrupted, or the router refused the command.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The file with a consumer's cursor cannot be read or written.
    Cursor,
    /// Another process tells the same consumer.
    Held,
    /// Something that must not happen, happened in this program.
    Internal,
    /// A program of somebody else that this needs is not there.
    Absent,
    /// The router or the cluster was not reached, or the connection was lost for good.
    Unreachable,
    /// The configuration cannot be used.
    Config,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// Whoever read standard output went away.
    BrokenPipe,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cursor => 65,
            Self::Held => 69,
            Self::Internal => 70,
            Self::Absent => 72,
            Self::Unreachable => 75,
            Self::Config => 78,
            Self::Interrupted => 130,
            Self::BrokenPipe => 141,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The exit codes as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done; all turns that were followed completed
  1    a turn failed or was interrupted, or the router refused the command
  2    the command line is wrong
  65   the cursor of a consumer (events --consumer) cannot be read or written
  69   another process follows under the same consumer's name
  70   a fault of this program
  72   OpenClaw was not found, or does not run
  75   the router or the cluster was not reached, or the connection was lost for good
  78   the configuration cannot be used
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP)
  141  whoever read the output went away";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Cursor,
            Exit::Held,
            Exit::Internal,
            Exit::Absent,
            Exit::Unreachable,
            Exit::Config,
            Exit::Interrupted,
            Exit::BrokenPipe,
        ] {
            let line = format!("\n  {:<4} ", exit.code());
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
    }
}
