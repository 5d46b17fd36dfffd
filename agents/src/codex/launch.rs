//! Starting Codex: its own home with its configuration, the program, the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::codex::config::config_toml;
use crate::codex::driver::{CodexDriver, CodexSettings};
use crate::codex::program;
use crate::environment::{agent_environment, api_key};
use crate::home;
use crate::launch::{Launch, LaunchError};
use crate::process::ProcessPlan;
use crate::session::SessionSpec;

/// The adapter's arguments. With `--strict-config` a wrong configuration ends Codex at once instead of being passed over.
const ARGUMENTS: [&str; 4] = ["app-server", "--listen", "stdio://", "--strict-config"];

/// Writes the home, puts the thread's file back, and plans the process. The home is there already.
pub fn prepare(spec: &SessionSpec, inherited: &BTreeMap<OsString, OsString>) -> Result<Launch, LaunchError> {
    let agent = &spec.agent;
    let mut environment = agent_environment(agent, inherited)?;
    let api_key = api_key(agent, inherited)?;
    let path = environment.get(&OsString::from("PATH"));
    let mut argv = program::find(agent.command.as_deref(), path.map(OsString::as_os_str))?;
    argv.extend(ARGUMENTS.map(OsString::from));
    let config = config_toml(&agent.config)?;
    home::write_private(&spec.home.join("config.toml"), config.as_bytes())?;
    if let Some(thread_id) = &spec.resume {
        home::restore(&spec.keep, &spec.home, thread_id)?;
    }
    environment.insert("CODEX_HOME".into(), spec.home.clone().into());
    let driver = CodexDriver::new(CodexSettings {
        agent: agent.clone(),
        cwd: spec.cwd.display().to_string(),
        resume: spec.resume.clone(),
        api_key,
    });
    Ok(Launch {
        driver: Box::new(driver),
        process: Some(ProcessPlan {
            argv,
            environment,
            cwd: spec.cwd.clone(),
        }),
    })
}
