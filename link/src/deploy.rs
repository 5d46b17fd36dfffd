//! Bringing the follower's program to the login node, once.
//!
//! The copy is named by its content, so that versions live beside each other, a job that runs keeps the program it was started
//! with, and what is there under its name is whole: it is written under a name of its own and renamed when its size and its
//! checksum are right. Two routers that copy at once write the same.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::platform::Platform;
use crate::run::RunError;
use crate::session::{Session, system};
use crate::trouble::{STATIC_BUILD, Trouble, TroubleKind, of_program, shortened};

/// Which program is the follower there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binary {
    /// The site has installed one at this path.
    Installed(String),
    /// A copy of this file of ours, below the mailbox's root.
    Deploy {
        /// A `codeswarm` for the login node's platform.
        file: PathBuf,
    },
}

/// How long a question to the login node may take.
const ASK: Duration = Duration::from_secs(30);

/// How long a copy may take: 20 MB over a slow uplink.
const COPY: Duration = Duration::from_secs(600);

/// What is there. The answer's line is marked, since a login shell may print others before it.
const LOOK: &str = r#"if [ -f "$0" ] && [ -s "$0" ]; then echo "codeswarm-link: there $(uname -sm)"; else echo "codeswarm-link: lacking $(uname -sm)"; fi"#;

/// Takes the file from standard input. Arguments: folder, name, size, sha256, a word that is ours alone.
const TAKE: &str = r#"LC_ALL=C; export LC_ALL; umask 077; mkdir -p "$0" && cd "$0" || exit 73; find . -name ".tmp.*" -mtime +1 -exec rm -f {} + 2>/dev/null; t=".tmp.$4"; cat > "$t" && s=$(wc -c < "$t") && h=$(sha256sum < "$t" 2>/dev/null | cut -c1-64); if [ "${s:-0}" -ne "$2" ] || [ "${h:-$3}" != "$3" ]; then echo "codeswarm-link: ${s:-0} of $2 bytes arrived whole" >&2; rm -f "$t"; exit 74; fi; chmod 700 "$t" && mv -f "$t" "$1"; r=$?; rm -f "$t"; exit $r"#;

/// A program file of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    file: PathBuf,
    sha256: String,
    platform: Platform,
}

impl Program {
    /// Reads the file: what it is for, and what its name will be.
    pub(crate) async fn read(file: &Path) -> Result<(Self, Vec<u8>), Trouble> {
        let file = file.to_owned();
        tokio::task::spawn_blocking(move || read(&file))
            .await
            .map_err(|error| system(&error.to_string()))?
    }

    /// Its path on the login node.
    pub(crate) fn path_below(&self, root: &str) -> String {
        format!("{}/{}", folder(root), self.name())
    }

    fn name(&self) -> String {
        let hash = self.sha256.get(..16).unwrap_or(&self.sha256);
        format!("codeswarm-{}-{hash}", codeswarm_protocol::VERSION)
    }
}

fn folder(root: &str) -> String {
    format!("{}/bin", root.trim_end_matches('/'))
}

pub(crate) fn read(file: &Path) -> Result<(Program, Vec<u8>), Trouble> {
    let cannot = |what: String| {
        Trouble::new(
            TroubleKind::ProgramFile,
            format!("the program to be copied to the login node, {}, {what}", file.display()),
            format!("install codeswarm on the cluster and set cluster.remote_binary, or {STATIC_BUILD}"),
        )
    };
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|mut opened| opened.read_to_end(&mut bytes))
        .map_err(|error| cannot(format!("cannot be read: {error}")))?;
    let platform = Platform::of_elf(&bytes).ok_or_else(|| cannot("is no program for Linux".into()))?;
    let digest = Sha256::digest(&bytes);
    let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let program = Program {
        file: file.to_owned(),
        sha256,
        platform,
    };
    Ok((program, bytes))
}

impl Session {
    /// Sees to it that the program is on the login node, below `root`, and answers its path there. One that is installed is
    /// taken to be there. That it starts is known when it is started.
    ///
    /// # Errors
    /// The file here, the platform there, or its storage.
    pub async fn deploy(&self, root: &str, binary: &Binary) -> Result<String, Trouble> {
        let file = match binary {
            Binary::Installed(path) => return Ok(path.clone()),
            Binary::Deploy { file } => file,
        };
        let (program, bytes) = Program::read(file).await?;
        let path = program.path_below(root);
        if self.lacks(&program, &path).await? {
            self.copy(&program, root, bytes).await?;
        }
        Ok(path)
    }

    /// Whether the program is not there yet.
    async fn lacks(&self, program: &Program, path: &str) -> Result<bool, Trouble> {
        let call = shell(LOOK, &[path], Vec::new());
        let answer = self.run(&call, ASK).await.map_err(|error| self.unknown(error))?;
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        let marked = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("codeswarm-link: "));
        let read = marked.and_then(|line| line.split_once(' ')).and_then(|(what, uname)| {
            let platform = Platform::of_uname(uname)?;
            Some((what == "lacking", platform))
        });
        let Some((lacking, theirs)) = read else {
            let said = format!("{said}\n{}", String::from_utf8_lossy(&answer.stderr));
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
            return Err(Trouble::new(
                TroubleKind::NoGreeting,
                format!("the shell on {} answers strangely: {}", self.alias(), shortened(last)),
                format!("`ssh {} uname -sm` must print the platform", self.alias()),
            ));
        };
        if theirs != program.platform {
            return Err(Trouble::new(
                TroubleKind::WrongPlatform,
                format!(
                    "{} is {theirs}, and {} is a program for {}",
                    self.alias(),
                    program.file.display(),
                    program.platform
                ),
                format!("build codeswarm for {theirs} and install it there (cluster.remote_binary)"),
            ));
        }
        Ok(lacking)
    }

    async fn copy(&self, program: &Program, root: &str, bytes: Vec<u8>) -> Result<(), Trouble> {
        let (size, unique) = (bytes.len().to_string(), uuid::Uuid::new_v4().simple().to_string());
        let arguments = [&folder(root), &program.name(), &size, &program.sha256, &unique];
        let call = shell(TAKE, &arguments.map(String::as_str), bytes);
        let answer = self.run(&call, COPY).await.map_err(|error| self.unknown(error))?;
        if answer.exit_code == 0 {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&answer.stderr);
        let what = format!("{}/{}", folder(root), program.name());
        let storage = of_program(self.alias(), &what, &words).filter(|trouble| trouble.kind == TroubleKind::Storage);
        Err(storage.unwrap_or_else(|| {
            let line = words
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("it said nothing");
            Trouble::new(
                TroubleKind::Storage,
                format!("{what} could not be written on {}: {}", self.alias(), shortened(line)),
                "is cluster.workspace_root a folder that you may write to there, with room in it?",
            )
        }))
    }

    fn unknown(&self, error: RunError) -> Trouble {
        match error {
            RunError::NotConnected { trouble, .. } => trouble,
            other => Trouble::new(
                TroubleKind::Unknown,
                format!("{} could not be prepared: {other}", self.alias()),
                "it is tried again",
            ),
        }
    }
}

fn shell(script: &str, arguments: &[&str], stdin: Vec<u8>) -> Call {
    let words = ["-c", script].into_iter().chain(arguments.iter().copied());
    Call {
        program: "sh".into(),
        arguments: words.map(str::to_owned).collect(),
        stdin,
    }
}
