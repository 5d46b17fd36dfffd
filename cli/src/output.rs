//! Standard output for results, standard error for everything else.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};

use codeswarm_events::telling::Unwritten;

use crate::failure::Failure;

/// Standard output. Nothing is kept back: what was written is with the reader.
#[derive(Debug, Default)]
pub struct Output;

impl Output {
    /// Writes all of it. A pipe that its owner set to non-blocking is waited for; a reader that is gone is a failure
    /// without words.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_counted(bytes).map_err(|unwritten| unwritten.failure)
    }

    /// The same; a failure says how much was written before it.
    pub fn write_counted(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        let mut stdout = io::stdout().lock();
        let mut written = 0;
        let failed = |written: usize, error: io::Error| Unwritten {
            written,
            failure: Failure::output(&error),
        };
        while written < bytes.len() {
            match rustix::io::write(&stdout, bytes.get(written..).unwrap_or_default()) {
                Ok(0) => return Err(failed(written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut wanted = [PollFd::new(&stdout, PollFlags::OUT)];
                    // An interrupted or failed wait only means that the write is tried again, which tells.
                    let _ = poll(&mut wanted, None);
                }
                Err(error) => return Err(failed(written, error.into())),
            }
        }
        stdout.flush().map_err(|error| failed(written, error))
    }

    /// Whether what is written from now on reaches nobody: the other end of the pipe is closed, the terminal is gone.
    pub fn reader_is_gone(&self) -> bool {
        let stdout = io::stdout().lock();
        let mut gone = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = rustix::event::Timespec::default();
        poll(&mut gone, Some(&at_once)).is_ok_and(|found| found > 0)
            && gone
                .iter()
                .any(|end| end.revents().intersects(PollFlags::ERR | PollFlags::HUP))
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
