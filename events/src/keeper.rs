//! The files of a consumer: its cursor, and the lock that lets one process at a time tell it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codeswarm_client::exit::Exit;
use codeswarm_client::failure::Failure;
use rustix::fs::{FlockOperation, flock};

use crate::consumer::ConsumerName;
use crate::cursor::Cursor;

/// One whose reader has gone lets go within this; whoever comes next has often been started by the same hand.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the lock is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The files of one consumer, which nobody else has as long as this lives.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    file: PathBuf,
    temporary: PathBuf,
    _lock: File,
}

impl Keeper {
    /// Takes the consumer, and reads its cursor, if it has one.
    ///
    /// # Errors
    /// Another process has it, or its files cannot be used. Nothing was changed.
    pub fn open(state_dir: &Path, name: &ConsumerName) -> Result<(Self, Option<Cursor>), Failure> {
        let folder = state_dir.join("consumers");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| unusable(&folder, &error))?;
        let lock = take_lock(&folder.join(format!("{name}.lock")), name)?;
        let keeper = Self {
            file: folder.join(format!("{name}.json")),
            temporary: folder.join(format!("{name}.json.tmp")),
            folder,
            _lock: lock,
        };
        let cursor = keeper.read()?;
        Ok((keeper, cursor))
    }

    fn read(&self) -> Result<Option<Cursor>, Failure> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&self.file, &error)),
        };
        Cursor::read(&text).map(Some).map_err(|why| {
            Failure::new(
                Exit::Cursor,
                format!("{} is no cursor: {why}", self.file.display()),
                "put the file back as it was, or move it away to let the consumer begin anew; nothing was told and nothing changed",
            )
        })
    }

    /// Keeps a cursor: when this returns it outlives a loss of power, and at no moment is there half of one.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn keep(&self, cursor: &Cursor) -> Result<(), Failure> {
        let kept = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&self.temporary)?;
            file.write_all(&cursor.write()?)?;
            file.sync_all()?;
            std::fs::rename(&self.temporary, &self.file)?;
            File::open(&self.folder)?.sync_all()
        };
        kept().map_err(|error| unusable(&self.file, &error))
    }
}

fn take_lock(file: &Path, name: &ConsumerName) -> Result<File, Failure> {
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| unusable(file, &error))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(&mut lock, name)),
            Err(error) => return Err(unusable(file, &error.into())),
        }
    }
    let named = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| write!(lock, "{}", std::process::id()));
    named.map_err(|error| unusable(file, &error))?;
    Ok(lock)
}

fn held(lock: &mut File, name: &ConsumerName) -> Failure {
    let mut holder = String::new();
    // It may not have written its number yet.
    let _ = lock.read_to_string(&mut holder);
    let by = match holder.parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    };
    Failure::new(
        Exit::Held,
        format!("{by} follows as consumer {name:?} already", name = name.as_str()),
        "end that one first, or choose another --consumer name: each name is told everything once",
    )
}

fn unusable(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Cursor,
        format!("cannot use {}: {error}", file.display()),
        "the consumers' cursors are kept in router.state_dir; look at the disk and at who owns that folder",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Mark;

    fn name() -> ConsumerName {
        "ci".parse().unwrap()
    }

    #[test]
    fn a_cursor_is_kept_whole_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, none) = Keeper::open(folder.path(), &name()).unwrap();
        assert_eq!(none, None);
        let mut cursor = Cursor::new(vec!["s-1".parse().unwrap()], None);
        cursor.intend([&Mark::Node(
            codeswarm_protocol::Place::from_stem("7_00").unwrap(),
            "3.1".parse().unwrap(),
        )]);
        keeper.keep(&cursor).unwrap();
        drop(keeper);
        // What a death in the middle of writing leaves is nobody's cursor.
        std::fs::write(folder.path().join("consumers/ci.json.tmp"), b"{\"ver").unwrap();
        let (_keeper, read) = Keeper::open(folder.path(), &name()).unwrap();
        assert_eq!(read, Some(cursor));
    }

    #[test]
    fn the_second_is_told_who_is_first_and_another_name_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = Keeper::open(folder.path(), &name()).unwrap();
        let failure = Keeper::open(folder.path(), &name()).unwrap_err();
        assert_eq!(failure.exit, Exit::Held);
        assert!(
            failure.what.contains(&format!("process {}", std::process::id())),
            "{failure}"
        );
        Keeper::open(folder.path(), &"other".parse().unwrap()).unwrap();
        drop(first);
        Keeper::open(folder.path(), &name()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_cursor_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("consumers/ci.json");
        std::fs::create_dir(folder.path().join("consumers")).unwrap();
        for text in [
            "",
            "{}",
            "{\"version\":2,\"swarms\":[],\"told\":{}}",
            "{\"version\":1,\"swarms\":[],\"told\":{\"nodes\":{\"x\":1}}}",
        ] {
            std::fs::write(&file, text).unwrap();
            let failure = Keeper::open(folder.path(), &name()).unwrap_err();
            assert_eq!(failure.exit, Exit::Cursor, "{text}");
            assert!(failure.what.contains("consumers/ci.json is no cursor"), "{failure}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("consumers"), b"").unwrap();
        let failure = Keeper::open(folder.path(), &name()).unwrap_err();
        assert_eq!(failure.exit, Exit::Cursor);
        assert!(failure.what.contains("consumers"), "{failure}");
    }
}
