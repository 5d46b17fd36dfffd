//! `codeswarm worker`: the flags, the logs, and the exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use codeswarm_mailbox::{Access, FilesystemKind, Mailbox};

use crate::agent::Agent;
use crate::assignment::Assignment;
use crate::core::Settings;
use crate::error::{WorkerError, exit};
use crate::keep::Keeper;
use crate::node::{self, Home};
use crate::run::{self, Prepared, Purpose};
use crate::{launch_file, outbox};

/// Threads that may wait for the disk at once, the agent's included.
const DISK_THREADS: usize = 8;

/// Run one node's worker: it reads prompts from its inbox, runs them with its agent, and writes what happens to its outbox.
///
/// Slurm starts it through srun; then its place comes from the environment. It ends in order on SIGTERM and SIGINT.
///
/// Exit codes: 0 ended in order; 69 the launch was withdrawn, and nothing was done; 70 a fault of Codeswarm or the system; 75 may succeed later (the place is held by
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
    /// Keep one worker running below this process: start it again when it dies, until its fifth crash in a row, and say in
    /// its outbox when it is given up; what a Slurm job runs, since Slurm starts no task again
    #[arg(long)]
    pub keep: bool,
    /// The process that keeps this worker; when it is gone, the worker ends in order
    #[arg(long, value_name = "PID", hide = true, conflicts_with = "keep")]
    pub kept_by: Option<u32>,
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
    let ended = if args.keep { keep(args) } else { work(args) };
    match ended {
        Ok(code) => code.into(),
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

fn keep(args: &Args) -> Result<u8, WorkerError> {
    let assignment = Assignment::resolve(args, |name| std::env::var(name).ok())?;
    let mailbox = mailbox(args, &assignment);
    let runtime = runtime()?;
    let ended = runtime.block_on(async { Keeper::new(mailbox, assignment)?.run().await });
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

fn work(args: &Args) -> Result<u8, WorkerError> {
    if let Some(keeper) = args.kept_by {
        end_with(keeper)?;
    }
    let assignment = Assignment::resolve(args, |name| std::env::var(name).ok())?;
    if let Some(restarts) = &assignment.restarts {
        tracing::info!(restarts, "Slurm has restarted this job");
    }
    let mailbox = mailbox(args, &assignment);
    if let Err(error) = codeswarm_agents::adopt_orphans() {
        tracing::warn!(%error, "orphans of the agent cannot be adopted; some may outlive it");
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(run::run(move || prepare(mailbox, &assignment)));
    // A thread that hangs in a filesystem that does not answer must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(match ended? {
        "agent_unusable" => exit::CONFIGURATION,
        _ => exit::OK,
    })
}

/// Has the kernel tell this process to end when the thread that has started it ends (`PR_SET_PDEATHSIG`).
#[cfg(target_os = "linux")]
fn end_with(keeper: u32) -> Result<(), WorkerError> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| WorkerError::System {
        what: "a signal at the keeper's end",
        source: error.into(),
    })?;
    // It may have ended before the kernel was asked.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().cast_unsigned());
    if parent == Some(keeper) {
        Ok(())
    } else {
        Err(WorkerError::Unkept(keeper))
    }
}

/// This system does not tell; workers of a cluster are on Linux.
#[cfg(not(target_os = "linux"))]
fn end_with(_keeper: u32) -> Result<(), WorkerError> {
    Ok(())
}

fn mailbox(args: &Args, assignment: &Assignment) -> Mailbox {
    let access = if args.shared_with_group {
        Access::Group
    } else {
        Access::Owner
    };
    let mailbox = Mailbox::with_access(&assignment.root, access);
    match args.filesystem {
        Filesystem::Auto => mailbox,
        Filesystem::Local => mailbox.on(FilesystemKind::Local),
        Filesystem::Network => mailbox.on(FilesystemKind::Network("by --filesystem")),
    }
}

/// All on the thread that asks for it, but for waiting for the disk.
fn runtime() -> Result<tokio::runtime::Runtime, WorkerError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .map_err(|source| WorkerError::System {
            what: "a runtime",
            source,
        })
}

/// Takes the place and makes the folders. The outbox first: it is what tells that the place is free.
fn prepare(mailbox: Mailbox, assignment: &Assignment) -> Result<Prepared, WorkerError> {
    let place = assignment.place.clone();
    // First of all: a launch that was withdrawn, or a place where nothing was launched, is to be left as it is.
    let launch = launch_file::read(&mailbox, &place, assignment.launch.as_deref())?;
    mailbox.create()?;
    let (outbox, recovered) = outbox::take(&mailbox, &place)?;
    let cwd = node::working_directory(&mailbox, &place, launch.agents_md_content.as_deref())?;
    mailbox.make_folder(&mailbox.session_dir(&place))?;
    let home = Home::make(&std::env::temp_dir(), &place)?;
    if FilesystemKind::of(home.path()).is_ok_and(FilesystemKind::is_network) {
        tracing::warn!(home = %home.path().display(), "the agent's home is on a shared filesystem; set TMPDIR to a disk of this node");
    }
    let inbox_length = mailbox.inbox_length(&place)?;
    let keep = mailbox.session_dir(&place);
    Ok(Prepared {
        mailbox,
        place,
        settings: Settings::of(&launch),
        heartbeat: Duration::from_secs(launch.worker.heartbeat_seconds),
        purpose: Purpose::Work {
            agent: Box::new(Agent::new(launch.agent, cwd, home.path().to_owned(), keep)),
            home,
        },
        outbox,
        recovered,
        inbox_length,
    })
}
