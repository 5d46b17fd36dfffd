//! What a consumer's file may hold, and what its command line may say.

use codeswarm_events::cursor::{Cursor, Mark, News, Taken};
use codeswarm_events::{ConsumerName, Since};

/// A file with a consumer's cursor: what is read is written and read again as the same, and says of each event whether it was told.
/// A consumer's name is one part of a path, whatever it is.
pub fn consumer_cursors(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(name) = text.parse::<ConsumerName>() {
            let mut parts = std::path::Path::new(name.as_str()).components();
            assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none());
        }
        // A moment that cannot be written would make a cursor that cannot be read.
        if let Ok(since) = text.parse::<Since>()
            && let Some(left_out) = since.left_out(std::time::SystemTime::UNIX_EPOCH)
        {
            let cursor = Cursor::new(Vec::new(), Some(left_out));
            assert_eq!(Cursor::read(&cursor.write().unwrap()), Ok(cursor));
        }
    }
    let Ok(mut cursor) = Cursor::read(data) else { return };
    let text = cursor.write().unwrap();
    assert_eq!(Cursor::read(&text).as_ref(), Ok(&cursor));
    let taken = Taken::from_cursor(&cursor);
    let places = cursor.told.nodes.iter();
    let told: Vec<Mark> = places.map(|(place, at)| Mark::Node(place.clone(), *at)).collect();
    for mark in &told {
        assert_eq!(taken.judge(mark), News::No);
    }
    let places = cursor.in_doubt.nodes.iter();
    let in_doubt: Vec<Mark> = places.map(|(place, at)| Mark::Node(place.clone(), *at)).collect();
    for mark in &in_doubt {
        assert_ne!(taken.judge(mark), News::Yes);
        cursor.was_told(mark);
    }
    assert!(cursor.in_doubt.nodes.is_empty());
}
