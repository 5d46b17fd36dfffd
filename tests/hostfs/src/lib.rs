//! A filesystem for tests that behaves as NFS clients do at their worst: several mounts of one folder, each a client with
//! caches of its own, in front of one server that is the folder itself.
//!
//! What a client sees at a moment is decided without I/O, by [`file::FileView`] (sizes, bytes, what is not synced yet),
//! [`folder::FolderView`] (names, and that there is none), [`faults::Faults`] (what goes wrong) and [`locks::Locks`];
//! they are handed the time and the server's words. `host` keeps them and the backing folder together, and `mount`
//! translates the kernel's requests. This room knows files and folders, and never what Codeswarm puts into them.
//!
//! The vices are those of nfs(5), open(2), rename(2) and write(2):
//!
//! - attributes are believed for a while; `open` asks afresh, and so does statx(2) with `AT_STATX_FORCE_SYNC`;
//! - names of a folder are believed for a while, also that there is no such name, and which names a listing has;
//! - a write stays with its client until it is synced or closed, or until it is old, and may come to the server later still;
//! - a file may grow before its bytes come: others read NULs meanwhile;
//! - a removed file is ESTALE to another client that has it open;
//! - appends of two clients overwrite each other;
//! - anything may fail, stall, or happen and be told as a failure, as a test commands or a seed decides.

pub mod extents;
pub mod faults;
pub mod file;
pub mod folder;
pub mod locks;
pub mod settings;

#[cfg(target_os = "linux")]
pub mod control;
#[cfg(target_os = "linux")]
pub mod host;
#[cfg(target_os = "linux")]
pub mod mount;
#[cfg(target_os = "linux")]
mod server;
