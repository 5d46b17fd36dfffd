//! A relay between workers and the follower's doorbell, in the test's hands: it counts the lines that pass, cuts them off, and
//! says what neither of them would say.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::workspace::{Workspace, wait_until};

/// Which way a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From a worker to the follower.
    Up,
    /// From the follower to a worker.
    Down,
}

/// The relay. It ends when it is dropped.
pub struct Relay {
    file: PathBuf,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    follower: Mutex<Option<SocketAddr>>,
    connections: Mutex<Vec<Connection>>,
    lines: Mutex<Vec<(Way, Value)>>,
    is_cut: AtomicBool,
    ended: AtomicBool,
}

/// Both ends, to be written a whole line at a time.
#[derive(Clone)]
struct Connection {
    worker: Arc<Mutex<TcpStream>>,
    follower: Arc<Mutex<TcpStream>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file in which the follower says where it hears.
pub fn file(workspace: &Workspace) -> PathBuf {
    workspace.mailbox("doorbell.json")
}

/// What the file says; `None` when nobody listens.
pub fn told(file: &Path) -> Option<Value> {
    let text = std::fs::read(file).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Relay {
    /// Stands between the follower that has just started and workers that have not: its address takes the place of the
    /// follower's in the mailbox.
    #[track_caller]
    pub fn between(workspace: &Workspace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("loopback: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("loopback: {error}"));
        let relay = Self {
            file: file(workspace),
            address,
            shared: Arc::default(),
        };
        relay.step_between();
        let shared = relay.shared.clone();
        std::thread::spawn(move || accept(&listener, &shared));
        relay
    }

    /// The same for a follower that has been started since.
    #[track_caller]
    pub fn step_between(&self) {
        let mut says = wait_until("the follower to listen", || {
            told(&self.file)
                .filter(|says| says["addresses"][0] != json!(self.address))
                .ok_or_else(|| format!("{} says nothing new", self.file.display()))
        });
        let follower = says["addresses"][0].as_str().and_then(|text| text.parse().ok());
        assert!(follower.is_some(), "{}", says["addresses"]);
        *lock(&self.shared.follower) = follower;
        says["addresses"] = json!([self.address]);
        let unfinished = self.file.with_extension("test");
        std::fs::write(&unfinished, says.to_string())
            .and_then(|()| std::fs::rename(&unfinished, &self.file))
            .unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
    }

    /// Where the follower listens.
    #[track_caller]
    pub fn follower(&self) -> SocketAddr {
        let follower = *lock(&self.shared.follower);
        follower.unwrap_or_else(|| panic!("no follower has told where it listens"))
    }

    /// The lines that have passed so far.
    pub fn lines(&self) -> Vec<(Way, Value)> {
        lock(&self.shared.lines).clone()
    }

    /// How many lines of this kind have gone this way.
    pub fn count(&self, way: Way, say: &str) -> usize {
        let lines = lock(&self.shared.lines);
        lines
            .iter()
            .filter(|(went, line)| *went == way && line["say"] == say)
            .count()
    }

    /// Waits until so many workers were welcomed since the beginning.
    #[track_caller]
    pub fn wait_for_welcomes(&self, workers: usize) {
        wait_until(&format!("{workers} workers to be welcomed"), || {
            match self.count(Way::Down, "welcome") {
                count if count >= workers => Ok(()),
                count => Err(format!("{count} were: {:?}", self.lines())),
            }
        });
    }

    /// All connections end, and new ones are taken and ended at once.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        for connection in lock(&self.shared.connections).drain(..) {
            end(&connection);
        }
    }

    /// Connections pass again.
    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Says something on every connection, as if it came from the other end.
    pub fn lie(&self, way: Way, line: &str) {
        for connection in lock(&self.shared.connections).iter() {
            let mut to = lock(match way {
                Way::Up => &connection.follower,
                Way::Down => &connection.worker,
            });
            // Whoever listens may have had enough of it.
            let _ = to.write_all(format!("{line}\n").as_bytes());
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn end(connection: &Connection) {
    for stream in [&connection.worker, &connection.follower] {
        let _ = lock(stream).shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((worker, _)) = listener.accept() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        if shared.is_cut.load(Ordering::SeqCst) {
            continue;
        }
        let Some(follower) = *lock(&shared.follower) else {
            continue;
        };
        let Ok(follower) = TcpStream::connect(follower) else {
            continue;
        };
        let (Ok(from_worker), Ok(from_follower)) = (worker.try_clone(), follower.try_clone()) else {
            continue;
        };
        let connection = Connection {
            worker: Arc::new(Mutex::new(worker)),
            follower: Arc::new(Mutex::new(follower)),
        };
        lock(&shared.connections).push(connection.clone());
        for (from, way) in [(from_worker, Way::Up), (from_follower, Way::Down)] {
            let (shared, connection) = (shared.clone(), connection.clone());
            std::thread::spawn(move || pass_on(from, way, &shared, &connection));
        }
    }
}

fn pass_on(from: TcpStream, way: Way, shared: &Shared, connection: &Connection) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let to = match way {
            Way::Up => &connection.follower,
            Way::Down => &connection.worker,
        };
        if lock(to).write_all(&line).is_err() {
            break;
        }
        lock(&shared.lines).push((way, serde_json::from_slice(&line).unwrap_or_default()));
        line.clear();
    }
    end(connection);
}
