//! The subcommand `codeswarm router`: its arguments, and the settings that follow from the configuration.

use std::ffi::OsString;
use std::process::ExitCode;

use codeswarm_configs::{Backend, Config};
use codeswarm_follower::FollowerConfig;
use codeswarm_protocol::event::ProviderInfo;

use crate::core::Settings;
use crate::endpoint::Endpoint;
use crate::serve::Options;
use crate::stdio::{Mode, RunError};

/// The most nodes of one swarm.
const MAX_NODES: u32 = 16_384;

/// What is asked of a router process.
#[derive(Debug)]
pub struct RouterCommand {
    /// The configuration.
    pub config: Config,
    /// What becomes of it when standard input ends.
    pub mode: Mode,
    /// The program and the first arguments that start a worker, such as `codeswarm worker`.
    pub worker_command: Vec<OsString>,
}

/// How long a router in the background stays without clients and without live swarms, unless the configuration says.
const IDLE_EXIT: std::time::Duration = std::time::Duration::from_secs(600);

/// Runs a router, or relays to the one that runs; the exit code is the process's.
pub async fn run(command: RouterCommand) -> Result<ExitCode, RunError> {
    let RouterCommand {
        config,
        mode,
        worker_command,
    } = command;
    let endpoint = Endpoint::for_state(&config.router.state_dir);
    let mut follower = FollowerConfig::at(config.mailbox_root());
    follower.watch = match config.cluster.watch {
        codeswarm_configs::Watch::Auto => codeswarm_mailbox::WatchMode::Auto,
        codeswarm_configs::Watch::Inotify => codeswarm_mailbox::WatchMode::Inotify,
        codeswarm_configs::Watch::Poll => codeswarm_mailbox::WatchMode::Poll,
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
    };
    let options = Options {
        settings,
        database: endpoint.database.clone(),
        follower,
        worker_command,
        idle_exit,
    };
    crate::stdio::run(options, endpoint, mode).await
}

fn providers(config: &Config) -> Vec<ProviderInfo> {
    match config.cluster.backend {
        Backend::Local => vec![ProviderInfo {
            name: "local".to_owned(),
            default: true,
            description: "workers as processes of this machine".to_owned(),
        }],
        Backend::Slurm(_) => Vec::new(),
    }
}
