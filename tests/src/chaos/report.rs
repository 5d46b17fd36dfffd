//! What a run found, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::memory::Quarters;
use super::plan::Fault;
use super::verdict::Verdict;

/// How long a follower may live on when its router has died, in seconds.
const GONE_WITHIN: f64 = 10.0;

/// How much more memory a process may hold in the last quarter than in the first, in per cent.
const GROWTH: f64 = 10.0;

/// A run from its beginning to its end.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Over FUSE views.
    pub fuse: bool,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<Fault, u32>,
    /// Faults of the plan that found nothing to hit.
    pub missed: Vec<String>,
    /// Kinds that cannot be made here.
    pub left_out: Vec<Fault>,
    /// Faults that were asked for.
    pub faults_wanted: u32,
    /// Records that were asked for.
    pub records_wanted: u64,
    /// Jobs put back into the queue to bring a node back that had ended.
    pub revivals: u32,
    /// Interrupts that were asked for.
    pub interrupts: u32,
    /// Swarms that ended by themselves, and why.
    pub ended_swarms: Vec<String>,
    /// The first client's copy beside the files, and the prompts.
    pub verdict: Verdict,
    /// The other client's copy beside the files.
    pub other: Verdict,
    /// How many prompts ended in which way.
    pub ends: BTreeMap<String, u64>,
    /// Troubles that were told.
    pub troubles: BTreeMap<String, u64>,
    /// By role.
    pub memory: BTreeMap<&'static str, Quarters>,
    /// Whether memory is judged: a run of less than some minutes has not filled what it fills once.
    pub judge_memory: bool,
    /// How long followers lived on after router deaths, in seconds.
    pub departures: Vec<f64>,
    /// The longest of them.
    pub longest_departure: f64,
    /// The run was given up, and why.
    pub given_up: Option<String>,
}

