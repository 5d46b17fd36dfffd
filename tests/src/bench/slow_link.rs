//! A slow link, played: a port of this machine behind which bytes come as late and as slowly as over a line far away. It needs no
//! privilege. What it does not play is what TCP makes of a lossy line: neither slow start nor losses.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How much is on its way at most before the sender must wait, beyond what the line itself holds.
const QUEUE: u64 = 256 << 10;

/// How much goes in one piece.
const PIECE: usize = 8 << 10;

/// A line's properties, the same in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Bytes a second.
    pub rate: f64,
    /// From one end to the other.
    pub delay: Duration,
}

/// Plays the line to a port of this machine, for as many connections as come; the port to connect to instead.
#[track_caller]
pub fn to(port: u16, line: Line) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("no port: {error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("no port: {error}"));
    // Ends with the process.
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                let _ = join(near, far, line);
            }
        }
    });
    address.port()
}

fn join(near: TcpStream, far: TcpStream, line: Line) -> io::Result<()> {
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        from.set_nodelay(true)?;
        let held = (line.rate * line.delay.as_secs_f64()) as u64 + QUEUE;
        let pieces = usize::try_from(held).unwrap_or(usize::MAX) / PIECE + 1;
        let (sender, receiver) = sync_channel(pieces);
        std::thread::spawn(move || take_in(from, &sender, line));
        std::thread::spawn(move || give_out(to, &receiver));
    }
    Ok(())
}

/// Each piece with the moment at which its last byte comes out at the other end.
fn take_in(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>, line: Line) {
    let mut free = Instant::now();
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        free = free.max(Instant::now()) + Duration::from_secs_f64(length as f64 / line.rate);
        if sender.send((free + line.delay, piece[..length].to_vec())).is_err() {
            break;
        }
    }
    // What is behind is told to stop, too.
    let _ = from.shutdown(Shutdown::Read);
}

fn give_out(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, piece)) = receiver.recv() {
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_late_and_whole() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let line = Line {
            rate: 1e6,
            delay: Duration::from_millis(20),
        };
        let port = to(listener.local_addr().unwrap().port(), line);
        let sent: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        let began = Instant::now();
        let mut near = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let sending = {
            let sent = sent.clone();
            std::thread::spawn(move || near.write_all(&sent).unwrap())
        };
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        sending.join().unwrap();
        assert_eq!(got, sent);
        // Never sooner than the line allows, however fast the machine is.
        assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    }
}
