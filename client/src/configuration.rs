//! Which configuration is meant, and which router is its router.

use std::path::{Path, PathBuf};

use codeswarm_configs::{Config, Environment};
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_router::endpoint::Endpoint;

use crate::background::RouterAddress;
use crate::exit::Exit;
use crate::failure::Failure;

/// What a configuration says to a client.
#[derive(Debug, Clone)]
pub struct Configured {
    /// Where its router is.
    pub router: RouterAddress,
    /// What it means by a swarm.
    pub swarm: SwarmSettings,
}

/// What goes along with a launch: the router that runs may have been started with an older text of the configuration.
#[derive(Debug, Clone)]
pub struct SwarmSettings {
    /// The agent.
    pub agent: AgentSpec,
    /// The workers.
    pub worker: WorkerSpec,
}

/// Reads a configuration, or the built-in one; `warn` is told what is probably not meant.
///
/// # Errors
/// It cannot be used; the failure says why, at its place.
pub fn read(file: Option<&Path>, warn: &mut dyn FnMut(&str)) -> Result<Configured, Failure> {
    let Some(file) = file else {
        return Ok(of(Config::local_default(&Environment::of_process())?, None));
    };
    let loaded = codeswarm_configs::load(file)?;
    for warning in &loaded.warnings {
        warn(&format!("warning: {warning}"));
    }
    let absolute = std::path::absolute(file)
        .map_err(|error| Failure::new(Exit::Config, format!("cannot find {}: {error}", file.display()), ""))?;
    Ok(of(loaded.config, Some(absolute)))
}

fn of(config: Config, file: Option<PathBuf>) -> Configured {
    let endpoint = Endpoint::for_state(&config.router.state_dir);
    let swarm = SwarmSettings {
        agent: config.agent,
        worker: config.worker,
    };
    Configured {
        router: RouterAddress { endpoint, config: file },
        swarm,
    }
}