impl Report {
    /// Each promise that did not hold; none, and all is well.
    pub fn broken(&self) -> Vec<String> {
        let counts = self.verdict.broken().into_iter();
        let mut broken: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        let others = self
            .other
            .broken()
            .into_iter()
            .filter(|(what, _)| what.starts_with("records"));
        broken.extend(others.map(|(what, count)| format!("{count} {what} by the other client")));
        broken.extend(self.given_up.clone());
        if self.longest_departure > GONE_WITHIN {
            broken.push(format!(
                "a follower was left on the login node for {:.1} s after its router's death",
                self.longest_departure
            ));
        }
        let grown = self.memory.iter().filter(|(_, quarters)| quarters.growth() > GROWTH);
        broken.extend(
            grown
                .filter(|_| self.judge_memory)
                .map(|(role, quarters)| format!("the memory of the {role} has grown by {:.0} %", quarters.growth())),
        );
        let struck: u32 = self.faults.values().sum();
        if struck < self.faults_wanted {
            broken.push(format!("only {struck} of {} faults struck", self.faults_wanted));
        }
        if self.verdict.records < self.records_wanted {
            broken.push(format!(
                "only {} of {} records",
                self.verdict.records, self.records_wanted
            ));
        }
        broken
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<44} {value:>12}");
        };
        let verdict = &self.verdict;
        line("seed", self.seed.to_string());
        line("filesystem views of FUSE", if self.fuse { "yes" } else { "no" }.into());
        line("seconds", self.seconds.to_string());
        line("", String::new());
        for (fault, count) in &self.faults {
            line(fault.name(), count.to_string());
        }
        let struck: u32 = self.faults.values().sum();
        line(&format!("FAULTS, of {} kinds", self.faults.len()), struck.to_string());
        line("faults that found nothing to hit", self.missed.len().to_string());
        line("requeues to bring an ended node back", self.revivals.to_string());
        line("", String::new());
        let counts = [
            ("records said (in the files)", verdict.records),
            ("records seen by the client", verdict.seen),
            ("records lost", verdict.lost),
            ("records doubled", verdict.doubled),
            ("records out of order", verdict.out_of_order),
            ("records invented or changed", verdict.invented),
            ("records seen by the other client", self.other.seen),
            ("  lost", self.other.lost),
            ("  doubled", self.other.doubled),
            ("  out of order", self.other.out_of_order),
            ("  invented or changed", self.other.invented),
            ("torn lines in the files", verdict.torn),
            ("words said by agents", verdict.words),
            ("turns whose agent noted what it said", verdict.journals),
            ("words lost", verdict.words_lost),
            ("words doubled", verdict.words_doubled),
            ("prompts sent", verdict.prompts),
            ("prompts acknowledged", verdict.acknowledged),
            ("prompts started", verdict.started),
            ("prompts started twice", verdict.started_twice),
            ("prompts delivered twice", verdict.delivered_twice),
            ("prompts ended", verdict.ended),
            ("prompts ended twice", verdict.ended_twice),
            ("prompts never ended", verdict.never_ended),
            ("prompts started although failed", verdict.started_after_failure),
        ];
        for (name, count) in counts {
            line(name, count.to_string());
        }
        line("interrupts sent", self.interrupts.to_string());
        for (how, count) in &self.ends {
            line(&format!("  ended as {how}"), count.to_string());
        }
        line("", String::new());
        for (role, quarters) in &self.memory {
            let value = format!(
                "{} → {} kB ({:+.1} %)",
                quarters.first,
                quarters.last,
                quarters.growth()
            );
            line(&format!("memory of the {role}, first → last quarter"), value);
            for (age, [(first, of_first), (last, of_last)]) in &quarters.ages {
                let value = format!("{first} ({of_first}) → {last} kB ({of_last})");
                line(&format!("  aged {age} s and more (samples)"), value);
            }
            line(&format!("  the most of the {role}"), format!("{} kB", quarters.most));
        }
        line("router deaths with a follower", self.departures.len().to_string());
        line(
            "seconds until that was gone, at most",
            format!("{:.1}", self.longest_departure),
        );
        for (kind, count) in &self.troubles {
            line(&format!("told: {kind}"), count.to_string());
        }
        for fault in &self.left_out {
            let _ = writeln!(out, "  left out here: {}", fault.name());
        }
        for swarm in &self.ended_swarms {
            let _ = writeln!(out, "  a swarm ended by itself: {swarm}");
        }
        for missed in &self.missed {
            let _ = writeln!(out, "  missed: {missed}");
        }
        for difference in verdict.told.iter().chain(&self.other.told) {
            let _ = writeln!(out, "  ! {}", shortened(difference));
        }
        let broken = self.broken();
        match broken.is_empty() {
            true => out.push_str("\nEvery promise held.\n"),
            false => {
                let _ = writeln!(out, "\nBROKEN: {}", broken.join("; "));
            }
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let verdict = &self.verdict;
        let faults: BTreeMap<_, _> = self.faults.iter().map(|(fault, count)| (fault.name(), count)).collect();
        let memory: BTreeMap<_, _> = self
            .memory
            .iter()
            .map(|(role, quarters)| {
                let value = json!({"first_kb": quarters.first, "last_kb": quarters.last, "most_kb": quarters.most, "growth_percent": quarters.growth()});
                (*role, value)
            })
            .collect();
        json!({
            "seed": self.seed,
            "fuse": self.fuse,
            "seconds": self.seconds,
            "faults": faults,
            "missed": self.missed,
            "left_out": self.left_out.iter().map(|fault| fault.name()).collect::<Vec<_>>(),
            "revivals": self.revivals,
            "interrupts": self.interrupts,
            "ended_swarms": self.ended_swarms,
            "records": {
                "said": verdict.records, "seen": verdict.seen, "lost": verdict.lost, "doubled": verdict.doubled,
                "out_of_order": verdict.out_of_order, "invented": verdict.invented, "torn_lines": verdict.torn,
            },
            "other_client": {
                "seen": self.other.seen, "lost": self.other.lost, "doubled": self.other.doubled,
                "out_of_order": self.other.out_of_order, "invented": self.other.invented,
            },
            "words": {"said": verdict.words, "lost": verdict.words_lost, "doubled": verdict.words_doubled},
            "prompts": {
                "sent": verdict.prompts, "acknowledged": verdict.acknowledged, "started": verdict.started,
                "started_twice": verdict.started_twice, "delivered_twice": verdict.delivered_twice,
                "ended": verdict.ended, "completed": verdict.completed, "ended_twice": verdict.ended_twice,
                "never_ended": verdict.never_ended, "started_after_failure": verdict.started_after_failure,
                "ends": self.ends,
            },
            "memory": memory,
            "follower_gone_seconds": {"each": self.departures, "longest": self.longest_departure},
            "troubles": self.troubles,
            "differences": verdict.told,
            "broken": self.broken(),
        })
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
