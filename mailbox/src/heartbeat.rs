//! One small file that says that a worker lives, written over in place: no name changes, so a heartbeat costs the
//! metadata server nothing but the file's own time.

use std::io;
use std::os::unix::fs::FileExt;

use codeswarm_protocol::Place;

use crate::error::MailboxError;
use crate::layout::Mailbox;
use crate::open::{self, How};

/// A heartbeat's size on the disk, in bytes: one write within one page, so that no reader sees half of it.
const BLOCK: usize = 1024;

/// Writes one JSON object of less than 1 KiB as this place's heartbeat.
pub fn write(mailbox: &Mailbox, place: &Place, json: &[u8]) -> Result<(), MailboxError> {
    let path = mailbox.heartbeat(place);
    if json.len() >= BLOCK {
        return Err(MailboxError::refused(
            &path,
            format!("a heartbeat of {} bytes is longer than {}", json.len(), BLOCK - 1),
        ));
    }
    let mut block = [b' '; BLOCK];
    block[..json.len()].copy_from_slice(json);
    block[BLOCK - 1] = b'\n';
    let file = open::open(&path, How::Create(mailbox.access().file_mode()))?;
    file.write_all_at(&block, 0).map_err(MailboxError::io("write", &path))?;
    if mailbox.filesystem().is_network() {
        file.sync_data().map_err(MailboxError::io("sync", &path))?;
    }
    Ok(())
}

/// Reads this place's heartbeat: the JSON text, or `None` if there is none yet (or it is just being written for the
/// first time).
pub fn read(mailbox: &Mailbox, place: &Place) -> Result<Option<Vec<u8>>, MailboxError> {
    let path = mailbox.heartbeat(place);
    let file = match open::open(&path, How::Read) {
        Ok(file) => file,
        Err(MailboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut block = vec![0; BLOCK];
    let length = file.read_at(&mut block, 0).map_err(MailboxError::io("read", &path))?;
    block.truncate(length);
    let text = block.trim_ascii();
    Ok((text.starts_with(b"{") && text.ends_with(b"}")).then(|| text.to_vec()))
}
