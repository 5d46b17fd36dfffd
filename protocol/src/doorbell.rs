//! What follower and workers say to each other over the doorbell, a TCP connection inside the cluster: hints, and nothing
//! else. Each line is one small JSON object.
//!
//! A ring names a file and the size it has now; the reader then reads the file. Nothing that is read here is ever taken
//! for a prompt, a record or a command, so a forged line changes at most when a file is looked at.
//!
//! ```text
//! worker    {"say":"hello","token":"…","place":"27_03"}
//! follower  {"say":"welcome","answer":"…"}
//! worker    {"say":"ring","box":"outbox","place":"27_03","size":4711}
//! follower  {"say":"ring","box":"inbox","place":"27_03","size":812}
//! worker    {"say":"ping"}
//! follower  {"say":"pong"}
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::Place;

/// The longest line, in bytes, newline included. The longest that we write is a hello: a job's id has up to 128 characters.
pub const MAX_LINE: usize = 320;

/// How many characters a secret has: 192 bits in hexadecimal.
const SECRET: usize = 48;

/// Where the follower listens for rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listen {
    /// Where it must poll: on all of the host's addresses, at a port that the system gives. Elsewhere nowhere.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// At this address. Port 0: one that the system gives.
    At(SocketAddr),
}

/// A text names no place to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not `auto`, `off` or an IP address with or without a port (`10.0.0.7`, `10.0.0.7:4711`, `[fd00::7]:4711`)")]
pub struct NoPlace;

impl FromStr for Listen {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => {
                let alone = text.parse().map(|address: IpAddr| SocketAddr::new(address, 0));
                alone.or_else(|_| text.parse()).map(Self::At).map_err(|_| NoPlace)
            }
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// A random word that only those know who may read the mailbox. It is never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

impl Secret {
    /// Made of random bytes.
    pub fn of(random: [u8; SECRET / 2]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(SECRET);
        for byte in random {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn is(&self, other: &Self) -> bool {
        let pairs = self.0.bytes().zip(other.0.bytes());
        self.0.len() == other.0.len() && pairs.fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex && text.len() == SECRET)
            .then_some(Self(text))
            .ok_or("is no secret of a doorbell")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Which of a node's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichBox {
    /// What its worker reads.
    Inbox,
    /// What its worker writes.
    Outbox,
}

/// A file has grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Which of the two.
    #[serde(rename = "box")]
    pub which: WhichBox,
    /// Whose.
    #[serde(with = "stem")]
    pub place: Place,
    /// Its size now, in bytes.
    pub size: u64,
}

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Line {
    /// A worker's first line.
    Hello {
        /// What it has read in the mailbox.
        token: Secret,
        /// Who it is.
        #[serde(with = "stem")]
        place: Place,
    },
    /// The follower's answer to it.
    Welcome {
        /// What only the follower that wrote the mailbox's file can know besides the worker: whoever else listens at an old
        /// address is not believed.
        answer: Secret,
    },
    /// A file has grown.
    Ring(Ring),
    /// Answered by [`Line::Pong`].
    Ping,
    /// An answer to [`Line::Ping`].
    Pong,
}

/// A line is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no line of a doorbell")]
pub struct Malformed;

impl Line {
    /// Reads a line, with its newline or without.
    ///
    /// # Errors
    /// It is longer than [`MAX_LINE`], or not one of these objects. Fields that are not known are passed over.
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        if line.len() > MAX_LINE {
            return Err(Malformed);
        }
        serde_json::from_slice(line).map_err(|_| Malformed)
    }

    /// The line with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        // A struct of strings and numbers always can be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Cuts what comes in into lines, and holds no more than one of them.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a line.
    held: Vec<u8>,
}

impl Splitter {
    /// Hands each line that is whole to `line`, which answers whether to go on.
    ///
    /// # Errors
    /// A line grows beyond [`MAX_LINE`]: what comes is not for us.
    pub fn feed(&mut self, mut data: &[u8], mut line: impl FnMut(&[u8]) -> bool) -> Result<(), Malformed> {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let (this, rest) = data.split_at(end + 1);
            data = rest;
            if self.held.len() + this.len() > MAX_LINE {
                return Err(Malformed);
            }
            let goes_on = if self.held.is_empty() {
                line(this)
            } else {
                self.held.extend_from_slice(this);
                line(&std::mem::take(&mut self.held))
            };
            if !goes_on {
                return Ok(());
            }
        }
        if self.held.len() + data.len() > MAX_LINE {
            return Err(Malformed);
        }
        self.held.extend_from_slice(data);
        Ok(())
    }
}

