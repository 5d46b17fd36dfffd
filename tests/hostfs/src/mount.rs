//! One mount: the kernel's requests, translated for the [`Host`]. It decides nothing but how the kernel's own caches are
//! kept from deciding: names have no life there, attributes that of the client's belief, and bytes none.

mod reply;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    MountOption, Notifier, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLock, ReplyOpen, ReplyStatfs, ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, Result};

use crate::faults::{Act, Op};
use crate::file::Loss;
use crate::host::names::Asker;
use crate::host::{Host, Seen};
use crate::settings::LockKind;
use reply::{attributes_of, errno_of, kind_of};

/// How many requests of a client can be under way.
const THREADS: usize = 16;

/// A client's mount.
pub struct Mounted {
    host: Arc<Host>,
    client: usize,
    notifier: Arc<OnceLock<Notifier>>,
    /// Listings that are being read, by their handle.
    listings: Mutex<Vec<Option<Vec<OsString>>>>,
}

/// Mounts a client; the kernel's requests are answered until the returned session ends.
pub fn mount(host: &Arc<Host>, client: usize, at: &Path) -> std::io::Result<fuser::BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("codeswarm-hostfs".to_owned()),
        MountOption::DefaultPermissions,
    ];
    if rustix::process::geteuid().is_root() {
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(THREADS);
    let notifier = Arc::new(OnceLock::new());
    let mounted = Mounted {
        host: Arc::clone(host),
        client,
        notifier: Arc::clone(&notifier),
        listings: Mutex::default(),
    };
    let session = fuser::spawn_mount(mounted, at, &config)?;
    let _ = notifier.set(session.notifier());
    Ok(session)
}

impl Mounted {
    /// Does what is asked for, unless something goes wrong.
    fn asked<T>(&self, op: Op, ino: u64, name: Option<&OsStr>, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.host.decide(self.client, op, ino, name) {
            None | Some(Act::Half) => act(),
            Some(Act::Fail(error, _)) => Err(errno_of(error)),
            Some(Act::Happen(error)) => act().and(Err(errno_of(error))),
            Some(Act::Stall(time)) => {
                std::thread::sleep(time);
                act()
            }
        }
    }

    /// fsync(2) and close(2): only what was written can fail.
    fn sync(&self, op: Op, ino: u64) -> Result<()> {
        if !self.host.is_dirty(self.client, ino) {
            self.host.sync(self.client, ino);
            return Ok(());
        }
        match self.host.decide(self.client, op, ino, None) {
            Some(Act::Fail(error, loss)) => {
                self.host.fail_sync(self.client, ino, loss);
                Err(errno_of(error))
            }
            Some(Act::Happen(error)) => {
                self.host.fail_sync(self.client, ino, Loss::Nothing);
                Err(errno_of(error))
            }
            other => {
                if let Some(Act::Stall(time)) = other {
                    std::thread::sleep(time);
                }
                self.host.sync(self.client, ino);
                Ok(())
            }
        }
    }

    /// The kernel is to ask for attributes again, for `open` has asked the server.
    fn forget_attributes(&self, ino: INodeNo) {
        if let Some(notifier) = self.notifier.get() {
            let _ = notifier.inval_inode(ino, -1, 0);
        }
    }

    fn asker(&self, request: &Request) -> Asker {
        Asker {
            client: self.client,
            uid: request.uid(),
            gid: request.gid(),
        }
    }

    /// Programs are read and mapped by the kernel, all other bytes pass by it.
    fn how_opened(stat: &rustix::fs::Stat) -> FopenFlags {
        if stat.st_mode & 0o111 == 0 {
            FopenFlags::FOPEN_DIRECT_IO
        } else {
            FopenFlags::empty()
        }
    }
}

fn entry(reply: ReplyEntry, outcome: Result<Seen>) {
    match outcome {
        Ok(seen) => {
            let attributes = attributes_of(&seen.stat);
            reply.entry_with_ttls(&seen.believed_for, &Duration::ZERO, &attributes, Generation(0));
        }
        Err(error) => reply.error(reply::error(error)),
    }
}

