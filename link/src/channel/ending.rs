//! What the end of a follower's channel means. Pure.

use crate::trouble::{Trouble, TroubleKind, of_program, shortened};

/// How a channel ended before a greeting, while the connection stands.
pub(crate) struct Start<'a> {
    pub alias: &'a str,
    pub program: &'a str,
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    /// The end of what came on standard error.
    pub stderr: &'a str,
    /// How standard output began.
    pub stdout: &'a str,
}

/// The exit status of a follower whose mailbox another one holds.
const HELD: i32 = codeswarm_follower::command::EXIT_HELD as i32;

/// How the follower begins what it says on standard error.
const FOLLOWER_SAYS: &str = "codeswarm follower: ";

pub(crate) fn at_start(start: &Start<'_>) -> Trouble {
    let Start {
        alias,
        program,
        code,
        stderr,
        stdout,
    } = *start;
    if stderr.contains("codeswarm-link: missing") {
        return Trouble::new(
            TroubleKind::ProgramMissing,
            format!("there is no program {program} on {alias}"),
            "is cluster.remote_binary right? Without it, this program is copied there",
        );
    }
    if stderr.contains("codeswarm-link: not executable") {
        let words = "Permission denied";
        return of_program(alias, program, words).unwrap_or_else(|| no_greeting(alias, words));
    }
    let told = stderr
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(FOLLOWER_SAYS));
    if code == Some(HELD) {
        return Trouble::new(
            TroubleKind::MailboxHeld,
            told.map_or_else(|| format!("another follower holds the mailbox on {alias}"), shortened),
            "only one router can use a mailbox: stop the other one, or use another cluster.cluster_subdir",
        );
    }
    if stderr.contains("unexpected argument") || stderr.contains("unrecognized subcommand") {
        return Trouble::new(
            TroubleKind::VersionsDiffer,
            format!(
                "{program} on {alias} does not understand this router, which is codeswarm {}: {}",
                codeswarm_protocol::VERSION,
                shortened(
                    stderr
                        .lines()
                        .find(|line| line.starts_with("error:"))
                        .unwrap_or_default()
                )
            ),
            "install the same version there, or leave cluster.remote_binary out so that this one is copied there",
        );
    }
    if let Some(told) = told {
        return of_refusal(alias, program, told);
    }
    // `-x` was true, and still the shell does not find it: its loader is missing.
    let lacks_loader = code == Some(127) && stderr.contains(program);
    let words = if lacks_loader {
        "error while loading shared libraries: the loader is missing"
    } else {
        stderr
    };
    if let Some(trouble) = of_program(alias, program, words) {
        return trouble;
    }
    let Some(code) = code else {
        // Perhaps the connection goes down with it, and perhaps somebody killed it: both pass.
        let what = format!("the channel to {alias} ended before its follower had greeted");
        return Trouble::new(TroubleKind::Closed, what, "the connection is made again");
    };
    let how = format!("it ended with status {code}");
    let said = [stderr, stdout]
        .into_iter()
        .find_map(|text| text.lines().rfind(|line| !line.trim().is_empty()));
    match said {
        Some(said) => no_greeting(alias, &format!("{how} and said: {}", shortened(said))),
        None => no_greeting(alias, &format!("{how} and said nothing")),
    }
}

/// A follower that starts and refuses the mailbox, and what it said.
pub fn of_refusal(alias: &str, program: &str, told: &str) -> Trouble {
    let storage = of_program(alias, program, told).filter(|trouble| trouble.kind == TroubleKind::Storage);
    storage.unwrap_or_else(|| {
        Trouble::new(
            TroubleKind::FollowerFailed,
            format!("the follower on {alias} does not start: {}", shortened(told)),
            "mend what it names; it is tried again",
        )
    })
}

/// What answers is no follower.
pub fn no_greeting(alias: &str, what: &str) -> Trouble {
    Trouble::new(
        TroubleKind::NoGreeting,
        format!("the shell on {alias} started no follower: {}", shortened(what)),
        format!(
            "`ssh {alias} true` must end at once; look into the login shell's start files there for what waits, asks or runs another shell"
        ),
    )
}

/// How a channel ended that had worked, while the connection stands.
pub(super) enum Ended<'a> {
    ByItself { code: Option<i32>, stderr: &'a str },
    NoFrames(String),
    Silent(&'static str),
    NotWanted,
}

pub(super) fn after_it_worked(host: &str, ended: Ended<'_>) -> Trouble {
    let again = "it is started again";
    match ended {
        Ended::Silent(how) => Trouble::new(
            TroubleKind::Silent,
            format!("the follower on {host} {how}"),
            "the connection is made again; is that host overloaded, or its filesystem stuck?",
        ),
        Ended::NoFrames(error) => Trouble::new(
            TroubleKind::FollowerEnded,
            format!(
                "what came from the follower on {host} does not read: {}",
                shortened(&error)
            ),
            again,
        ),
        Ended::NotWanted => Trouble::new(
            TroubleKind::FollowerEnded,
            format!("the follower on {host} was let go"),
            again,
        ),
        Ended::ByItself { code, stderr } => {
            let how = match code {
                Some(0) => "ended".to_owned(),
                Some(code) => format!("ended with status {code}"),
                None => "or its channel was killed".to_owned(),
            };
            let said = stderr.lines().rfind(|line| !line.trim().is_empty());
            let said = said.map_or_else(String::new, |line| {
                format!(": {}", shortened(line.strip_prefix(FOLLOWER_SAYS).unwrap_or(line)))
            });
            Trouble::new(
                TroubleKind::FollowerEnded,
                format!("the follower on {host} {how}{said}"),
                again,
            )
        }
    }
}
