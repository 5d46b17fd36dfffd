//! The end of an outbox: everything synced, the file closed, then its name moved from `outbox/` to `archive/`.

use std::io;
use std::path::Path;

use codeswarm_protocol::Place;

use crate::append::{AppendError, LineFile};
use crate::error::MailboxError;
use crate::layout::Mailbox;

/// Archives the outbox that `file` writes; its last record is in it. After an error the outbox may still be under its
/// old name, whole and readable; calling [`rename_to_archive`] again is safe.
pub fn archive(mailbox: &Mailbox, mut file: LineFile, place: &Place) -> Result<(), AppendError> {
    file.sync()?;
    drop(file);
    rename_to_archive(mailbox, place)?;
    Ok(())
}

/// The rename alone, for an outbox that is closed. Nothing happens if it has happened.
pub fn rename_to_archive(mailbox: &Mailbox, place: &Place) -> Result<(), MailboxError> {
    rename_by(mailbox, place, |from, to| mailbox.storage().rename(from, to))
}

pub(crate) fn rename_by(
    mailbox: &Mailbox,
    place: &Place,
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), MailboxError> {
    let (outbox, archive) = (mailbox.outbox(place), mailbox.archive(place));
    move_by(mailbox, &outbox, &archive, rename)
}

/// Moves a file to a name that must be free, or hold an empty file. A rename that reports a failure may have happened
/// (rename(2), on NFS): so both names are looked at afterwards.
pub(crate) fn move_by(
    mailbox: &Mailbox,
    from: &Path,
    to: &Path,
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), MailboxError> {
    let fresh = mailbox.filesystem().is_network();
    let size = |path: &Path| {
        mailbox
            .storage()
            .size(path, fresh)
            .map_err(MailboxError::io("look at", path))
    };
    let is_same = |one: &Path, other: &Path| {
        let same = mailbox.storage().is_same_file(one, other);
        same.map_err(MailboxError::io("look at", one))
    };
    let moved = match (size(from)?, size(to)?) {
        (None, Some(_)) => return Ok(()),
        // It has happened, and the old name is only remembered: no file of ours has two.
        (Some(_), Some(_)) if is_same(from, to)? => return Ok(()),
        (Some(_), Some(bytes)) if bytes > 0 => {
            return Err(MailboxError::Both {
                outbox: from.to_owned(),
                archive: to.to_owned(),
            });
        }
        _ => rename(from, to),
    };
    if let Err(error) = moved {
        // That there is no such name is the server's word, and it is only so if an earlier rename had happened; the new name
        // may not be seen for a minute yet (nfs(5), lookupcache). It can also be a folder that is missing: then the old one is
        // still there.
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        if size(from)?.is_some() || !(is_gone || size(to)?.is_some()) {
            return Err(MailboxError::io("rename to or from the archive", from)(error));
        }
    }
    for folder in [mailbox.archive_folder(), mailbox.outbox_folder()] {
        mailbox.storage().sync_folder(&folder)?;
    }
    Ok(())
}
