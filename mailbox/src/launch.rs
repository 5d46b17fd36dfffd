//! What a swarm is launched with, for workers whose job has no number yet when it is written: `launch/<SWARM>.json`.

use codeswarm_protocol::SwarmId;

use crate::error::MailboxError;
use crate::layout::Mailbox;
use crate::open;

/// Writes a swarm's launch file in the place of one that is there: whole and durable, or not at all. A reader meanwhile
/// finds the old one or the new one.
pub fn write(mailbox: &Mailbox, swarm: &SwarmId, data: &[u8]) -> Result<(), MailboxError> {
    let folder = mailbox.launch_folder();
    mailbox.make_folder(&folder)?;
    let path = mailbox.swarm_launch_file(swarm);
    // One router holds the mailbox, so nobody else writes this name.
    open::write_whole(&path, mailbox.access().file_mode(), data)
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
