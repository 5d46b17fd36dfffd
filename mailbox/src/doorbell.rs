//! `mailbox/doorbell.json`: where the follower hears hints of the workers, and the secrets by which both know each other.
//!
//! It is a new file for each life of a follower, readable by the mailbox's owner alone, and empty when a follower has ended
//! in order. The name stays, so that nobody waits for it to appear again.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::time::Duration;

use codeswarm_protocol::doorbell::Secret;
#[cfg(target_os = "linux")]
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};

use crate::error::MailboxError;
use crate::layout::Mailbox;
use crate::open::{self, How};

/// The version of the file and of the lines that are exchanged.
const VERSION: u32 = 1;

/// The file is never larger, in bytes.
const LARGEST: u64 = 8 << 10;

/// More addresses are not tried.
pub const ADDRESSES: usize = 8;

/// What the file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doorbell {
    version: u32,
    /// Where the follower hears, in the order in which to try.
    pub addresses: Vec<SocketAddr>,
    /// What a worker says first.
    pub token: Secret,
    /// What the follower answers.
    pub answer: Secret,
    /// The follower's host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
}

impl Doorbell {
    /// One with new secrets, for a follower's life.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(addresses: Vec<SocketAddr>, host: String, pid: u32) -> io::Result<Self> {
        let mut random = File::open("/dev/urandom")?;
        let mut secret = || {
            let mut bytes = [0; 24];
            random.read_exact(&mut bytes).map(|()| Secret::of(bytes))
        };
        Ok(Self {
            version: VERSION,
            addresses,
            token: secret()?,
            answer: secret()?,
            host,
            pid,
        })
    }
}

/// For how long bytes, and probes of the system, may stay unanswered, in milliseconds.
#[cfg(target_os = "linux")]
const UNANSWERED: u32 = 20_000;

/// The silence after which the system probes whether the other host is there, and the time between two probes.
#[cfg(target_os = "linux")]
const PROBES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(4));

/// Lets the system end a connection of the doorbell whose other host is gone without a word, for want of power or of a
/// way there: about 22 seconds after it was heard last (tcp(7): with `TCP_USER_TIMEOUT` it is that time, and not the number of
/// probes, that ends it). A process that dies closes its connections itself.
///
/// # Errors
/// The system does not know one of these options.
#[cfg(target_os = "linux")]
pub fn ends_with_its_host(connection: impl AsFd) -> io::Result<()> {
    let connection = connection.as_fd();
    sockopt::set_tcp_user_timeout(connection, UNANSWERED)?;
    sockopt::set_tcp_keepidle(connection, PROBES.0)?;
    sockopt::set_tcp_keepintvl(connection, PROBES.1)?;
    Ok(sockopt::set_socket_keepalive(connection, true)?)
}

/// Writes the file, durably, in the place of an earlier follower's.
pub fn write(mailbox: &Mailbox, doorbell: &Doorbell) -> Result<(), MailboxError> {
    let path = mailbox.doorbell_file();
    let mut text = serde_json::to_vec(doorbell).map_err(|error| MailboxError::io("write", &path)(error.into()))?;
    text.push(b'\n');
    // For the owner alone, also where a group may use the mailbox.
    open::write_whole(&path, 0o600, &text)
}

/// Reads the file: `None` if nobody listens, or nobody that we would understand.
pub fn read(mailbox: &Mailbox) -> Result<Option<Doorbell>, MailboxError> {
    let path = mailbox.doorbell_file();
    match open::open(&path, How::Read) {
        Ok(file) => read_from(file).map_err(MailboxError::io("read", &path)),
        Err(MailboxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_from(file: File) -> io::Result<Option<Doorbell>> {
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    // Bytes may come after the name on a shared filesystem, and a newer version may mean something else.
    let told = serde_json::from_slice(&text).ok();
    Ok(told.filter(|doorbell: &Doorbell| doorbell.version == VERSION && doorbell.addresses.len() <= ADDRESSES))
}

/// Empties the file, if it is still this one.
pub fn withdraw(mailbox: &Mailbox, doorbell: &Doorbell) -> Result<(), MailboxError> {
    let path = mailbox.doorbell_file();
    if !read(mailbox)?.is_some_and(|told| told.token.is(&doorbell.token)) {
        return Ok(());
    }
    let file = open::open(&path, How::Rewrite)?;
    file.set_len(0).map_err(MailboxError::io("empty", &path))?;
    file.sync_all().map_err(MailboxError::io("sync", &path))
}

/// Empties what an earlier follower left, where this one does not listen. Nothing is written if nothing was left.
pub fn clear(mailbox: &Mailbox) -> Result<(), MailboxError> {
    match read(mailbox)? {
        Some(left) => withdraw(mailbox, &left),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn doorbell(pid: u32) -> Doorbell {
        let addresses = vec!["10.0.0.7:4711".parse().unwrap(), "[fd00::7]:4711".parse().unwrap()];
        Doorbell::new(addresses, "login1".into(), pid).unwrap()
    }

    fn mailbox() -> (tempfile::TempDir, Mailbox) {
        let here = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(here.path().join("root"));
        mailbox.create().unwrap();
        (here, mailbox)
    }

    #[test]
    fn it_is_private_new_for_each_life_and_empty_at_the_end() {
        let (_here, mailbox) = mailbox();
        assert!(read(&mailbox).unwrap().is_none());
        clear(&mailbox).unwrap();
        assert!(!mailbox.doorbell_file().exists(), "nothing is written for nothing");
        let (first, second) = (doorbell(1), doorbell(2));
        assert!(!first.token.is(&second.token) && !first.token.is(&first.answer));
        write(&mailbox, &first).unwrap();
        let told = read(&mailbox).unwrap().unwrap();
        assert_eq!(told.addresses, first.addresses);
        assert!(told.token.is(&first.token) && told.answer.is(&first.answer));
        let mode = std::fs::metadata(mailbox.doorbell_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        write(&mailbox, &second).unwrap();
        withdraw(&mailbox, &first).unwrap();
        assert!(read(&mailbox).unwrap().is_some(), "it is another one's now");
        withdraw(&mailbox, &second).unwrap();
        assert!(read(&mailbox).unwrap().is_none());
        assert_eq!(std::fs::metadata(mailbox.doorbell_file()).unwrap().len(), 0);

        write(&mailbox, &first).unwrap();
        clear(&mailbox).unwrap();
        assert!(read(&mailbox).unwrap().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_is_probed_while_it_is_silent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ends_with_its_host(&connection).unwrap();
        assert!(sockopt::socket_keepalive(&connection).unwrap());
        let gone = sockopt::tcp_keepidle(&connection).unwrap() + sockopt::tcp_keepintvl(&connection).unwrap() * 3;
        assert!(gone >= Duration::from_millis(sockopt::tcp_user_timeout(&connection).unwrap().into()));
        assert!(gone <= Duration::from_secs(25), "{gone:?}");
    }

    #[test]
    fn p12_what_cannot_be_understood_is_nobody_and_a_link_is_refused() {
        let (here, mailbox) = mailbox();
        let path = mailbox.doorbell_file();
        let newer = serde_json::to_string(&doorbell(1))
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        for text in ["", "{}", "\0\0\0", "{\"version\":1,\"addresses\":[\"here\"]}", &newer] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&mailbox).unwrap().is_none(), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let elsewhere = here.path().join("elsewhere");
        std::fs::write(&elsewhere, serde_json::to_string(&doorbell(1)).unwrap()).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        read(&mailbox).unwrap_err();
    }
}
