//! The schedule under a simulated clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::schedule::{Limits, Next, Outcome, PollSchedule};

const CAP: usize = 50;

/// A filesystem with files that grow at given times, and a reader that keeps to the schedule.
struct World {
    schedule: PollSchedule<usize>,
    start: Instant,
    now: Instant,
    /// When each file grew and nobody has seen it.
    unseen: HashMap<usize, Vec<Instant>>,
    /// Growth to come, by time.
    growth: VecDeque<(Instant, usize)>,
    answer: Duration,
    empty: VecDeque<Instant>,
    most_in_a_second: usize,
    empty_looks: usize,
    looks: HashMap<usize, Vec<Instant>>,
    /// How late growth was seen, by file.
    delays: HashMap<usize, Vec<Duration>>,
}

impl World {
    fn new(files: usize, limits: Limits) -> Self {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(limits, 42);
        (0..files).for_each(|file| schedule.add(file, start));
        Self {
            schedule,
            start,
            now: start,
            unseen: HashMap::new(),
            growth: VecDeque::new(),
            answer: Duration::from_micros(300),
            empty: VecDeque::new(),
            most_in_a_second: 0,
            empty_looks: 0,
            looks: HashMap::new(),
            delays: HashMap::new(),
        }
    }

    fn grow(&mut self, file: usize, from: f64, every: f64, times: usize) {
        for number in 0..times {
            let time = self.start + Duration::from_secs_f64(from + every * number as f64);
            self.growth.push_back((time, file));
        }
    }

    fn run(&mut self, seconds: f64) {
        self.growth.make_contiguous().sort();
        let until = self.start + Duration::from_secs_f64(seconds);
        while self.now < until {
            match self.schedule.next(self.now) {
                Next::Look(file) => self.look(file),
                Next::Wait(time) => {
                    assert!(time > self.now, "a wait is never for nothing");
                    self.now = time;
                }
                Next::Idle => break,
            }
        }
    }

    fn look(&mut self, file: usize) {
        let asked = self.now;
        self.now += self.answer;
        while self.growth.front().is_some_and(|(time, _)| *time <= asked) {
            let (time, file) = self.growth.pop_front().unwrap();
            self.unseen.entry(file).or_default().push(time);
        }
        self.looks.entry(file).or_default().push(asked);
        let found = self.unseen.remove(&file);
        let outcome = if found.is_some() {
            Outcome::Data
        } else {
            Outcome::Nothing
        };
        for time in found.into_iter().flatten() {
            self.delays.entry(file).or_default().push(self.now - time);
        }
        if outcome == Outcome::Nothing {
            self.empty_looks += 1;
            self.empty.push_back(self.now);
            while self.now - self.empty[0] >= Duration::from_secs(1) {
                self.empty.pop_front();
            }
            self.most_in_a_second = self.most_in_a_second.max(self.empty.len());
        }
        self.schedule.looked(&file, outcome, self.answer, self.now);
    }

    fn mean_delay(&self, files: impl Fn(usize) -> bool) -> Duration {
        let delays: Vec<Duration> = self
            .delays
            .iter()
            .filter(|(file, _)| files(**file))
            .flat_map(|(_, delays)| delays)
            .copied()
            .collect();
        assert!(!delays.is_empty());
        delays.iter().sum::<Duration>() / delays.len() as u32
    }
}

#[test]
fn never_more_than_fifty_empty_looks_in_any_second_however_many_files() {
    for files in [1, 10, 1_000, 10_000] {
        let mut world = World::new(files, Limits::default());
        world.run(20.0);
        // Then everything is hinted at, twice, and nothing comes.
        for _ in 0..2 {
            for file in 0..files {
                world.schedule.hint(&file, world.now);
            }
            let now = (world.now - world.start).as_secs_f64();
            world.run(now + 20.0);
        }
        // Then a tenth of them stream, and the rest is quiet.
        let now = (world.now - world.start).as_secs_f64();
        for file in (0..files).step_by(10) {
            world.grow(file, now, 0.05, 100);
        }
        world.run(now + 30.0);
        assert!(
            world.most_in_a_second <= CAP,
            "{files} files: {} in a second",
            world.most_in_a_second
        );
        assert!(world.most_in_a_second >= 1);
    }
}

#[test]
fn every_quiet_file_is_looked_at_in_its_turn() {
    for (files, round) in [(10, 2.0), (1_000, 1_000.0 / 30.0), (10_000, 10_000.0 / 30.0)] {
        let mut world = World::new(files, Limits::default());
        world.run(round * 4.0);
        assert_eq!(world.looks.len(), files);
        for (file, looks) in &world.looks {
            let longest = looks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(
                longest.as_secs_f64() < round * 1.3,
                "file {file} of {files} waited {longest:?}"
            );
        }
    }
}

