//! Where the system is not Linux: no events, so files are polled.

use std::io;
use std::path::PathBuf;

use codeswarm_protocol::Place;

/// What events would say.
#[derive(Debug)]
pub(super) enum News {
    /// This file moved.
    Of(Place),
    /// Any file may have moved.
    OfAll,
}

/// There are none.
#[derive(Debug)]
pub(super) enum Events {}

impl Events {
    pub(super) fn of(_: &[PathBuf]) -> Result<Self, String> {
        Err("events of files are heard on Linux alone".to_owned())
    }

    pub(super) fn take(&mut self) -> io::Result<Vec<News>> {
        match *self {}
    }

    pub(super) async fn come(&mut self) -> io::Result<()> {
        match *self {}
    }
}
