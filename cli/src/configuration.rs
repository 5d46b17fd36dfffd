//! Which configuration is meant, and which router is its router.

use std::path::{Path, PathBuf};

use codeswarm_configs::{Config, Environment};
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_router::endpoint::Endpoint;

use crate::args::Options;
use crate::connection::background::RouterAddress;
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

/// Reads the configuration; `warn` is told what is probably not meant.
pub fn read(options: &Options, warn: &mut dyn FnMut(&str)) -> Result<Configured, Failure> {
    let Some(file) = &options.config else {
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

/// The options that reach the same router once more, as they are typed, with a blank before them.
pub fn to_repeat(options: &Options) -> String {
    options
        .config
        .as_deref()
        .map(|file| format!(" --config {}", quoted(file)))
        .unwrap_or_default()
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_repeated_as_a_shell_takes_it() {
        let repeat = |path: &str| {
            to_repeat(&Options {
                config: Some(path.into()),
                ..Options::default()
            })
        };
        assert_eq!(repeat("configs/local.json"), " --config configs/local.json");
        assert_eq!(repeat("my 'c'.json"), r" --config 'my '\''c'\''.json'");
        assert_eq!(to_repeat(&Options::default()), "");
    }
}
