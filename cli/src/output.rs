//! Standard output for results, standard error for everything else.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};

use crate::failure::Failure;

/// Standard output. Nothing is kept back: what was written is with the reader.
#[derive(Debug, Default)]
pub struct Output;

impl Output {
    /// Writes all of it. A pipe that its owner set to non-blocking is waited for; a reader that is gone is a failure
    /// without words.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        while !bytes.is_empty() {
            match rustix::io::write(&stdout, bytes) {
                Ok(0) => return Err(Failure::output(&io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut wanted = [PollFd::new(&stdout, PollFlags::OUT)];
                    // An interrupted or failed wait only means that the write is tried again, which tells.
                    let _ = poll(&mut wanted, None);
                }
                Err(error) => return Err(Failure::output(&error.into())),
            }
        }
        stdout.flush().map_err(|error| Failure::output(&error))
    }

    /// Writes a line.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.write(&[line, b"\n"].concat())
    }
}

/// Says something on standard error; nobody is told if that cannot be.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
