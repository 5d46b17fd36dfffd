//! Which program is started: `agent.command`, or `codex`.
//!
//! `npm install @openai/codex` puts a Node.js script on the PATH, which starts the native binary as its child. That script
//! costs 40 MB, and killed it leaves the binary behind; so the binary itself is started, where npm has put it:
//! `@openai/codex-<platform>/vendor/<target>/bin/codex`, beside the script's package or within it. What lies around the
//! binary there belongs to it. Any other script is taken as it is.

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
    /// No program has this name.
    #[error(
        "no {name} on the PATH: install it (Codex: `npm install -g @openai/codex@0.169.0`), or give its path in agent.command"
    )]
    NotFound {
        /// The name.
        name: String,
    },
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

/// Where npm's script is in its package.
const NPM_SCRIPT: &str = "@openai/codex/bin/codex.js";

/// The program with the arguments that stand before the adapter's own. `path` is the agent's `PATH`.
pub fn find(command: Option<&[String]>, path: Option<&OsStr>) -> Result<Vec<OsString>, ProgramError> {
    let (name, arguments) = match command {
        None => ("codex", &[][..]),
        Some(command) => match command.split_first() {
            Some((name, arguments)) if !name.is_empty() => (name.as_str(), arguments),
            _ => return Err(ProgramError::Empty),
        },
    };
    // Whether a path leads to a program is seen when it is started.
    let program = if name.contains('/') {
        PathBuf::from(name)
    } else {
        on_the_path(name, path).ok_or_else(|| ProgramError::NotFound { name: name.to_owned() })?
    };
    let mut argv = vec![native(program)?.into_os_string()];
    argv.extend(arguments.iter().map(OsString::from));
    Ok(argv)
}

fn on_the_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    path.into_iter()
        .flat_map(std::env::split_paths)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// The binary instead of npm's script; any other program as it is.
fn native(program: PathBuf) -> Result<PathBuf, ProgramError> {
    match program.canonicalize() {
        Ok(script) if script.ends_with(NPM_SCRIPT) => native_beside(&script).ok_or(ProgramError::NoBinary { script }),
        _ => Ok(program),
    }
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
    fn the_command_of_the_configuration_keeps_its_arguments() {
        let command = ["/opt/wrapper".to_owned(), "codex".to_owned()];
        assert_eq!(find(Some(&command), None).unwrap(), ["/opt/wrapper", "codex"]);
        assert_eq!(find(Some(&[]), None), Err(ProgramError::Empty));
        assert_eq!(find(Some(&[String::new()]), None), Err(ProgramError::Empty));
        let missing = |command: Option<&[String]>| find(command, None).unwrap_err().to_string();
        assert!(missing(None).starts_with("no codex on the PATH"));
        assert!(missing(Some(&["wrapper".to_owned()])).starts_with("no wrapper on the PATH"));
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
            // Also where the configuration names the script.
            for name in ["codex".to_owned(), bin.join("codex").display().to_string()] {
                let found = find(Some(&[name, "-v".to_owned()]), Some(bin.as_os_str())).unwrap();
                assert_eq!(found, [native.as_os_str(), OsStr::new("-v")]);
            }
            fs::remove_dir_all(package.join(platform_package())).unwrap();
        }
    }

    #[test]
    fn another_script_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        program(&folder.path().join("codex"), "#!/bin/sh\nexec something-else\n");
        assert_eq!(
            on_path(folder.path()).unwrap(),
            [folder.path().join("codex").as_os_str()]
        );
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
