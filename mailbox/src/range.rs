//! Reading parts of a file at given places, without moving a shared position and without filling buffers with zeros first.

use std::fs::File;
use std::io;

/// Reads `length` bytes from `offset`, fewer only at the end of the file.
pub(crate) fn read_range(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let place = offset + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), place) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// The place of the first newline in `from..to`.
pub(crate) fn find_newline(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
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

/// Asks the kernel to forget its copy, so that the next read asks the server. Only a hint, hence no error.
pub(crate) fn drop_cached_pages(file: &File, from: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, from, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from);
}
