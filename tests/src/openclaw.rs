//! The real OpenClaw with a home, state and configuration of its own, all in a workspace's folder, so that what it starts is ended with the
//! workspace. Its model is a [`ChatModel`]; it asks nobody outside this machine.
//!
//! Its command takes seconds, and many on a busy machine, so what waits for it has a patience of its own.

mod gateway;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chat_model::{CHAT_MODEL, ChatModel};
use crate::cli::{self, Output};
use crate::login_node;
use crate::workspace::Workspace;

pub use gateway::{Gateway, GatewayEnd};

/// How long something of OpenClaw may take.
pub const OPENCLAW_PATIENCE: Duration = Duration::from_secs(600);
/// The Gateway's token.
pub const TOKEN: &str = "loopback-token";

/// An OpenClaw that was never used before. Nothing of it runs until it is asked to.
pub struct OpenClaw<'a> {
    installed: PathBuf,
    workspace: &'a Workspace,
    folder: PathBuf,
    port: u16,
}

impl<'a> OpenClaw<'a> {
    /// `installed` is what [`requires::openclaw`](crate::requires::openclaw) returns.
    pub fn fresh(installed: &Path, workspace: &'a Workspace, model: &ChatModel) -> Self {
        Self::configured(installed, workspace, model, |_| ())
    }

    /// The same, with changes to its configuration.
    pub fn configured(
        installed: &Path,
        workspace: &'a Workspace,
        model: &ChatModel,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let folder = workspace.path().join("openclaw");
        for name in ["state", "agent"] {
            let made = std::fs::create_dir_all(folder.join(name));
            made.unwrap_or_else(|error| panic!("no folder {name} in {}: {error}", folder.display()));
        }
        let openclaw = Self {
            installed: installed.to_owned(),
            workspace,
            folder,
            port: login_node::free_port(),
        };
        let mut config = openclaw.usual_configuration(&model.base_url());
        change(&mut config);
        let file = openclaw.config_path();
        let written = std::fs::write(&file, format!("{config:#}\n"));
        written.unwrap_or_else(|error| panic!("{} cannot be written: {error}", file.display()));
        openclaw
    }

    fn usual_configuration(&self, model_url: &str) -> Value {
        let model = json!({"id": CHAT_MODEL, "name": "Mock", "reasoning": false, "input": ["text"],
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}, "contextWindow": 128_000, "maxTokens": 4096});
        json!({
            "agents": {"defaults": {"model": {"primary": format!("mock/{CHAT_MODEL}")}, "workspace": self.folder.join("agent")}},
            "models": {"mode": "merge", "providers": {"mock": {"baseUrl": model_url, "apiKey": "none",
                "api": "openai-completions", "models": [model]}}},
            "logging": {"file": self.folder.join("openclaw.log")},
            "gateway": {"mode": "local", "port": self.port, "bind": "loopback", "auth": {"mode": "token", "token": TOKEN}},
        })
    }

    /// The workspace in which it runs.
    pub fn workspace(&self) -> &'a Workspace {
        self.workspace
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.state_dir().join("openclaw.json")
    }

    /// Its configuration, as the file says it now.
    #[track_caller]
    pub fn config(&self) -> Value {
        let text =
            std::fs::read_to_string(self.config_path()).unwrap_or_else(|error| panic!("no configuration: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What its Gateway writes.
    fn log_path(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }

    /// The folder that its agents work in.
    pub fn agent_dir(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// The Gateway's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives a command the environment in which `openclaw` is found and is this one.
    pub fn set_environment(&self, command: &mut Command) {
        self.workspace.set_environment(command);
        let modules = self.installed.join("node_modules");
        let mut path = vec![modules.join(".bin"), modules.join("node/bin")];
        let given = std::env::var_os("PATH").unwrap_or_default();
        path.extend(std::env::split_paths(&given));
        let path = std::env::join_paths(path).unwrap_or_else(|error| panic!("no PATH: {error}"));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"OPENCLAW_") {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", path)
            .env("OPENCLAW_STATE_DIR", self.state_dir())
            .env("OPENCLAW_CONFIG_PATH", self.config_path())
            .env("OPENCLAW_NO_AUTO_UPDATE", "1")
            .env("OPENCLAW_DISABLE_BONJOUR", "1")
            .env("OPENCLAW_SKIP_CHANNELS", "1")
            .env("OPENCLAW_EXEC_SHELL_SNAPSHOT", "0")
            .env("NO_COLOR", "1");
    }

    /// `openclaw` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.installed.join("node_modules/.bin/openclaw"));
        self.set_environment(&mut command);
        command.args(arguments);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        cli::run_within(self.command(arguments), b"", OPENCLAW_PATIENCE)
    }

    /// Runs it with success, and returns the object that it prints.
    #[track_caller]
    pub fn run_json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments).success();
        let begin = output
            .stdout
            .find('{')
            .unwrap_or_else(|| panic!("no object: {output:#?}"));
        serde_json::from_str(&output.stdout[begin..]).unwrap_or_else(|error| panic!("{error}: {output:#?}"))
    }

    /// Runs `codeswarm` beside it, with the workspace's configuration, to its end.
    pub fn codeswarm(&self, arguments: &[&str]) -> Output {
        let mut command = self.workspace.command(arguments);
        self.set_environment(&mut command);
        cli::run_within(command, b"", OPENCLAW_PATIENCE)
    }

    /// Starts its Gateway, and waits until it serves.
    pub fn gateway(&self) -> Gateway<'_, 'a> {
        Gateway::start(self)
    }
}
