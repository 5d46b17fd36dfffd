//! Reading parts of a file at given places, without moving a shared position and without filling buffers with zeros first.

use std::fs::File;
use std::io;

use crate::storage::ReadFile;

/// Reads `length` bytes from `offset`, fewer only at the end of the file.
pub(crate) fn read_range(file: &dyn ReadFile, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::with_capacity(length);
    file.read(&mut bytes, offset, length)?;
    Ok(bytes)
}

impl ReadFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, into: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        let before = into.len();
        into.reserve_exact(length);
        while into.len() < before + length {
            let place = offset + (into.len() - before) as u64;
            match rustix::io::pread(self, rustix::buffer::spare_capacity(into), place) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may have been more room than was asked for.
        into.truncate(before + length);
        Ok(())
    }

    fn forget_copy(&self, offset: u64) {
        // Only a hint, hence no error.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(self, offset, None, rustix::fs::Advice::DontNeed);
        #[cfg(not(target_os = "linux"))]
        let _ = offset;
    }
}

/// The place of the first newline in `from..to`.
pub(crate) fn find_newline(file: &dyn ReadFile, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut place = from;
    while place < to {
        let bytes = read_range(file, place, (to - place).min(1 << 20))?;
        if bytes.is_empty() {
            break;
        }
        if let Some(at) = memchr::memchr(b'\n', &bytes) {
            return Ok(Some(place + at as u64));
        }
        place += bytes.len() as u64;
    }
    Ok(None)
}