#[test]
fn an_idle_mailbox_costs_less_the_fewer_files_it_has() {
    let mut world = World::new(4, Limits::default());
    world.run(60.0);
    assert!(
        world.empty_looks <= 4 * 30 + 8,
        "{} looks in a minute: each file once in two seconds",
        world.empty_looks
    );
}

#[test]
fn quiet_files_are_seen_as_soon_beside_a_hot_one_as_without_it() {
    let delay = |hot: bool| {
        let mut world = World::new(1_024, Limits::default());
        if hot {
            world.schedule.hint(&0, world.now);
            world.grow(0, 0.0, 0.02, 300 * 50);
        }
        for file in 1..1_024 {
            // Spread over the time after the first round.
            world.grow(file, 60.0 + file as f64 * 0.19, 1.0, 1);
        }
        world.run(300.0);
        assert!(world.most_in_a_second <= CAP);
        world.mean_delay(|file| file != 0)
    };
    let (with, without) = (delay(true), delay(false));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    assert!(
        (0.8..1.2).contains(&ratio),
        "{with:?} beside a hot file, {without:?} without"
    );
}

#[test]
fn a_streaming_file_is_seen_within_its_own_pace() {
    for (files, streaming, every, at_most_ms) in [
        (4, 1, 0.05, 25),
        (4, 4, 0.05, 40),
        (1_024, 1, 0.05, 50),
        (1_024, 16, 0.05, 120),
    ] {
        let mut world = World::new(files, Limits::default());
        for file in 0..streaming {
            world.schedule.hint(&file, world.now);
            world.grow(file, 0.3, every, 600);
        }
        world.run(32.0);
        let delay = world.mean_delay(|file| file < streaming);
        assert!(
            delay.as_millis() <= at_most_ms,
            "{streaming} of {files} files: {delay:?}"
        );
        assert!(world.most_in_a_second <= CAP);
    }
}

#[test]
fn a_hint_is_followed_at_once_even_among_many() {
    let mut world = World::new(10_000, Limits::default());
    world.run(30.0);
    let hinted = world.now;
    world.grow(7_777, (hinted - world.start).as_secs_f64(), 1.0, 1);
    world.schedule.hint(&7_777, hinted);
    world.run(40.0);
    assert!(
        world.delays[&7_777][0] < Duration::from_millis(100),
        "{:?}",
        world.delays[&7_777]
    );
}

#[test]
fn a_hint_during_a_look_is_not_lost() {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    assert_eq!(schedule.next(start), Next::Look("a"));
    assert_eq!(schedule.next(start), Next::Idle, "one look at a time");
    schedule.hint(&"a", start);
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, start);
    assert_eq!(schedule.next(start), Next::Look("a"));
}

#[test]
fn a_file_that_was_removed_is_never_looked_at_and_its_place_is_freed() {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    assert_eq!(schedule.next(start), Next::Look("a"));
    schedule.remove(&"a");
    schedule.looked(&"a", Outcome::Data, Duration::ZERO, start);
    schedule.add("b", start);
    schedule.hint(&"b", start);
    schedule.remove(&"b");
    assert!(schedule.is_empty());
    assert_eq!(schedule.next(start + Duration::from_secs(9)), Next::Idle);
}

#[test]
fn on_a_slow_filesystem_fewer_looks_are_made() {
    let mut world = World::new(1_000, Limits::default());
    world.answer = Duration::from_millis(50);
    world.run(60.0);
    let busy = world.answer.as_secs_f64() * world.empty_looks as f64 / 60.0;
    assert!(busy < 0.15, "{} looks of 50 ms in a minute", world.empty_looks);
    assert!(world.empty_looks > 20);
}

#[test]
fn what_brings_data_is_not_held_back_by_the_cap() {
    let mut world = World::new(2_000, Limits::default());
    for file in 0..2_000 {
        world.grow(file, 0.0, 1.0, 1);
    }
    world.run(3.0);
    assert_eq!(
        world.delays.len(),
        2_000,
        "a first round over files that all have news takes no longer than the looks"
    );
}

#[test]
fn a_file_that_is_added_again_keeps_its_turn_and_a_hint_about_another_one_changes_nothing() {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    schedule.add("b", start);
    schedule.add("a", start);
    schedule.hint(&"c", start);
    let mut looked = Vec::new();
    let mut now = start;
    while looked.len() < 2 {
        match schedule.next(now) {
            Next::Look(file) => {
                schedule.looked(&file, Outcome::Nothing, Duration::ZERO, now);
                looked.push(file);
            }
            Next::Wait(until) => now = until,
            Next::Idle => panic!("both are to be looked at"),
        }
    }
    assert_eq!(looked, ["b", "a"], "the last one comes first, and each once");
}
