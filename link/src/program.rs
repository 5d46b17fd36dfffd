//! Whether a program is on the login node, starts and is ours. For checks: a link learns it when it starts its follower, and
//! the words are the same.

use std::path::Path;
use std::time::Duration;

use crate::call::Call;
use crate::channel::{Start, at_start, versions_differ};
use crate::deploy::Binary;
use crate::deploy_here::deploy_here;
use crate::login_node::LoginNode;
use crate::run::RunError;
use crate::session::system;
use crate::trouble::{Trouble, TroubleKind};

/// How long it may take to start.
const STARTING: Duration = Duration::from_secs(30);

/// The remote shell says what is missing in the words that a follower's start has for it.
const VERSION: &str = r#"if [ -x "$0" ] && [ -f "$0" ]; then exec "$0" --version; fi; if [ -e "$0" ]; then echo "codeswarm-link: not executable" >&2; else echo "codeswarm-link: missing" >&2; fi; exit 66"#;

impl LoginNode {
    /// Sees to it that the program is there, below `root`, and answers its path.
    ///
    /// # Errors
    /// As [`Session::deploy`](crate::Session::deploy) and [`deploy_here`] have them.
    pub async fn deploy(&self, root: &str, binary: &Binary) -> Result<String, Trouble> {
        match self.session() {
            Some(session) => session?.deploy(root, binary).await,
            None => {
                let (root, binary) = (root.to_owned(), binary.clone());
                tokio::task::spawn_blocking(move || deploy_here(Path::new(&root), &binary))
                    .await
                    .map_err(|error| system(&error.to_string()))?
            }
        }
    }

    /// Starts the program to hear its version, which must be this one.
    ///
    /// # Errors
    /// It is missing, does not start, or is of another version.
    pub async fn try_program(&self, program: &str) -> Result<(), Trouble> {
        let alias = match self.session() {
            Some(session) => session?.alias().to_owned(),
            None => "this machine".to_owned(),
        };
        let call = Call {
            program: "sh".into(),
            arguments: ["-c", VERSION, program].map(str::to_owned).into(),
            stdin: Vec::new(),
        };
        // A remote shell's 127 may be the program's own: its loader is missing.
        let answer = match self.run(&call, STARTING).await {
            Ok(answer) => answer,
            Err(RunError::NotConnected { trouble, .. }) => return Err(trouble),
            Err(RunError::NotFound { .. }) => {
                let stderr = format!("{program}: not found");
                return Err(start(&alias, program, 127, &stderr, ""));
            }
            Err(error) => {
                let (what, advice) = (error.to_string(), "it is tried again");
                return Err(Trouble::new(TroubleKind::Unknown, what, advice));
            }
        };
        let stdout = String::from_utf8_lossy(&answer.stdout);
        let version = stdout.lines().find_map(|line| line.trim().strip_prefix("codeswarm "));
        match version {
            Some(ours) if ours.trim() == codeswarm_protocol::VERSION => Ok(()),
            Some(theirs) => Err(versions_differ(program, theirs.trim(), &alias)),
            None => {
                let stderr = String::from_utf8_lossy(&answer.stderr);
                Err(start(&alias, program, answer.exit_code, &stderr, &stdout))
            }
        }
    }
}

fn start(alias: &str, program: &str, code: i32, stderr: &str, stdout: &str) -> Trouble {
    at_start(&Start {
        alias,
        program,
        code: Some(code),
        stderr,
        stdout,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_program_is_ours_or_is_told_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("codeswarm");
        let path = file.display().to_string();
        let here = LoginNode::here();
        let kind = async || here.try_program(&path).await.map_err(|trouble| trouble.kind);
        assert_eq!(kind().await, Err(TroubleKind::ProgramMissing));
        let script = |text: &str, mode| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        script(
            &format!("#!/bin/sh\necho codeswarm {}\n", codeswarm_protocol::VERSION),
            0o700,
        );
        assert_eq!(kind().await, Ok(()));
        script("#!/bin/sh\necho codeswarm 9.9.9\n", 0o700);
        let trouble = here.try_program(&path).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::VersionsDiffer);
        assert!(
            trouble.what.contains("9.9.9") && trouble.what.contains(&path),
            "{trouble}"
        );
        script("#!/no/such/loader\n", 0o700);
        assert!(kind().await.is_err());
        script("", 0o600);
        assert_eq!(kind().await, Err(TroubleKind::ProgramNotExecutable));
    }
}
