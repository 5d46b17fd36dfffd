//! `look-ups`: what the schedule of look-ups costs and how late things are seen, for any number of nodes, under a played clock.

mod played_files;

use std::time::Duration;

use super::figures::{Figures, Unit};
use super::report::{Cell, Report, Table};
use super::{Experiment, Lab};
use played_files::{PlayedFiles, What};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "look-ups",
    about: "look-ups that find nothing, and how late what nodes say is seen, for 10, 1,000 and 10,000 nodes, by the schedule alone",
    cluster: false,
    run,
};

/// How often a connected worker's files are swept: mailbox/src/schedule.rs and worker/src/inbox.rs.
const OUTBOX_SWEEP: Duration = Duration::from_secs(300);
const INBOX_SWEEP: Duration = Duration::from_secs(45);

/// What keeping the lease costs besides, in look-ups a second: two each 1.5 seconds.
const LEASE: f64 = 2.0 / 1.5;

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Idle,
    OneTalks,
    /// Each of nine tenths has a prompt a minute, of which the router hints, and answers with 20 deltas.
    Prompts,
    ATenthTalks,
}

impl Life {
    const ALL: [Self; 4] = [Self::Idle, Self::OneTalks, Self::Prompts, Self::ATenthTalks];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "nothing",
            Self::OneTalks => "one talks, 20 deltas a second",
            Self::Prompts => "prompts and answers",
            Self::ATenthTalks => "a tenth talks, 4 deltas a second each",
        }
    }

    /// The pause between two deltas.
    fn pace(self) -> Duration {
        Duration::from_millis(if self == Self::ATenthTalks { 250 } else { 50 })
    }

    /// How many nodes, from the first on, are not quiet.
    fn lively(self, nodes: u32) -> u32 {
        match self {
            Self::Idle => 0,
            Self::OneTalks => 1,
            Self::Prompts => nodes - nodes / 10,
            Self::ATenthTalks => nodes / 10,
        }
    }
}

/// One line of the table.
struct Play {
    nodes: u32,
    rung: bool,
    life: Life,
    answer: Duration,
}

struct Played {
    empty_a_second: f64,
    most: usize,
    first_words: Vec<f64>,
    answers: Vec<f64>,
    deltas: Vec<f64>,
}

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let sizes = lab.size(vec![10, 1_000, 10_000], vec![10, 100]);
    for (answer, title) in [
        (Duration::from_micros(500), "A look takes 0.5 ms."),
        (Duration::from_millis(20), "A slow filesystem: a look takes 20 ms."),
    ] {
        let mut table = Table::new(
            title,
            &[
                "nodes",
                "way",
                "what happens",
                "empty look-ups a second",
                "most in one",
                "a quiet node's first word",
                "99 %",
                "a hinted node's answer",
                "99 %",
                "a talking node's delta",
                "99 %",
            ],
        );
        for &nodes in &sizes {
            for rung in [false, true] {
                for life in Life::ALL {
                    let play = Play {
                        nodes,
                        rung,
                        life,
                        answer,
                    };
                    lab.tell(&format!("{title} {nodes} nodes, {}, {}", way(rung), life.name()));
                    let played = play.play(lab);
                    row(&mut table, &play, &played);
                    if life == Life::Idle && answer < Duration::from_millis(1) {
                        target(&mut report, &play, &played);
                    }
                }
            }
        }
        report.table(table);
    }
    report.table(inboxes(lab));
    report.note(
        "Nothing is measured here: the follower's own schedule is played with a clock that is played, too, so these tables are the same on \
         every machine. A prompt's answer begins within half a second of the worker's \
         having it, which takes a polled worker up to two seconds, and goes on for a second; a ring takes 0.5 ms; eight looks are made at once. A latency is from the \
         word's being written to the end of the look that has read it.",
    );
    report.note(format!(
        "Look-ups are those at outboxes. Keeping the lease costs {LEASE:.1} a second besides."
    ));
    report
}

fn way(rung: bool) -> &'static str {
    if rung { "doorbell" } else { "polled" }
}

fn target(report: &mut Report, play: &Play, played: &Played) {
    let found = played.empty_a_second + LEASE;
    let nodes = play.nodes;
    if !play.rung {
        report.target(
            &format!("{nodes} idle nodes, polled: at most 50 look-ups a second, the lease's included"),
            found,
            Unit::PerSecond,
            found <= 50.0 && played.most <= 50,
            "A fault: the cap does not hold.",
        );
    } else if nodes <= 1_000 {
        report.target(
            &format!("{nodes} idle nodes, doorbell: at most 5 look-ups a second, the lease's included"),
            found,
            Unit::PerSecond,
            found <= 5.0,
            "The safety sweep of all files takes 300 s; a slower one would do it.",
        );
    }
}

fn row(table: &mut Table, play: &Play, played: &Played) {
    let mut cells: Vec<Cell> = vec![
        play.nodes.to_string().into(),
        way(play.rung).into(),
        play.life.name().into(),
        one(played.empty_a_second, Unit::PerSecond),
        played.most.to_string().into(),
    ];
    for latencies in [&played.first_words, &played.answers, &played.deltas] {
        cells.extend(middle_and_late(latencies));
    }
    table.row(cells);
}