fn attributes(reply: ReplyAttr, outcome: Result<Seen>) {
    match outcome {
        Ok(seen) => reply.attr(&seen.believed_for, &attributes_of(&seen.stat)),
        Err(error) => reply.error(reply::error(error)),
    }
}

fn empty(reply: ReplyEmpty, outcome: Result<()>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(reply::error(error)),
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        if self.host.settings().locks != LockKind::Local {
            let missing = config.add_capabilities(InitFlags::FUSE_FLOCK_LOCKS);
            missing.map_err(|_| std::io::Error::other("this kernel leaves no flock(2) to a FUSE filesystem"))?;
        }
        // Large appends come in few pieces, as an NFS client's own cache takes them.
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let find = || self.host.lookup(self.client, parent.0, name);
        entry(reply, self.asked(Op::Lookup, parent.0, Some(name), find));
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.host.forget(self.client, ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let ask = || self.host.attributes(self.client, ino.0);
        attributes(reply, self.asked(Op::Attributes, ino.0, None, ask));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || {
            if let Some(size) = size {
                self.host.cut(self.client, ino.0, size)?;
            }
            self.host.change(self.client, ino.0, |path| {
                if let Some(mode) = mode {
                    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
                }
                if uid.is_some() || gid.is_some() {
                    let (uid, gid) = (uid.map(rustix::fs::Uid::from_raw), gid.map(rustix::fs::Gid::from_raw));
                    rustix::fs::chownat(CWD, path, uid, gid, AtFlags::empty())?;
                }
                if atime.is_some() || mtime.is_some() {
                    let times = Timestamps {
                        last_access: time_of(atime),
                        last_modification: time_of(mtime),
                    };
                    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?;
                }
                Ok(())
            })?;
            self.host.attributes(self.client, ino.0)
        };
        attributes(reply, self.asked(Op::Change, ino.0, None, change));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.host.read_link(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let asker = self.asker(request);
        let make = || self.host.make_folder(asker, parent.0, name, mode & !umask);
        entry(reply, self.asked(Op::Create, parent.0, Some(name), make));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let asker = self.asker(request);
        let make = || self.host.link_to(asker, parent.0, name, target);
        entry(reply, self.asked(Op::Create, parent.0, Some(name), make));
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let asker = self.asker(request);
        let make = || self.host.link(asker, ino.0, parent.0, name);
        entry(reply, self.asked(Op::Create, parent.0, Some(name), make));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || self.host.remove(self.client, parent.0, name, false);
        empty(reply, self.asked(Op::Remove, parent.0, Some(name), remove));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || self.host.remove(self.client, parent.0, name, true);
        empty(reply, self.asked(Op::Remove, parent.0, Some(name), remove));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            self.host
                .rename(self.client, (parent.0, name), (to.0, to_name), flags.bits())
        };
        empty(reply, self.asked(Op::Rename, parent.0, Some(name), rename));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.asked(Op::Open, ino.0, None, || self.host.open(self.client, ino.0)) {
            Ok(stat) => {
                self.forget_attributes(ino);
                reply.opened(FileHandle(0), Self::how_opened(&stat));
            }
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = OFlags::from_bits_retain(flags.cast_unsigned());
        let (asker, new) = (self.asker(request), flags.contains(OFlags::EXCL));
        let make = || {
            let seen = self.host.create(asker, parent.0, name, mode & !umask, new)?;
            if flags.contains(OFlags::TRUNC) {
                self.host.cut(self.client, seen.stat.st_ino, 0)?;
            }
            Ok(seen)
        };
        match self.asked(Op::Create, parent.0, Some(name), make) {
            // One life for name and attributes is all that the reply has room for.
            Ok(seen) => reply.created(
                &Duration::ZERO,
                &attributes_of(&seen.stat),
                Generation(0),
                FileHandle(0),
                Self::how_opened(&seen.stat),
            ),
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || self.host.read(self.client, ino.0, offset, u64::from(size));
        match self.asked(Op::Read, ino.0, None, read) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let appends = OFlags::from_bits_retain(flags.0.cast_unsigned()).contains(OFlags::APPEND);
        let place = (!appends).then_some(offset);
        let write = |bytes: &[u8]| {
            let taken = self.host.write(self.client, ino.0, place, bytes);
            taken.map(|()| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
        };
        let outcome = match self.host.decide(self.client, Op::Write, ino.0, None) {
            None => write(data),
            Some(Act::Half) => write(&data[..data.len().div_ceil(2)]),
            Some(Act::Fail(error, _)) => Err(errno_of(error)),
            Some(Act::Happen(error)) => write(data).and(Err(errno_of(error))),
            Some(Act::Stall(time)) => {
                std::thread::sleep(time);
                write(data)
            }
        };
        match outcome {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        empty(reply, self.sync(Op::Close, ino.0));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(owner) = owner {
            self.host.flock(self.client, ino.0, owner.0, None);
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.sync(Op::Sync, ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.asked(Op::Attributes, ino.0, None, || Ok(())));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.asked(Op::List, ino.0, None, || self.host.list(self.client, ino.0)) {
            Ok(names) => {
                let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
                let free = listings.iter().position(Option::is_none);
                let handle = free.unwrap_or_else(|| {
                    listings.push(None);
                    listings.len() - 1
                });
                listings[handle] = Some(names);
                reply.opened(FileHandle(handle as u64), FopenFlags::empty());
            }
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let names = {
            let listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
            let listing = usize::try_from(handle.0).ok().and_then(|handle| listings.get(handle));
            listing.cloned().flatten().unwrap_or_default()
        };
        let themselves = [".", ".."].map(OsString::from);
        for (name, place) in themselves.iter().chain(&names).zip(1_u64..).skip(skip) {
            // What has gone since is in the listing all the same, as a file that nothing is known of.
            let (number, mode) = self.host.listed(ino.0, name).unwrap_or((u64::MAX, 0o100_000));
            if reply.add(INodeNo(number), place, kind_of(mode), name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = usize::try_from(handle.0)
            .ok()
            .and_then(|handle| listings.get_mut(handle))
        {
            *listing = None;
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.host.space() {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                u32::try_from(space.f_bsize).unwrap_or(4096),
                255,
                u32::try_from(space.f_frsize).unwrap_or(4096),
            ),
            Err(error) => reply.error(reply::error(error)),
        }
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        reply.error(reply::error(Errno::NOLCK));
    }

    fn setlk(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        _: u64,
        _: u64,
        kind: i32,
        _: u32,
        waits: bool,
        reply: ReplyEmpty,
    ) {
        // The kinds of fcntl(2) on Linux: F_RDLCK 0, F_WRLCK 1, F_UNLCK 2.
        let exclusive = match kind {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        if self.host.settings().locks == LockKind::Absent && exclusive.is_some() {
            return reply.error(reply::error(Errno::NOLCK));
        }
        let (host, client) = (Arc::clone(&self.host), self.client);
        if host.flock(client, ino.0, owner.0, exclusive) {
            return reply.ok();
        }
        if !waits {
            return reply.error(reply::error(Errno::AGAIN));
        }
        // The requests of this mount go on meanwhile.
        std::thread::spawn(move || {
            while !host.flock(client, ino.0, owner.0, exclusive) {
                std::thread::sleep(Duration::from_millis(10));
            }
            reply.ok();
        });
    }
}

fn time_of(time: Option<TimeOrNow>) -> Timespec {
    let special = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    match time {
        None => special(rustix::fs::UTIME_OMIT),
        Some(TimeOrNow::Now) => special(rustix::fs::UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(0),
                tv_nsec: since.subsec_nanos().into(),
            }
        }
    }
}
