//! What a swarm is launched with, for workers whose job has no number yet when it is written: `launch/<SWARM>.json`.

use std::io::Write;

use codeswarm_protocol::SwarmId;

use crate::error::MailboxError;
use crate::layout::Mailbox;
use crate::open::{self, How};

/// Writes a swarm's launch file in the place of one that is there: whole and durable, or not at all. A reader meanwhile
/// finds the old one or the new one.
pub fn write(mailbox: &Mailbox, swarm: &SwarmId, data: &[u8]) -> Result<(), MailboxError> {
    let folder = mailbox.launch_folder();
    mailbox.make_folder(&folder)?;
    let path = mailbox.swarm_launch_file(swarm);
    // One router holds the mailbox, so nobody else writes this name.
    let unfinished = folder.join(format!("{swarm}.new"));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(MailboxError::io("remove", &unfinished)(error));
        }
        _ => {}
    }
    let mut file = open::open(&unfinished, How::New(mailbox.access().file_mode()))?;
    file.write_all(data).map_err(MailboxError::io("write", &unfinished))?;
    file.sync_all().map_err(MailboxError::io("sync", &unfinished))?;
    drop(file);
    open::rename(&unfinished, &path).map_err(MailboxError::io("rename", &unfinished))?;
    open::sync_folder(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_file_is_replaced_whole_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let here = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(here.path().join("root"));
        mailbox.create().unwrap();
        let swarm = SwarmId::new("s-1").unwrap();
        write(&mailbox, &swarm, b"one").unwrap();
        std::fs::write(mailbox.launch_folder().join("s-1.new"), "left by a crash").unwrap();
        write(&mailbox, &swarm, b"two").unwrap();
        let path = mailbox.swarm_launch_file(&swarm);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(mailbox.launch_folder()).unwrap().count(), 1);
    }
}
