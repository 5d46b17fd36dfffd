//! The hostile filesystem itself, through real mounts: what tests stand on must have the vices that they count on.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use codeswarm_tests::hostfs::HostFs;
use codeswarm_tests::requires;
use codeswarm_tests::workspace::wait_until;
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, inotify};
use rustix::io::Errno;
use tempfile::TempDir;

/// So long that nothing that is believed ends within a test.
const FOR_EVER: &str = "100000";

/// Two clients of one folder, mounted where only their own process sees it.
struct Mounts {
    folder: TempDir,
    process: Child,
    control: HostFs,
}

impl Mounts {
    fn new(hostfs: &Path, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["server", "a", "b"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut process = Command::new("unshare")
            .arg("--mount")
            .arg(hostfs)
            .args(["--backing", &at("server"), "--control", &at("control")])
            .args(["--client", &format!("a={}", at("a"))])
            .args(["--client", &format!("b={}", at("b"))])
            .args(["--for", &std::process::id().to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n");
        Self {
            control: HostFs::at(&folder.path().join("control")),
            folder,
            process,
        }
    }

    /// Where everything is believed for ever, so that only what asks is fresh.
    fn that_believe(hostfs: &Path) -> Self {
        let options = ["--attributes-seconds", FOR_EVER, "--names-seconds", FOR_EVER];
        Self::new(hostfs, &options)
    }

    fn at(&self, client: &str, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        let folder = self.folder.path().strip_prefix("/").unwrap();
        root.join(folder).join(client).join(path)
    }

    fn server(&self, path: &str) -> PathBuf {
        self.folder.path().join("server").join(path)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn fresh_size(path: &Path) -> u64 {
    rustix::fs::statx(CWD, path, AtFlags::STATX_FORCE_SYNC, StatxFlags::SIZE)
        .unwrap()
        .stx_size
}

fn errno<T: std::fmt::Debug>(outcome: std::io::Result<T>) -> Errno {
    Errno::from_io_error(&outcome.unwrap_err()).unwrap()
}

fn append_to(path: &Path) -> File {
    File::options().create(true).append(true).read(true).open(path).unwrap()
}

#[test]
fn a_write_is_its_clients_own_until_it_is_synced() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::new(&hostfs, &["--attributes-seconds", "0", "--names-seconds", "0"]);
    let mut writer = append_to(&mounts.at("a", "f"));
    writer.write_all(b"one\n").unwrap();
    assert_eq!(size(&mounts.at("a", "f")), 4);
    assert_eq!(size(&mounts.at("b", "f")), 0);
    assert_eq!(std::fs::read(mounts.at("b", "f")).unwrap(), b"");
    writer.sync_data().unwrap();
    assert_eq!(std::fs::read(mounts.at("b", "f")).unwrap(), b"one\n");
    writer.write_all(b"two\n").unwrap();
    drop(writer);
    assert_eq!(
        std::fs::read(mounts.at("b", "f")).unwrap(),
        b"one\ntwo\n",
        "close flushes"
    );
    assert_eq!(std::fs::read(mounts.server("f")).unwrap(), b"one\ntwo\n");
}

#[test]
fn a_size_is_believed_until_open_or_force_sync_asks() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::that_believe(&hostfs);
    std::fs::write(mounts.at("a", "f"), "one\n").unwrap();
    let reader = File::open(mounts.at("b", "f")).unwrap();
    let mut text = [0; 100];
    assert_eq!(reader.read_at(&mut text, 0).unwrap(), 4);
    append_to(&mounts.at("a", "f")).write_all(b"two\n").unwrap();
    assert_eq!(size(&mounts.at("b", "f")), 4);
    assert_eq!(
        reader.read_at(&mut text, 0).unwrap(),
        4,
        "nothing beyond the size that it believes"
    );
    assert_eq!(fresh_size(&mounts.at("b", "f")), 8);
    assert_eq!(reader.read_at(&mut text, 0).unwrap(), 8);
    append_to(&mounts.at("a", "f")).write_all(b"three\n").unwrap();
    assert_eq!(size(&mounts.at("b", "f")), 8);
    let again = File::open(mounts.at("b", "f")).unwrap();
    assert_eq!(again.metadata().unwrap().len(), 14, "open asks");
    mounts.control.assert_told(&["stale_sizes"]);
}

#[test]
fn a_name_is_believed_to_be_there_and_not_to_be_there() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::that_believe(&hostfs);
    std::fs::create_dir(mounts.at("a", "d")).unwrap();
    std::fs::create_dir(mounts.at("a", "archive")).unwrap();
    std::fs::write(mounts.at("a", "d/old"), "old").unwrap();
    assert!(!mounts.at("b", "archive/old").exists());
    assert_eq!(size(&mounts.at("b", "d/old")), 3);
    std::fs::rename(mounts.at("a", "d/old"), mounts.at("a", "archive/old")).unwrap();
    assert!(!mounts.at("a", "d/old").exists());
    assert_eq!(
        fresh_size(&mounts.at("b", "d/old")),
        3,
        "the file is, and had that name"
    );
    assert!(!mounts.at("b", "archive/old").exists());
    let listing = std::fs::read_dir(mounts.at("b", "d")).unwrap().count();
    assert_eq!(listing, 0, "the first listing asks");
    std::fs::write(mounts.at("a", "d/new"), "new").unwrap();
    assert_eq!(std::fs::read_dir(mounts.at("b", "d")).unwrap().count(), 0);
    // Who changes a folder that another has changed hears of it.
    std::fs::write(mounts.at("b", "archive/other"), "").unwrap();
    assert!(mounts.at("b", "archive/old").exists());
    mounts.control.assert_told(&["stale_names", "stale_absences"]);
}

#[test]
fn a_file_that_another_client_removes_is_stale_and_ones_own_is_not() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::that_believe(&hostfs);
    std::fs::write(mounts.at("a", "f"), "text").unwrap();
    let (own, other) = (
        File::open(mounts.at("a", "f")).unwrap(),
        File::open(mounts.at("b", "f")).unwrap(),
    );
    std::fs::remove_file(mounts.at("a", "f")).unwrap();
    let mut text = String::new();
    (&own).read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    let asked = rustix::fs::statx(
        &other,
        "",
        AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC,
        StatxFlags::SIZE,
    );
    assert_eq!(asked.map(|stat| stat.stx_size), Err(Errno::STALE));
    assert!(!mounts.at("b", "f").exists(), "the name is looked up again");
}

#[test]
fn appends_of_two_clients_overwrite_each_other() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::new(&hostfs, &["--attributes-seconds", "0", "--names-seconds", "0"]);
    let mut one = append_to(&mounts.at("a", "f"));
    let mut other = append_to(&mounts.at("b", "f"));
    one.write_all(b"11111").unwrap();
    other.write_all(b"222").unwrap();
    one.sync_data().unwrap();
    other.sync_data().unwrap();
    assert_eq!(std::fs::read(mounts.server("f")).unwrap(), b"22211");
}

