//! The subcommand `codeswarm router`: its arguments, its logs, and the settings that follow from the configuration.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use codeswarm_configs::{Backend, Config, ConfigError, Environment};
use codeswarm_follower::FollowerConfig;
use codeswarm_protocol::event::ProviderInfo;

use crate::cluster;
use crate::core::{Link, SLURM, Settings};
use crate::endpoint::Endpoint;
use crate::serve::{MailboxAt, Options};
use crate::stdio::{Mode, RunError};

/// The most nodes of one swarm.
const MAX_NODES: u32 = 16_384;

/// How long a router in the background stays without clients and without live swarms, unless the configuration says.
const IDLE_EXIT: std::time::Duration = std::time::Duration::from_secs(600);

/// Run the router: JSON lines on standard input and output, logs on standard error.
///
/// Commands come in on standard input, one JSON object a line, and events go out on standard output; docs/PROTOCOL.md
/// describes them. Without --daemon, standard input is a batch: the router follows what it caused to its end, and exits
/// with 1 if anything failed. It may be started any number of times: only one serves, the others are its clients.
///
/// Exit codes: 0 all went well; 1 a command was refused or a turn did not complete (without --daemon); 70 a fault of
/// Codeswarm or the system; 75 may succeed later; 78 the configuration must be changed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration; without one: local swarms on this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// For a program that keeps the router as a child: when standard input ends, it leaves within two seconds
    #[arg(long, conflicts_with = "background")]
    pub daemon: bool,
    /// Serve only the socket, and end after a while without clients and live swarms (how the CLI starts one)
    #[arg(long)]
    pub background: bool,
    /// More logs
    #[arg(long)]
    pub debug: bool,
}

/// Exit codes, after sysexits(3).
mod exit {
    pub const INTERNAL: u8 = 70;
    pub const TEMPORARY: u8 = 75;
    pub const CONFIGURATION: u8 = 78;
}

/// Runs a router, or relays to the one that runs. `worker_command` is the program that starts a worker, with its first
/// arguments.
pub fn run(args: &Args, worker_command: Vec<OsString>) -> ExitCode {
    log_to_stderr(args.debug);
    let config = match load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return exit::CONFIGURATION.into();
        }
    };
    let mode = match (args.daemon, args.background) {
        (true, _) => Mode::Daemon,
        (_, true) => Mode::Background,
        _ => Mode::Batch,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the system refused a runtime: {error}");
            return exit::INTERNAL.into();
        }
    };
    let (options, endpoint) = match options(config, mode, worker_command) {
        Ok(options) => options,
        Err(error) => {
            tracing::error!("{error}");
            return exit::CONFIGURATION.into();
        }
    };
    let ended = runtime.block_on(crate::stdio::run(options, endpoint, mode));
    // A thread that still waits for standard input must not keep the process.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        tracing::error!("{error}");
        match error {
            RunError::Silent { .. } | RunError::Serve(_) => exit::TEMPORARY.into(),
            RunError::Folder { .. } | RunError::Lock(_) | RunError::Listen(_) => exit::CONFIGURATION.into(),
            RunError::Pipes(_) => exit::INTERNAL.into(),
        }
    })
}

