//! The lines in which a test commands what goes wrong.
//!
//! ```text
//! fail CLIENT OPS ERRNO [happens | holes] [times=N] [path=PART]
//! half CLIENT [times=N] [path=PART]
//! stall CLIENT OPS MILLISECONDS [times=N] [path=PART]
//! weather SEED PER_MILLE [path=PART]
//! heal
//! told
//! ```
//!
//! CLIENT is a name or `all`. OPS are names with commas between, or `any`, or `altering`.

use std::time::Duration;

use super::{Act, Errno, Op, Rule, Weather};
use crate::file::Loss;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Something is to go wrong.
    Add(Rule),
    /// Small troubles are to come.
    Blow(Weather),
    /// Nothing is to go wrong any more.
    Heal,
    /// What the clients were told is asked for.
    Told,
}

impl std::str::FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["heal"] => Ok(Self::Heal),
            ["told"] => Ok(Self::Told),
            ["fail", client, ops, error, ref more @ ..] => {
                let (act, more) = match more {
                    ["happens", more @ ..] => (Act::Happen(errno(error)?), more),
                    ["holes", more @ ..] => (Act::Fail(errno(error)?, Loss::EveryOtherPage), more),
                    more => (Act::Fail(errno(error)?, Loss::Everything), more),
                };
                rule(client, ops, act, more)
            }
            ["weather", seed, per_mille, ref more @ ..] => {
                let number = |word: &str| word.parse().map_err(|_| format!("{word} is no number"));
                let path = match more {
                    [] => None,
                    [word] => Some(
                        word.strip_prefix("path=")
                            .ok_or(format!("unknown word {word}"))?
                            .to_owned(),
                    ),
                    _ => return Err("too many words".to_owned()),
                };
                Ok(Self::Blow(Weather::new(number(seed)?, number(per_mille)?, path)))
            }
            ["half", client, ref more @ ..] => rule(client, "write", Act::Half, more),
            ["stall", client, ops, milliseconds, ref more @ ..] => {
                let milliseconds = milliseconds.parse().map_err(|_| format!("{milliseconds} is no time"))?;
                rule(client, ops, Act::Stall(Duration::from_millis(milliseconds)), more)
            }
            _ => Err(format!("unknown command {line:?}")),
        }
    }
}

fn rule(client: &str, ops: &str, act: Act, more: &[&str]) -> Result<Command, String> {
    let ops = match ops {
        "any" => Op::ALL.to_vec(),
        "altering" => Op::ALL.into_iter().filter(|op| op.alters()).collect(),
        names => names.split(',').map(op).collect::<Result<_, _>>()?,
    };
    let mut rule = Rule {
        client: (client != "all").then(|| client.to_owned()),
        ops,
        path: None,
        times: None,
        act,
    };
    for word in more {
        match word.split_once('=') {
            Some(("times", times)) => rule.times = Some(times.parse().map_err(|_| format!("{word} is no count"))?),
            Some(("path", part)) => rule.path = Some(part.to_owned()),
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(Command::Add(rule))
}

fn op(name: &str) -> Result<Op, String> {
    let found = Op::ALL.into_iter().find(|op| op.name() == name);
    found.ok_or_else(|| format!("unknown request {name}"))
}

/// The numbers are Linux's, the same on all of its architectures that clusters have.
fn errno(name: &str) -> Result<Errno, String> {
    let number = match name {
        "EPERM" => 1,
        "ENOENT" => 2,
        "EIO" => 5,
        "EACCES" => 13,
        "EBUSY" => 16,
        "EFBIG" => 27,
        "ENOSPC" => 28,
        "EROFS" => 30,
        "ESTALE" => 116,
        "EDQUOT" => 122,
        _ => return Err(format!("unknown error {name}")),
    };
    Ok(Errno(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_where_and_how_often() {
        let rule = |client: Option<&str>, ops: &[Op], act| Rule {
            client: client.map(str::to_owned),
            ops: ops.to_vec(),
            path: None,
            times: None,
            act,
        };
        let lost = |number| Act::Fail(Errno(number), Loss::Everything);
        let cases = [
            (
                "fail worker sync,close ENOSPC times=3 path=outbox/",
                Command::Add(Rule {
                    path: Some("outbox/".to_owned()),
                    times: Some(3),
                    ..rule(Some("worker"), &[Op::Sync, Op::Close], lost(28))
                }),
            ),
            (
                "fail all rename EIO happens",
                Command::Add(rule(None, &[Op::Rename], Act::Happen(Errno(5)))),
            ),
            (
                "fail worker sync EIO holes",
                Command::Add(rule(
                    Some("worker"),
                    &[Op::Sync],
                    Act::Fail(Errno(5), Loss::EveryOtherPage),
                )),
            ),
            (
                "fail all altering EROFS",
                Command::Add(rule(
                    None,
                    &[Op::Create, Op::Write, Op::Rename, Op::Remove, Op::Change],
                    lost(30),
                )),
            ),
            (
                "stall all any 2500",
                Command::Add(rule(None, &Op::ALL, Act::Stall(Duration::from_millis(2500)))),
            ),
            (
                "half worker",
                Command::Add(rule(Some("worker"), &[Op::Write], Act::Half)),
            ),
            (
                "weather 7 20 path=mailbox/",
                Command::Blow(Weather::new(7, 20, Some("mailbox/".to_owned()))),
            ),
            ("heal", Command::Heal),
        ];
        for (line, expected) in cases {
            assert_eq!(line.parse(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        for line in [
            "",
            "fail",
            "fail worker sync EWHAT",
            "fail worker sleep EIO",
            "fail worker sync EIO often",
            "stall worker any soon",
            "half worker times=x",
            "weather 1",
            "weather 1 often",
        ] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }
}