#[test]
fn what_goes_wrong_is_commanded_and_a_failed_sync_forgets() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::new(&hostfs, &[]);
    let mut file = append_to(&mounts.at("a", "f"));
    mounts.control.command("fail a sync ENOSPC times=1 path=f");
    file.write_all(b"lost\n").unwrap();
    assert_eq!(errno(file.sync_data()), Errno::NOSPC);
    file.sync_data().unwrap();
    assert_eq!(std::fs::read(mounts.server("f")).unwrap(), b"");
    mounts.control.command("fail a write EDQUOT times=1");
    assert_eq!(errno(file.write(b"no\n")), Errno::DQUOT);
    mounts.control.command("half a times=1");
    assert_eq!(file.write(b"1234").unwrap(), 2);
    mounts.control.command("fail a close EIO times=1");
    // std ignores what close(2) says; the bytes are gone all the same.
    drop(file);
    assert_eq!(std::fs::read(mounts.server("f")).unwrap(), b"");
    mounts.control.command("fail all rename EIO happens times=1");
    let renamed = std::fs::rename(mounts.at("b", "f"), mounts.at("b", "g"));
    assert_eq!(errno(renamed), Errno::IO);
    assert!(mounts.server("g").exists() && !mounts.server("f").exists());
    mounts.control.command("fail b altering EROFS");
    assert_eq!(errno(File::create(mounts.at("b", "h"))), Errno::ROFS);
    File::create(mounts.at("a", "h")).unwrap();
    mounts.control.heal();
    File::create(mounts.at("b", "i")).unwrap();
}

#[test]
fn no_event_goes_from_one_client_to_the_other() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::new(&hostfs, &[]);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, mounts.at("b", ""), inotify::WatchFlags::CREATE).unwrap();
    let heard = || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
        inotify::Reader::new(&watch, &mut buffer).next().is_ok()
    };
    std::fs::write(mounts.at("a", "f"), "").unwrap();
    assert!(!heard());
    std::fs::write(mounts.at("b", "g"), "").unwrap();
    assert!(heard());
}

#[test]
fn flock_is_local_absent_or_coherent() {
    let Some(hostfs) = requires::hostfs() else { return };
    let expected = [
        ("local", Ok(()), Err(Errno::WOULDBLOCK), Ok(())),
        ("absent", Err(Errno::NOLCK), Err(Errno::NOLCK), Err(Errno::NOLCK)),
        ("coherent", Ok(()), Err(Errno::WOULDBLOCK), Err(Errno::WOULDBLOCK)),
    ];
    for (kind, first, same_client, other_client) in expected {
        let mounts = Mounts::new(&hostfs, &["--locks", kind, "--names-seconds", "0"]);
        let open = |client: &str| append_to(&mounts.at(client, "f"));
        let lock = |file: &File| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
        let held = open("a");
        assert_eq!(lock(&held), first, "{kind}");
        assert_eq!(lock(&open("a")), same_client, "{kind}");
        assert_eq!(lock(&open("b")), other_client, "{kind}");
        drop(held);
        if first.is_ok() {
            // The kernel tells of a closed file when it comes to it.
            wait_until("the lock to end with its file", || {
                lock(&open("b")).map_err(|error| format!("{kind}: {error}"))
            });
        }
    }
}

#[test]
fn a_program_that_one_client_installs_runs_at_the_other() {
    let Some(hostfs) = requires::hostfs() else { return };
    let mounts = Mounts::new(&hostfs, &["--names-seconds", "0"]);
    std::fs::copy(&hostfs, mounts.at("a", "program")).unwrap();
    let output = Command::new(mounts.at("b", "program"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"codeswarm-hostfs"), "{output:?}");
}
