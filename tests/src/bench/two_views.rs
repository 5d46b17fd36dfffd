//! One folder as two clients of a shared filesystem see it (`codeswarm-hostfs`): the router on one, workers on the other, and no
//! event of one reaches the other. In a mount namespace of its own, so that nothing is left mounted however this ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::usage::Killed;

/// The two views, as long as this value lives.
pub struct TwoViews {
    filesystem: Killed,
    folder: PathBuf,
}

impl TwoViews {
    /// Of `backing`; the views are made in `folder`.
    ///
    /// # Errors
    /// Why that cannot be had here.
    pub fn of(backing: &Path, folder: &Path) -> Result<Self, String> {
        let beside = std::env::current_exe().map(|program| program.with_file_name("codeswarm-hostfs"));
        let named = std::env::var_os("CODESWARM_HOSTFS").map(PathBuf::from);
        let program = named
            .or(beside.ok())
            .filter(|program| program.is_file())
            .ok_or("there is no codeswarm-hostfs beside this program")?;
        let views = Self::paths(folder);
        for view in &views {
            std::fs::create_dir(view).map_err(|error| format!("{}: {error}", view.display()))?;
        }
        let [login, compute] = views;
        let mut command = Command::new("unshare");
        command.arg("--mount").arg(program).arg("--backing").arg(backing);
        command.arg("--client").arg(format!("login={}", login.display()));
        command.arg("--client").arg(format!("compute={}", compute.display()));
        command.args(["--for", &std::process::id().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut filesystem = Killed(command.spawn().map_err(|error| format!("unshare: {error}"))?);
        let mut ready = String::new();
        let stdout = filesystem.0.stdout.take();
        let told = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut ready));
        match told {
            Some(Ok(_)) if ready == "ready\n" => Ok(Self {
                filesystem,
                folder: folder.to_owned(),
            }),
            _ => Err("mounting takes /dev/fuse, fusermount3 and root".to_owned()),
        }
    }

    fn paths(folder: &Path) -> [PathBuf; 2] {
        ["login", "compute"].map(|view| folder.join(view))
    }

    /// The router's view.
    pub fn login(folder: &Path) -> PathBuf {
        let [login, _] = Self::paths(folder);
        login
    }

    /// The workers' view.
    pub fn compute(&self) -> PathBuf {
        let [_, compute] = Self::paths(&self.folder);
        compute
    }

    /// The same command where the views are.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.filesystem.0.id()));
        inside.arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }
}