fn log_to_stderr(debug: bool) {
    let level = if debug { "debug" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    // Whoever has set up logs already keeps them.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log on a full disk must not end the process: it would be complained about with `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// The configuration in this file, or the one that is built in; warnings go to the log.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(file) = file else {
        return Config::local_default(&Environment::of_process());
    };
    let loaded = codeswarm_configs::load(file)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// A configuration that is whole, and cannot be used on this machine as it is.
#[derive(Debug, thiserror::Error)]
enum OptionsError {
    #[error(transparent)]
    Template(#[from] cluster::TemplateError),
    #[error(transparent)]
    Deploy(#[from] codeswarm_link::Trouble),
}

fn options(config: Config, mode: Mode, worker_command: Vec<OsString>) -> Result<(Options, Endpoint), OptionsError> {
    let endpoint = Endpoint::for_state(&config.router.state_dir);
    let root = config.mailbox_root();
    let watch = match config.cluster.watch {
        codeswarm_configs::Watch::Auto => codeswarm_mailbox::WatchMode::Auto,
        codeswarm_configs::Watch::Inotify => codeswarm_mailbox::WatchMode::Inotify,
        codeswarm_configs::Watch::Poll => codeswarm_mailbox::WatchMode::Poll,
    };
    let doorbell = config.cluster.doorbell;
    let follower = || FollowerConfig {
        watch,
        doorbell,
        ..FollowerConfig::at(&root)
    };
    let (mailbox, link, slurm) = match &config.cluster.backend {
        Backend::Local => (MailboxAt::Here(follower()), Link::here(String::new()), None),
        Backend::Slurm(cluster) => {
            let slurm = Some(cluster::slurm_settings(cluster, &root)?);
            let binary = cluster::binary(cluster, &worker_command);
            match &cluster.ssh {
                Some(ssh) => {
                    let login = cluster::login(ssh, &endpoint.runtime_dir);
                    let settings = cluster::link_settings(login, binary, &root, watch, doorbell);
                    (MailboxAt::Linked(settings), Link::not_yet(), slurm)
                }
                None => {
                    let binary = codeswarm_link::deploy_here(&root, &binary)?;
                    (MailboxAt::LoginNodeHere(follower()), Link::here(binary), slurm)
                }
            }
        }
    };
    let idle_exit = (mode == Mode::Background).then(|| config.router.idle_exit.unwrap_or(IDLE_EXIT));
    let settings = Settings {
        inject_timeout: config.router.inject_timeout,
        max_prompt_bytes: usize::try_from(config.router.max_prompt_bytes).unwrap_or(usize::MAX / 8),
        max_nodes: MAX_NODES,
        providers: providers(&config),
        agent: config.agent,
        worker: config.worker,
        pid: std::process::id(),
        slurm,
        link,
    };
    let options = Options {
        settings,
        database: endpoint.database.clone(),
        mailbox,
        worker_command,
        idle_exit,
    };
    Ok((options, endpoint))
}

fn providers(config: &Config) -> Vec<ProviderInfo> {
    match &config.cluster.backend {
        Backend::Local => vec![ProviderInfo {
            name: "local".to_owned(),
            default: true,
            description: "workers as processes of this machine".to_owned(),
        }],
        Backend::Slurm(cluster) => vec![ProviderInfo {
            name: SLURM.to_owned(),
            default: true,
            description: match &cluster.ssh {
                Some(ssh) => format!("workers as tasks of Slurm jobs, through ssh {}", ssh.login_alias),
                None => "workers as tasks of Slurm jobs, submitted on this machine".to_owned(),
            },
        }],
    }
}

#[cfg(test)]
mod tests {
    use codeswarm_configs::Watch;
    use codeswarm_mailbox::WatchMode;

    use super::*;

    #[test]
    fn the_configuration_says_how_the_mailbox_is_watched_and_how_long_a_router_idles() {
        let environment = Environment::of_process();
        let config = Config::local_default(&environment).unwrap();
        for (watch, expected) in [
            (Watch::Auto, WatchMode::Auto),
            (Watch::Inotify, WatchMode::Inotify),
            (Watch::Poll, WatchMode::Poll),
        ] {
            let mut config = config.clone();
            config.cluster.watch = watch;
            config.router.idle_exit = (watch == Watch::Poll).then_some(std::time::Duration::from_secs(7));
            for mode in [Mode::Daemon, Mode::Batch, Mode::Background] {
                let (options, endpoint) = options(config.clone(), mode, Vec::new()).unwrap();
                let MailboxAt::Here(follower) = options.mailbox else {
                    panic!("{:?}", options.mailbox)
                };
                assert_eq!((follower.watch, follower.root), (expected, config.mailbox_root()));
                assert_eq!(options.database, endpoint.database);
                let idles = (mode == Mode::Background).then(|| config.router.idle_exit.unwrap_or(IDLE_EXIT));
                assert_eq!(options.idle_exit, idles);
            }
        }
    }
}
