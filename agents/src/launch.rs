//! From a session's specification to a driver and a process plan: the home is made, the thread's file is put back.

use std::collections::BTreeMap;
use std::ffi::OsString;

use codeswarm_protocol::launch::AgentKind;
use uuid::Uuid;

use crate::codex::{self, ConfigError, ProgramError};
use crate::driver::Driver;
use crate::echo::EchoDriver;
use crate::environment::EnvironmentError;
use crate::home::{self, HomeError};
use crate::process::ProcessPlan;
use crate::session::SessionSpec;
use crate::tree;

/// What a session runs on.
pub struct Launch {
    /// The agent's protocol.
    pub driver: Box<dyn Driver>,
    /// The process to start; none for an agent that is built in.
    pub process: Option<ProcessPlan>,
}

/// Why an agent cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The working directory is not one.
    #[error("the working directory {0} is not an absolute path to a folder")]
    Cwd(String),
    /// The disk refuses.
    #[error("the agent's home: {0}")]
    Home(#[from] HomeError),
    /// Something of an earlier agent is still there.
    #[error(
        "processes of an earlier agent on this node cannot be killed, and would work beside the new one: {0:?}; \
         they wait for something in the kernel, such as a filesystem that does not answer"
    )]
    LeftOver(Vec<i32>),
    /// There is no program.
    #[error("{0}")]
    Program(#[from] ProgramError),
    /// The agent's own configuration cannot be written.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The environment cannot be made.
    #[error("{0}")]
    Environment(#[from] EnvironmentError),
}

impl LaunchError {
    /// Whether the same may succeed later without anyone's help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Home(_) | Self::LeftOver(_))
    }
}

/// Prepares everything; blocks on the disk. `inherited` is the worker's environment.
pub fn prepare(spec: &SessionSpec, inherited: &BTreeMap<OsString, OsString>) -> Result<Launch, LaunchError> {
    if !spec.cwd.is_absolute() || !spec.cwd.is_dir() {
        return Err(LaunchError::Cwd(spec.cwd.display().to_string()));
    }
    home::make_private(&spec.home)?;
    match spec.agent.kind {
        AgentKind::Echo => Ok(echo(spec)),
        AgentKind::Codex => {
            let left = tree::kill_left_over(&spec.home);
            if !left.is_empty() {
                return Err(LaunchError::LeftOver(left));
            }
            codex::launch::prepare(spec, inherited)
        }
    }
}

fn echo(spec: &SessionSpec) -> Launch {
    let thread_id = match &spec.resume {
        Some(thread_id) => thread_id.clone(),
        None => format!("echo-{}", Uuid::now_v7().simple()),
    };
    Launch {
        driver: Box::new(EchoDriver::new(
            &spec.agent,
            thread_id,
            spec.resume.is_some(),
            &spec.cwd,
        )),
        process: None,
    }
}
