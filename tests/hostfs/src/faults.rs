//! What goes wrong: rules that a test commands, and small troubles that a seed decides.

use std::time::Duration;

use crate::file::Loss;

mod command;

pub use command::Command;

/// What a client asks its filesystem for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A name.
    Lookup,
    /// Attributes.
    Attributes,
    /// A listing.
    List,
    /// To open a file that is there.
    Open,
    /// To make a file, a folder or a link.
    Create,
    /// Bytes.
    Read,
    /// To take bytes.
    Write,
    /// fsync(2), fdatasync(2).
    Sync,
    /// close(2).
    Close,
    /// rename(2).
    Rename,
    /// unlink(2), rmdir(2).
    Remove,
    /// To cut a file or change its rights.
    Change,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Lookup,
        Self::Attributes,
        Self::List,
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Close,
        Self::Rename,
        Self::Remove,
        Self::Change,
    ];

    /// Its name in a command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Attributes => "attributes",
            Self::List => "list",
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Close => "close",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Change => "change",
        }
    }

    /// Whether it changes something, so that a read-only filesystem refuses it.
    pub fn alters(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Write | Self::Rename | Self::Remove | Self::Change
        )
    }
}

/// What happens instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It fails. What becomes of the bytes of a sync or close is told; all else has not happened.
    Fail(Errno, Loss),
    /// It happens, and is told as a failure.
    Happen(Errno),
    /// Only a half of the bytes is written; the caller hears so.
    Half,
    /// It takes this much longer.
    Stall(Duration),
}

/// An error as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// A rule: the first that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of this client; of all if none.
    pub client: Option<String>,
    /// These requests.
    pub ops: Vec<Op>,
    /// Where the path has this in it; everywhere if none.
    pub path: Option<String>,
    /// So many times; until it is healed if none.
    pub times: Option<u32>,
    /// What happens.
    pub act: Act,
}

/// The rules in force, and how often something went wrong.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    weather: Option<Weather>,
    done: u64,
}

/// Small troubles as a seed draws them: what happens often enough to be met by every part of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weather {
    draws: Draws,
    per_mille: u64,
    path: Option<String>,
}

impl Faults {
    /// Adds a rule.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Small troubles, from now on.
    pub fn blow(&mut self, weather: Weather) {
        self.weather = Some(weather);
    }

    /// Nothing goes wrong any more. Returns how often something has.
    pub fn heal(&mut self) -> u64 {
        self.rules.clear();
        self.weather = None;
        self.done
    }

    /// How often something went wrong.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Whether anything can go wrong, so that a path is worth finding out.
    pub fn is_quiet(&self) -> bool {
        self.rules.is_empty() && self.weather.is_none()
    }

    /// What happens to a request.
    pub fn decide(&mut self, client: &str, op: Op, path: &str) -> Option<Act> {
        let fits = |rule: &Rule| {
            rule.client.as_deref().is_none_or(|name| name == client)
                && rule.ops.contains(&op)
                && rule.path.as_deref().is_none_or(|part| path.contains(part))
        };
        let act = match self.rules.iter().position(fits) {
            Some(found) => {
                let act = self.rules[found].act;
                if let Some(times) = &mut self.rules[found].times {
                    *times = times.saturating_sub(1);
                    if *times == 0 {
                        self.rules.remove(found);
                    }
                }
                Some(act)
            }
            None => self.weather.as_mut().and_then(|weather| weather.decide(op, path)),
        };
        self.done += u64::from(act.is_some());
        act
    }
}

impl Weather {
    /// In so many of a thousand requests, where the path has this in it.
    pub fn new(seed: u64, per_mille: u64, path: Option<String>) -> Self {
        Self {
            draws: Draws::new(seed),
            per_mille,
            path,
        }
    }

    fn decide(&mut self, op: Op, path: &str) -> Option<Act> {
        const EIO: Errno = Errno(5);
        const ENOSPC: Errno = Errno(28);
        const STALE: Errno = Errno(116);
        let fits = self.path.as_deref().is_none_or(|part| path.contains(part));
        if !fits || self.draws.below(1000) >= self.per_mille {
            return None;
        }
        let stall = Act::Stall(Duration::from_millis(self.draws.below(400)));
        let acts = match op {
            Op::Write => vec![Act::Half, Act::Fail(ENOSPC, Loss::Everything), Act::Happen(EIO)],
            Op::Sync => vec![
                Act::Fail(EIO, Loss::Everything),
                Act::Fail(EIO, Loss::EveryOtherPage),
                Act::Fail(ENOSPC, Loss::Everything),
                Act::Happen(EIO),
            ],
            Op::Rename => vec![Act::Happen(EIO), Act::Fail(EIO, Loss::Nothing)],
            Op::Read | Op::Open => vec![Act::Fail(STALE, Loss::Nothing), Act::Fail(EIO, Loss::Nothing)],
            _ => vec![stall],
        };
        let drawn = self.draws.below(acts.len() as u64 + 1);
        Some(
            usize::try_from(drawn)
                .ok()
                .and_then(|drawn| acts.get(drawn).copied())
                .unwrap_or(stall),
        )
    }
}

/// Numbers that a seed decides (the splitmix64 sequence).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draws(u64);

impl Draws {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below a bound; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_decides_for_its_client_requests_and_path_so_often_as_it_says() {
        let mut faults = Faults::default();
        assert!(faults.is_quiet());
        let act = Act::Fail(Errno(28), Loss::Everything);
        faults.add(Rule {
            client: Some("worker".to_owned()),
            ops: vec![Op::Sync],
            path: Some("outbox/".to_owned()),
            times: Some(2),
            act,
        });
        assert_eq!(faults.decide("login", Op::Sync, "outbox/1.jsonl"), None);
        assert_eq!(faults.decide("worker", Op::Write, "outbox/1.jsonl"), None);
        assert_eq!(faults.decide("worker", Op::Sync, "inbox/1.jsonl"), None);
        assert_eq!(faults.decide("worker", Op::Sync, "outbox/1.jsonl"), Some(act));
        assert_eq!(faults.decide("worker", Op::Sync, "outbox/1.jsonl"), Some(act));
        assert_eq!(faults.decide("worker", Op::Sync, "outbox/1.jsonl"), None);
        assert_eq!(faults.heal(), 2);
    }

    #[test]
    fn the_same_seed_draws_the_same_troubles() {
        let play = |seed| {
            let mut faults = Faults::default();
            faults.blow(Weather::new(seed, 200, None));
            let ops = (0..500).map(|turn| Op::ALL[turn % Op::ALL.len()]);
            let acts: Vec<_> = ops.map(|op| faults.decide("a", op, "")).collect();
            (acts, faults.done())
        };
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
        let done = play(1).1;
        assert!((50..200).contains(&done), "{done} of 500");
    }
}
