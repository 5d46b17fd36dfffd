//! The same program below the mailbox's root where this machine is the login node: no connection, the same name.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::deploy::{Binary, read};
use crate::trouble::{Trouble, TroubleKind};

/// Sees to it that the program is below `root`, which this machine shares with the compute nodes, and answers its path.
///
/// # Errors
/// The file cannot be read, or the folder not be written.
pub fn deploy_here(root: &Path, binary: &Binary) -> Result<String, Trouble> {
    let file = match binary {
        Binary::Installed(path) => return Ok(path.clone()),
        Binary::Deploy { file } => file,
    };
    let (program, bytes) = read(file)?;
    let path = program.path_below(&root.to_string_lossy());
    let is_there = fs::metadata(&path).is_ok_and(|there| there.is_file() && there.len() == bytes.len() as u64);
    if !is_there {
        copy(Path::new(&path), &bytes).map_err(|error| {
            Trouble::new(
                TroubleKind::Storage,
                format!("{path} could not be written: {error}"),
                "make room there, or install codeswarm and set cluster.remote_binary",
            )
        })?;
    }
    Ok(path)
}

fn copy(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".tmp.{}", uuid::Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_copied_once_and_named_by_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let file = std::env::current_exe().unwrap();
        let binary = Binary::Deploy { file: file.clone() };
        let path = deploy_here(root.path(), &binary).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&file).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(deploy_here(root.path(), &binary).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first);
        assert_eq!(fs::read_dir(root.path().join("bin")).unwrap().count(), 1);
        let installed = Binary::Installed("/opt/codeswarm".to_owned());
        assert_eq!(deploy_here(root.path(), &installed).unwrap(), "/opt/codeswarm");
    }
}
