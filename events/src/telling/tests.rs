use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use codeswarm_client::exit::Exit;
use codeswarm_protocol::{Place, Position};

use super::*;
use crate::cursor::Mark;

/// Takes so many bytes; then its reader is gone.
struct Pipe {
    room: usize,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Output for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        let written = bytes.len().min(self.room);
        self.room -= written;
        self.text.lock().unwrap().extend(&bytes[..written]);
        if written < bytes.len() {
            return Err(Unwritten {
                written,
                failure: Failure::broken_pipe(),
            });
        }
        Ok(())
    }

    fn reader_is_gone(&self) -> bool {
        self.room == 0
    }
}

/// Remembers every cursor that was kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Cursor>>>);

impl Keep for Kept {
    fn keep(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        self.0.lock().unwrap().push(cursor.clone());
        Ok(())
    }
}

fn line(position: &str) -> Line {
    Line {
        mark: Mark::Node(Place::from_stem("7_00").unwrap(), position.parse().unwrap()),
        text: format!("event {position}\n").into_bytes(),
    }
}

fn burst(positions: &[&str]) -> Burst {
    let mut burst = Burst {
        lines: positions.iter().copied().map(line).collect(),
        ..Burst::default()
    };
    for line in &burst.lines {
        burst.taken.take(&line.mark);
    }
    burst
}

fn places(nodes: &BTreeMap<Place, Position>) -> Vec<String> {
    nodes.values().map(ToString::to_string).collect()
}

#[test]
fn the_doubt_is_kept_before_the_lines_and_the_place_after_them() {
    let (kept, text) = (Kept::default(), Arc::new(Mutex::new(Vec::new())));
    let pipe = Pipe {
        room: usize::MAX,
        text: Arc::clone(&text),
    };
    let mut teller = Teller::new(
        Cursor::new(Vec::new(), None),
        Some(Box::new(kept.clone())),
        Box::new(pipe),
    );
    teller.tell(burst(&["1", "2"])).unwrap();
    assert_eq!(*text.lock().unwrap(), b"event 1\nevent 2\n");
    let kept = kept.0.lock().unwrap();
    let [before, after] = kept.as_slice() else {
        panic!("one burst is kept twice: {kept:#?}")
    };
    assert_eq!(
        (places(&before.told.nodes), places(&before.in_doubt.nodes)),
        (vec![], vec!["2".to_owned()])
    );
    assert_eq!(
        (places(&after.told.nodes), places(&after.in_doubt.nodes)),
        (vec!["2".to_owned()], vec![])
    );
}

#[test]
fn when_the_reader_goes_the_cursor_is_at_the_last_whole_line() {
    // The lines have 8, 8 and 10 bytes.
    for (room, expected) in [
        (0, vec![]),
        (7, vec![]),
        (8, vec!["1"]),
        (15, vec!["1"]),
        (16, vec!["2"]),
        (25, vec!["2"]),
    ] {
        let (kept, text) = (Kept::default(), Arc::default());
        let pipe = Pipe { room, text };
        let mut teller = Teller::new(
            Cursor::new(Vec::new(), None),
            Some(Box::new(kept.clone())),
            Box::new(pipe),
        );
        let failure = teller.tell(burst(&["1", "2", "2.1"])).unwrap_err();
        assert_eq!(failure.exit, Exit::BrokenPipe);
        let kept = kept.0.lock().unwrap();
        let last = kept.last().unwrap();
        assert_eq!(places(&last.told.nodes), expected, "{room} bytes");
        assert!(last.in_doubt.is_empty(), "{room} bytes: {last:?}");
    }
}

#[test]
fn nothing_is_told_that_cannot_be_kept_in_doubt() {
    struct Full;
    impl Keep for Full {
        fn keep(&mut self, _: &Cursor) -> Result<(), Failure> {
            Err(Failure::new(Exit::Cursor, "the disk is full", ""))
        }
    }
    let text: Arc<Mutex<Vec<u8>>> = Arc::default();
    let pipe = Pipe {
        room: usize::MAX,
        text: Arc::clone(&text),
    };
    let mut teller = Teller::new(Cursor::new(Vec::new(), None), Some(Box::new(Full)), Box::new(pipe));
    assert_eq!(teller.tell(burst(&["1"])).unwrap_err().exit, Exit::Cursor);
    assert!(text.lock().unwrap().is_empty());
}
