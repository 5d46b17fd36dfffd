//! Where lines go: a descriptor, usually a pipe.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

/// Why bytes did not get from a file into the output.
#[derive(Debug)]
pub enum CopyError {
    /// The file could not be read; [`io::ErrorKind::UnexpectedEof`] when it has become shorter meanwhile.
    File(io::Error),
    /// The output could not be written; [`io::ErrorKind::BrokenPipe`] when its reader has gone.
    Output(io::Error),
}

impl From<io::Error> for CopyError {
    /// Most of what fails is about the file.
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Bytes moved by one read and write where the kernel cannot move them by itself.
const BLOCK: usize = 256 * 1024;

/// The output. A writer blocks until the reader has taken everything; a descriptor that was handed over as
/// non-blocking is waited for.
pub struct Sink {
    out: OwnedFd,
    /// The kernel moves pages of a file into this output without a copy (Linux, into a pipe or a socket).
    moves_pages: bool,
    block: Vec<u8>,
}

impl Sink {
    /// An output. `copy_free` allows pages of a file to be handed on as they are, which is right where a file only ever
    /// grows and its pages are there when its size says so.
    pub fn new(out: OwnedFd, copy_free: bool) -> Self {
        let kind = rustix::fs::fstat(&out).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let streams = matches!(kind, Ok(FileType::Fifo | FileType::Socket));
        #[cfg(target_os = "linux")]
        if matches!(kind, Ok(FileType::Fifo)) {
            // Fewer changes between writer and reader; where it is refused, the pipe stays as it was.
            let _widened = rustix::pipe::fcntl_setpipe_size(&out, 1024 * 1024);
        }
        Self {
            out,
            moves_pages: copy_free && streams && cfg!(target_os = "linux"),
            block: Vec::new(),
        }
    }

    /// For whoever waits until the reader of this output has gone.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }

    /// Writes `length` bytes of `file` from `offset` on.
    ///
    /// # Errors
    /// What was moved before stays written.
    pub fn copy(&mut self, file: &File, mut offset: u64, length: u64) -> Result<(), CopyError> {
        let end = offset + length;
        #[cfg(target_os = "linux")]
        while self.moves_pages && offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
            match rustix::fs::sendfile(&self.out, file, Some(&mut offset), wanted) {
                Ok(0) => return Err(CopyError::File(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_writable(&self.out).map_err(CopyError::Output)?,
                Err(Errno::INVAL | Errno::NOSYS) => self.moves_pages = false,
                Err(error @ (Errno::PIPE | Errno::CONNRESET)) => return Err(CopyError::Output(error.into())),
                Err(error) => return Err(CopyError::File(error.into())),
            }
        }
        let mut block = std::mem::take(&mut self.block);
        let copied = self.copy_by_blocks(file, offset, end, &mut block);
        self.block = block;
        copied
    }

    fn copy_by_blocks(&self, file: &File, mut offset: u64, end: u64, block: &mut Vec<u8>) -> Result<(), CopyError> {
        while offset < end {
            block.resize(BLOCK, 0);
            let wanted = usize::try_from(end - offset).unwrap_or(BLOCK).min(BLOCK);
            let room = block.get_mut(..wanted).unwrap_or_default();
            let count = match file.read_at(room, offset) {
                Ok(0) => return Err(CopyError::File(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::File(error)),
            };
            write_all(&self.out, room.get(..count).unwrap_or_default()).map_err(CopyError::Output)?;
            offset += count as u64;
        }
        Ok(())
    }

    /// Gives the memory of the last copy back; for a time without work.
    pub fn rest(&mut self) {
        self.block = Vec::new();
    }
}

/// Writes all of `bytes`, also into a descriptor that does not block.
pub fn write_all(out: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&out, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(&out)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_writable(out: impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(&out, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
