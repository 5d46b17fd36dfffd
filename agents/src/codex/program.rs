//! Which program is started: `agent.command`, or the native binary of the Codex that is on the PATH.
//!
//! `npm install @openai/codex` puts a Node.js script on the PATH, which starts the native binary as its child. That script
//! costs 40 MB, and killed it leaves the binary behind; so the binary itself is started, where npm has put it:
//! `@openai/codex-<platform>/vendor/<target>/bin/codex`, beside the script's package or within it. What lies around the
//! binary there belongs to it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// No program was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// `agent.command` is there and empty.
    #[error("agent.command is empty: name the program, or leave the key out")]
    Empty,
    /// Nothing is called `codex`.
    #[error(
        "no codex on the PATH: install it (`npm install -g @openai/codex@0.169.0`), or give its path in agent.command"
    )]
    NotFound,
    /// The script is there, its binary is not.
    #[error(
        "{} is npm's script, and no native binary for this machine lies in the packages beside it: \
         install it again on this platform, or give the binary's path in agent.command", script.display()
    )]
    NoBinary {
        /// The script.
        script: PathBuf,
    },
}

/// The program with the arguments that stand before the adapter's own. `path` is the agent's `PATH`.
pub fn find(command: Option<&[String]>, path: Option<&OsStr>) -> Result<Vec<OsString>, ProgramError> {
    if let Some(command) = command {
        if command.first().is_none_or(String::is_empty) {
            return Err(ProgramError::Empty);
        }
        return Ok(command.iter().map(OsString::from).collect());
    }
    let found = path
        .into_iter()
        .flat_map(std::env::split_paths)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("codex"))
        .find(|file| is_program(file))
        .ok_or(ProgramError::NotFound)?;
    let real = found.canonicalize().unwrap_or(found);
    if !is_script(&real) {
        return Ok(vec![real.into()]);
    }
    native_beside(&real)
        .map(|binary| vec![binary.into()])
        .ok_or(ProgramError::NoBinary { script: real })
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn is_script(file: &Path) -> bool {
    let mut beginning = [0; 2];
    File::open(file)
        .and_then(|mut file| file.read_exact(&mut beginning))
        .is_ok_and(|()| beginning == *b"#!")
}

/// The name of the platform's package, as npm calls machines.
fn platform_package() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        system => system,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        machine => machine,
    };
    format!("codex-{system}-{machine}")
}

fn native_beside(script: &Path) -> Option<PathBuf> {
    let package = platform_package();
    script.ancestors().find_map(|folder| {
        let within = folder.join("node_modules/@openai").join(&package);
        let beside = folder.join("@openai").join(&package);
        let vendored = folder.join("vendor");
        [within.join("vendor"), beside.join("vendor"), vendored]
            .into_iter()
            .find_map(|vendor| binary_in(&vendor))
    })
}

fn binary_in(vendor: &Path) -> Option<PathBuf> {
    fs::read_dir(vendor)
        .ok()?
        .flatten()
        .map(|target| target.path().join("bin/codex"))
        .find(|file| is_program(file) && !is_script(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(file: &Path, content: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn on_path(folder: &Path) -> Result<Vec<OsString>, ProgramError> {
        find(None, Some(folder.as_os_str()))
    }

    #[test]
    fn the_command_of_the_configuration_is_taken_as_it_is() {
        let command = ["wrapper".to_owned(), "codex".to_owned()];
        assert_eq!(find(Some(&command), None).unwrap(), ["wrapper", "codex"]);
        assert_eq!(find(Some(&[]), None), Err(ProgramError::Empty));
        assert_eq!(find(None, None), Err(ProgramError::NotFound));
    }

    #[test]
    fn npm_s_script_is_replaced_by_the_binary_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let modules = root.join("lib/node_modules/@openai");
        program(&modules.join("codex/bin/codex.js"), "#!/usr/bin/env node\n");
        let bin = root.join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(modules.join("codex/bin/codex.js"), bin.join("codex")).unwrap();
        assert!(matches!(on_path(&bin), Err(ProgramError::NoBinary { .. })));

        for package in [modules.clone(), modules.join("codex/node_modules/@openai")] {
            let native = package.join(platform_package()).join("vendor/some-target/bin/codex");
            program(&native, "\x7fELF");
            assert_eq!(on_path(&bin).unwrap(), [native.as_os_str()]);
            fs::remove_dir_all(package.join(platform_package())).unwrap();
        }
    }

    #[test]
    fn a_binary_on_the_path_is_taken_and_what_is_no_program_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/codex")).unwrap();
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("b/codex"), "text").unwrap();
        program(&root.join("c/codex"), "\x7fELF");
        let path = std::env::join_paths([root.join("a"), root.join("b"), root.join("c")]).unwrap();
        assert_eq!(find(None, Some(&path)).unwrap(), [root.join("c/codex").as_os_str()]);
    }
}
