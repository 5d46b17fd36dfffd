//! Whether an inbox already has a prompt: how an append of unknown outcome is settled (promise P2).

use std::fs::File;
use std::io::{BufRead, BufReader};

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::ids::{InjectionId, Place};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

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
    let trouble = |error: std::io::Error| {
        format!(
            "{} could not be searched for injection {id}, so it is not known whether it is there: {error}; it is safe to ask again",
            path.display()
        )
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(trouble(error.into())),
    };
    let mut lines = BufReader::with_capacity(256 * 1024, file);
    let needle = memchr::memmem::Finder::new(id.as_str());
    let mut line = Vec::new();
    let mut offset = 0;
    loop {
        line.clear();
        let length = lines.read_until(b'\n', &mut line).map_err(trouble)?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        if needle.find(&line).is_some() && is_prompt(&line, id) {
            return Ok(Some(offset));
        }
        offset += length as u64;
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
