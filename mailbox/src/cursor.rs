//! How far a reader has come in one outbox.

use codeswarm_protocol::{Epoch, Place, Seq};
use serde::{Deserialize, Serialize};

/// A place in one outbox that reading can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Whose outbox.
    pub place: Place,
    /// Bytes read: the start of the next line.
    pub offset: u64,
    /// The last record read.
    pub seq: Seq,
    /// The incarnation that wrote it.
    pub epoch: Epoch,
}

impl Cursor {
    /// Before the first record.
    pub fn start(place: Place) -> Self {
        Self {
            place,
            offset: 0,
            seq: Seq::default(),
            epoch: Epoch::default(),
        }
    }
}