fn one(value: f64, unit: Unit) -> Cell {
    Figures::new(vec![value], unit).into()
}

fn middle_and_late(latencies: &[f64]) -> [Cell; 2] {
    if latencies.is_empty() {
        return ["–".into(), "–".into()];
    }
    let figures = Figures::new(latencies.to_vec(), Unit::Seconds);
    [0.5, 0.99].map(|share| one(figures.quantile(share), Unit::Seconds))
}

impl Play {
    fn play(&self, lab: &Lab) -> Played {
        let seconds = Duration::from_secs;
        let lively = self.life.lively(self.nodes);
        let quiet = self.nodes - lively;
        let mut files = PlayedFiles::new(
            self.nodes,
            self.answer,
            self.rung.then_some(OUTBOX_SWEEP),
            self.life.pace(),
        );
        // Each file has been looked at, and sweeping has come to its pace.
        let first_round = match self.rung {
            true => {
                f64::from(self.nodes)
                    / if self.answer < Duration::from_millis(1) {
                        20.0
                    } else {
                        1.0
                    }
            }
            false => 0.0,
        };
        files.go_on(Duration::from_secs_f64(first_round) + lab.size(seconds(400), seconds(60)));
        for file in 0..lively {
            let after = Duration::from_micros(files.below(250_000));
            if self.life != Life::Prompts {
                // It talks since somebody has asked it.
                files.hint(file, after);
                files.say(file, What::Delta, u32::MAX, after);
            }
        }
        self.go_on(&mut files, seconds(10));
        files.take();
        let time = match self.life {
            Life::ATenthTalks => seconds(60),
            _ => seconds(300),
        };
        let time = lab.size(time, seconds(20));
        self.go_on(&mut files, time);
        let counted = files.take();
        Played {
            empty_a_second: counted.empty as f64 / time.as_secs_f64(),
            most: counted.most,
            answers: counted.of(What::Answer),
            deltas: counted.of(What::Delta),
            first_words: self.first_words(&mut files, lab.size(100, 20), lively, quiet),
        }
    }

    /// Plays time, in which prompts come if they do at all.
    fn go_on(&self, files: &mut PlayedFiles, time: Duration) {
        let until = files.now() + time;
        let pause = Duration::from_secs(1);
        while files.now() < until {
            if self.life == Life::Prompts {
                // A sixtieth of them, others each second.
                let second = u32::try_from(files.now().as_secs() % 60).unwrap_or_default();
                for file in (0..self.life.lively(self.nodes)).filter(|file| file % 60 == second) {
                    let asked = Duration::from_millis(files.below(1_000));
                    let found = Duration::from_millis(if self.rung { 1 } else { files.below(2_000) });
                    let thinks = Duration::from_millis(20 + files.below(480));
                    files.hint(file, asked);
                    files.say(file, What::Answer, 19, asked + found + thinks);
                }
            }
            files.go_on(pause.min(until.saturating_sub(files.now())));
        }
    }

    /// How late so many first words of quiet nodes are seen, each of a node that has said nothing for two minutes.
    fn first_words(&self, files: &mut PlayedFiles, words: u32, lively: u32, quiet: u32) -> Vec<f64> {
        let spread = Duration::from_secs(u64::from(words)).max(Duration::from_secs(130) * words / quiet);
        for word in 0..words {
            let jitter = Duration::from_millis(files.below(1_000));
            let file = lively + word % quiet;
            files.say(file, What::FirstWord, 0, spread / words * word + jitter);
        }
        let mut seen = Vec::new();
        while seen.len() < words as usize {
            self.go_on(files, Duration::from_secs(10));
            seen.extend(files.take().of(What::FirstWord));
            assert!(
                files.now() < Duration::from_secs(1_000_000),
                "{} of {words} words were seen",
                seen.len()
            );
        }
        seen
    }
}

/// A worker's inbox is looked at by the same schedule: one file.
fn inboxes(lab: &Lab) -> Table {
    let mut table = Table::new(
        "A worker's inbox, by the same schedule; a look takes 0.5 ms.",
        &[
            "way",
            "look-ups a second of an idle worker",
            "of 1,000 idle workers",
            "a prompt after a minute of silence",
            "99 %",
        ],
    );
    for rung in [false, true] {
        let mut files = PlayedFiles::new(
            1,
            Duration::from_micros(500),
            rung.then_some(INBOX_SWEEP),
            Life::Idle.pace(),
        );
        files.go_on(Duration::from_secs(120));
        files.take();
        let hour = Duration::from_secs(3_600);
        files.go_on(hour);
        let idle = files.take().empty as f64 / hour.as_secs_f64();
        let mut late = Vec::new();
        for _ in 0..lab.size(500, 20) {
            let after = Duration::from_millis(90_000 + files.below(30_000));
            files.say(0, What::FirstWord, 0, after);
            files.go_on(Duration::from_secs(200));
            late.extend(files.take().of(What::FirstWord));
        }
        let [middle, most] = middle_and_late(&late);
        table.row([
            way(rung).into(),
            one(idle, Unit::PerSecond),
            one(idle * 1_000.0, Unit::PerSecond),
            middle,
            most,
        ]);
    }
    table
}
