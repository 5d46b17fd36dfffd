//! `codeswarm worker`: the flags, the logs, and the exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use codeswarm_mailbox::{Access, FilesystemKind, Mailbox};

use crate::assignment::Assignment;
use crate::error::{WorkerError, exit};
use crate::node::{self, Home};
use crate::run::{self, Prepared};
use crate::{launch_file, outbox};

/// Threads that may wait for the disk at once, the agent's included.
const DISK_THREADS: usize = 8;

/// Run one node's worker: it reads prompts from its inbox, runs them with its agent, and writes what happens to its outbox.
///
/// Slurm starts it through srun; then its place comes from the environment. It ends in order on SIGTERM and SIGINT.
///
/// Exit codes: 0 ended in order; 70 a fault of Codeswarm or the system; 75 may succeed later (the place is held by
/// another worker, the filesystem does not answer); 78 the configuration or the agent's installation must be changed first.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// The mailbox's root folder, <workspace_root>/<cluster_subdir> [default: $CODESWARM_ROOT]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The job [default: $SLURM_JOB_ID]
    #[arg(long, value_name = "JOB")]
    pub job_id: Option<String>,
    /// The task's rank in the job [default: $SLURM_PROCID]
    #[arg(long, value_name = "N")]
    pub node_id: Option<String>,
    /// The launch file [default: <root>/runs/<JOB>/launch.json]
    #[arg(long, value_name = "FILE")]
    pub launch: Option<PathBuf>,
    /// The mailbox's folders may be written by their group, whose members can then run code as this user
    #[arg(long)]
    pub shared_with_group: bool,
    /// What the mailbox is on: decides whether records are synced and whether the inbox is polled
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Filesystem::Auto)]
    pub filesystem: Filesystem,
}

/// What a mailbox can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Filesystem {
    /// As the system tells
    #[default]
    Auto,
    /// A disk of this machine
    Local,
    /// A filesystem that other machines write too
    Network,
}

/// Runs a worker to its end. Logs go to standard error (`RUST_LOG` chooses), nothing to standard output.
pub fn run(args: &Args) -> ExitCode {
    log_to_stderr();
    match work(args) {
        Ok("agent_unusable") => exit::CONFIGURATION.into(),
        Ok(_) => exit::OK.into(),
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code().into()
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    // Whoever has set up logs already (the `codeswarm` command may have) keeps them.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log on a full disk must not end the process: it would be complained about with `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

fn work(args: &Args) -> Result<&'static str, WorkerError> {
    let assignment = Assignment::resolve(args, |name| std::env::var(name).ok())?;
    if let Some(restarts) = &assignment.restarts {
        tracing::info!(restarts, "Slurm has restarted this job");
    }
    let access = if args.shared_with_group {
        Access::Group
    } else {
        Access::Owner
    };
    let mailbox = Mailbox::with_access(&assignment.root, access);
    let mailbox = match args.filesystem {
        Filesystem::Auto => mailbox,
        Filesystem::Local => mailbox.on(FilesystemKind::Local),
        Filesystem::Network => mailbox.on(FilesystemKind::Network("by --filesystem")),
    };
    if let Err(error) = codeswarm_agents::adopt_orphans() {
        tracing::warn!(%error, "orphans of the agent cannot be adopted; some may outlive it");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .map_err(|source| WorkerError::System {
            what: "a runtime",
            source,
        })?;
    let ended = runtime.block_on(run::run(move || prepare(mailbox, &assignment)));
    // A thread that hangs in a filesystem that does not answer must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

/// Takes the place and makes the folders. The outbox first: it is what tells that the place is free.
fn prepare(mailbox: Mailbox, assignment: &Assignment) -> Result<Prepared, WorkerError> {
    mailbox.create()?;
    let place = assignment.place.clone();
    let launch = launch_file::read(&mailbox, &place, assignment.launch.as_deref())?;
    let (outbox, recovered) = outbox::take(&mailbox, &place)?;
    let cwd = node::working_directory(&mailbox, &place, launch.agents_md_content.as_deref())?;
    mailbox.make_folder(&mailbox.session_dir(&place))?;
    let home = Home::make(&std::env::temp_dir(), &place)?;
    if FilesystemKind::of(home.path()).is_ok_and(FilesystemKind::is_network) {
        tracing::warn!(home = %home.path().display(), "the agent's home is on a shared filesystem; set TMPDIR to a disk of this node");
    }
    let inbox_length = std::fs::metadata(mailbox.inbox(&place)).map_or(0, |inbox| inbox.len());
    Ok(Prepared {
        mailbox,
        place,
        launch,
        cwd,
        home,
        outbox,
        recovered,
        inbox_length,
    })
}
