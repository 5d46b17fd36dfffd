//! Whether an inbox already has a prompt: how an append of unknown outcome is settled (promise P2).

use std::io;

use codeswarm_mailbox::{Mailbox, MailboxError};
use codeswarm_protocol::ids::{InjectionId, Place};
use serde::Deserialize;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// What is looked at of an inbox line. A `control` line may name an injection too, and is not that injection.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    injection_id: Option<String>,
}

/// Where the line of this prompt starts in the inbox. Lines that do not parse are none, and neither is a torn last line.
///
/// # Errors
/// The inbox cannot be read: what, where, what to do. An inbox that is not there has no prompt.
pub fn find(mailbox: &Mailbox, place: &Place, id: &InjectionId) -> Result<Option<u64>, String> {
    let path = mailbox.inbox(place);
    let trouble = |error: &dyn std::fmt::Display| {
        format!(
            "{} could not be searched for injection {id}, so it is not known whether it is there: {error}; it is safe to ask again",
            path.display()
        )
    };
    let file = match mailbox.storage().open_to_read(&path) {
        Ok(file) => file,
        Err(MailboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(trouble(&error)),
    };
    let needle = memchr::memmem::Finder::new(id.as_str());
    // What was read from `start` on and is not looked at yet.
    let (mut start, mut read) = (0_u64, Vec::new());
    loop {
        let had = read.len();
        file.read(&mut read, start + had as u64, CHUNK)
            .map_err(|error| trouble(&error))?;
        if read.len() == had {
            return Ok(None);
        }
        let mut passed = 0;
        while let Some(newline) = memchr::memchr(b'\n', &read[passed..]) {
            let line = &read[passed..=passed + newline];
            if needle.find(line).is_some() && is_prompt(line, id) {
                return Ok(Some(start + passed as u64));
            }
            passed += newline + 1;
        }
        read.drain(..passed);
        start += passed as u64;
    }
}

fn is_prompt(line: &[u8], id: &InjectionId) -> bool {
    serde_json::from_slice::<Named>(line)
        .is_ok_and(|named| named.kind == "user" && named.injection_id.as_deref() == Some(id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(inbox: &str, id: &str) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(root.path());
        let place = Place::from_stem("7_00").unwrap();
        let path = mailbox.inbox(&place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, inbox).unwrap();
        find(&mailbox, &place, &InjectionId::new(id).unwrap()).unwrap()
    }

    #[test]
    fn a_prompt_is_found_by_its_name_and_by_nothing_else() {
        let inbox = concat!(
            "{\"type\":\"user\",\"injection_id\":\"other\",\"content\":\"about \\\"injection_id\\\":\\\"one\\\"\"}\n",
            "{\"type\":\"control\",\"payload\":{\"type\":\"interrupt\",\"injection_id\":\"one\"}}\n",
            "{\"type\":\"control\",\"injection_id\":\"one\",\"payload\":{\"type\":\"interrupt\"}}\n",
            "\0\0\0one\n",
            "{\"type\":\"user\",\"injection_id\":\"one\",\"content\":\"torn and en\n",
            "{\"type\":\"user\",\"injection_id\":\"two\",\"content\":\"hi\"}\n",
            "{\"type\":\"user\",\"injection_id\":\"three\",\"content\":\"no newline\"}",
        );
        assert_eq!(found(inbox, "one"), None);
        let two = inbox.find("{\"type\":\"user\",\"injection_id\":\"two\"").unwrap() as u64;
        assert_eq!(found(inbox, "two"), Some(two));
        assert_eq!(
            found(inbox, "three"),
            None,
            "a line without its newline is not there yet"
        );
        assert_eq!(found("", "one"), None);
    }

    #[test]
    fn an_inbox_that_is_not_there_has_no_prompt() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::from_stem("7_00").unwrap();
        let id = InjectionId::new("one").unwrap();
        assert_eq!(find(&Mailbox::at(root.path()), &place, &id), Ok(None));
    }
}