/// A place as the stem of its files.
mod stem {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ids::Place;

    pub fn serialize<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(place)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        let stem = String::deserialize(from)?;
        Place::from_stem(&stem).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(stem: &str) -> Place {
        Place::from_stem(stem).unwrap()
    }

    #[test]
    fn a_place_to_listen_reads_back() {
        for text in ["auto", "off", "10.0.0.7:0", "10.0.0.7:4711", "[fd00::7]:4711"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for (text, means) in [("10.0.0.7", "10.0.0.7:0"), ("fd00::7", "[fd00::7]:0")] {
            assert_eq!(text.parse::<Listen>(), means.parse());
        }
        for bad in [
            "",
            "on",
            "login1",
            "login1:4711",
            "10.0.0.7:",
            "10.0.0.7:99999",
            ":4711",
        ] {
            assert_eq!(bad.parse::<Listen>(), Err(NoPlace), "{bad}");
        }
    }

    #[test]
    fn lines_read_back_and_the_longest_fits() {
        let longest = place(&format!("{}_999999", "j".repeat(128)));
        let lines = [
            Line::Hello {
                token: Secret::of([0xab; 24]),
                place: longest.clone(),
            },
            Line::Welcome {
                answer: Secret::of([1; 24]),
            },
            Line::Ring(Ring {
                which: WhichBox::Outbox,
                place: longest,
                size: u64::MAX,
            }),
            Line::Ping,
            Line::Pong,
        ];
        for line in lines {
            let written = line.to_line();
            assert!(written.len() <= MAX_LINE, "{} bytes", written.len());
            assert_eq!(Line::parse(&written).unwrap().to_line(), written);
        }
        assert_eq!(
            String::from_utf8(
                Line::Ring(Ring {
                    which: WhichBox::Inbox,
                    place: place("27_3"),
                    size: 7
                })
                .to_line()
            )
            .unwrap(),
            "{\"say\":\"ring\",\"box\":\"inbox\",\"place\":\"27_03\",\"size\":7}\n"
        );
    }

    #[test]
    fn p12_what_is_no_line_is_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            "GET / HTTP/1.1",
            r#"{"say":"run","command":"rm"}"#,
            r#"{"say":"hello","token":"short","place":"27_03"}"#,
            r#"{"say":"ring","box":"outbox","place":"../../etc_1","size":1}"#,
            r#"{"say":"ring","box":"archive","place":"27_03","size":1}"#,
            r#"{"say":"ring","box":"outbox","place":"27_03","size":-1}"#,
        ] {
            assert_eq!(Line::parse(bad.as_bytes()).unwrap_err(), Malformed, "{bad}");
        }
        assert!(Line::parse(&[b' '; MAX_LINE + 1]).is_err());
    }

    #[test]
    fn a_secret_is_compared_whole_and_never_shown() {
        let one = Secret::of([7; 24]);
        assert!(one.is(&Secret::of([7; 24])));
        for at in [0, 23] {
            let mut other = [7; 24];
            other[at] = 8;
            assert!(!one.is(&Secret::of(other)));
        }
        let hello = Line::Hello {
            token: one,
            place: place("27_03"),
        };
        assert!(!format!("{hello:?}").contains("0707"), "{hello:?}");
    }

    #[test]
    fn lines_are_the_same_in_any_pieces_and_a_long_one_ends_it() {
        let stream = b"one\ntwo\n\nthree\nfo";
        for size in 1..stream.len() {
            let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
            for piece in stream.chunks(size) {
                splitter
                    .feed(piece, |line| {
                        lines.push(line.to_vec());
                        true
                    })
                    .unwrap();
            }
            assert_eq!(lines, [&b"one\n"[..], b"two\n", b"\n", b"three\n"]);
            assert_eq!(splitter.held, b"fo");
        }
        let mut splitter = Splitter::default();
        splitter.feed(&[b'x'; MAX_LINE], |_| true).unwrap();
        assert_eq!(splitter.feed(b"\n", |_| true), Err(Malformed));
        assert_eq!(
            Splitter::default().feed(&[b'x'; MAX_LINE + 1], |_| true),
            Err(Malformed)
        );
    }
}
