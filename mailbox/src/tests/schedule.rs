//! The schedule under a simulated clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::schedule::{Limits, Next, Outcome, PollSchedule};

mod overload;
mod stream;

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
    /// How large each file is; each growth is of ten bytes.
    sizes: HashMap<usize, u64>,
    /// Whose writers ring, and which of their rings are lost: one in so many.
    ringing: Option<usize>,
    lost_rings: usize,
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
            sizes: HashMap::new(),
            ringing: None,
            lost_rings: 0,
        }
    }

    /// The writers of all files connect to the doorbell. One ring in `lost` comes to nothing; none with 0.
    fn connect(&mut self, files: usize, lost: usize) {
        self.ringing = Some(lost);
        for file in 0..files {
            self.schedule.connected(&file, self.now);
        }
    }

    /// What has grown by now, with the rings that tell of it.
    fn come_to_pass(&mut self, now: Instant) {
        while self.growth.front().is_some_and(|(time, _)| *time <= now) {
            let (time, file) = self.growth.pop_front().unwrap();
            self.unseen.entry(file).or_default().push(time);
            let size = self.sizes.entry(file).or_default();
            *size += 10;
            let Some(lost) = self.ringing else { continue };
            self.lost_rings += 1;
            if lost == 0 || !self.lost_rings.is_multiple_of(lost) {
                self.schedule.rung(&file, *size, time);
            }
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
                    // With rings, whatever grows before that wakes.
                    let rings = self.growth.front().filter(|_| self.ringing.is_some());
                    self.now = rings.map_or(time, |(grows, _)| time.min((*grows).max(self.now)));
                    if self.ringing.is_some() {
                        self.come_to_pass(self.now);
                    }
                }
                Next::Idle => break,
            }
        }
    }

    fn look(&mut self, file: usize) {
        let asked = self.now;
        self.now += self.answer;
        self.come_to_pass(asked);
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
        self.schedule
            .read_to(&file, self.sizes.get(&file).copied().unwrap_or_default());
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
fn on_a_slow_filesystem_fewer_looks_are_made_and_as_many_again_when_it_is_back() {
    let mut world = World::new(1_000, Limits::default());
    let mut looks = |answer_ms: u64, seconds: f64| {
        world.answer = Duration::from_millis(answer_ms);
        world.empty_looks = 0;
        let begin = (world.now - world.start).as_secs_f64();
        world.run(begin + seconds);
        world.empty_looks
    };
    let usual = looks(0, 60.0);
    let slow = looks(50, 60.0);
    assert!(slow < 160, "{slow} looks of 50 ms in a minute");
    assert!(slow > 20);
    // A minute to come back; its looks are the cold side's three fifths.
    let back = looks(0, 60.0);
    assert!((usual / 3..usual * 3 / 4).contains(&back), "{back} of {usual}");
    assert!(looks(0, 60.0) >= usual * 95 / 100);
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

#[test]
fn an_idle_fleet_that_is_connected_costs_its_sweep_alone() {
    let files = 1_000;
    let mut world = World::new(files, Limits::default());
    world.connect(files, 0);
    // Each is looked at once, within the cap.
    world.run(60.0);
    assert!(world.most_in_a_second <= CAP);
    world.empty_looks = 0;
    world.most_in_a_second = 0;
    world.empty.clear();
    world.looks.clear();
    let begin = world.now - world.start;
    world.run(begin.as_secs_f64() + 3_600.0);
    let in_a_second = world.empty_looks as f64 / 3_600.0;
    // The lease is looked at besides, with a third more of a look a second: together five at most.
    assert!(in_a_second <= 3.6, "{in_a_second} looks a second");
    assert!(
        world.most_in_a_second <= 5,
        "{} in one second: they are spread",
        world.most_in_a_second
    );
    assert_eq!(world.looks.len(), files);
    for (file, looks) in &world.looks {
        let longest = looks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(
            longest.as_secs() <= 390,
            "file {file} was not looked at for {longest:?}"
        );
    }
}

#[test]
fn who_rings_is_read_at_once_and_nobody_else_is_looked_at() {
    let files = 1_000;
    let mut world = World::new(files, Limits::default());
    world.connect(files, 0);
    world.run(60.0);
    world.empty_looks = 0;
    // A run ends at a wait's end, which may be later.
    let begin = (world.now - world.start).as_secs_f64();
    for file in (0..files).step_by(50) {
        world.grow(file, begin + 1.0 + file as f64 * 0.003, 0.05, 1_000);
    }
    world.run(begin + 60.0);
    let delay = world.mean_delay(|_| true);
    assert!(delay < Duration::from_millis(5), "{delay:?}");
    assert!(world.empty_looks <= 60 * 6, "{} looks for nothing", world.empty_looks);
}

#[test]
fn p4_a_ring_that_is_lost_delays_and_loses_nothing() {
    let files = 100;
    let mut world = World::new(files, Limits::default());
    world.connect(files, 3);
    for file in 0..files {
        world.grow(file, 20.0 + file as f64, 40.0, 5);
    }
    world.run(1_000.0);
    for file in 0..files {
        assert_eq!(world.delays[&file].len(), 5, "all growth of file {file} was seen");
    }
    let longest = world.delays.values().flatten().max().unwrap();
    assert!(longest.as_secs() <= 390, "{longest:?}");
    assert!(world.most_in_a_second <= CAP);
}

#[test]
fn rings_that_lie_cost_no_more_than_the_cap_and_end_in_polling() {
    let files = 200;
    let mut world = World::new(files, Limits::default());
    world.connect(files, 0);
    world.run(20.0);
    world.looks.clear();
    for tenth in 0..600 {
        for file in 0..files {
            world.schedule.rung(&file, 1_000_000 + tenth, world.now);
        }
        world.run(20.0 + 0.1 * (tenth + 1) as f64);
    }
    assert!(world.most_in_a_second <= CAP, "{} in a second", world.most_in_a_second);
    // A file that moves all the same is seen as one that is polled.
    let now = (world.now - world.start).as_secs_f64();
    world.ringing = None;
    world.grow(7, now + 1.0, 1.0, 3);
    world.run(now + 60.0);
    assert_eq!(world.delays[&7].len(), 3);
    assert!(
        world.delays[&7].iter().all(|delay| delay.as_secs() <= 10),
        "{:?}",
        world.delays[&7]
    );
}

#[test]
fn a_ring_that_comes_before_its_bytes_is_followed_for_a_while() {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    schedule.connected(&"a", start);
    assert_eq!(schedule.next(start), Next::Look("a"));
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, start);
    let Next::Wait(sweep) = schedule.next(start) else {
        panic!()
    };
    assert!(sweep - start > Duration::from_secs(100));
    schedule.rung(&"a", 40, start);
    let (mut now, mut looks) = (start, 0);
    while now - start < Duration::from_secs(1) {
        match schedule.next(now) {
            Next::Look(file) => {
                looks += 1;
                schedule.looked(&file, Outcome::Nothing, Duration::ZERO, now);
            }
            Next::Wait(until) => now = until,
            Next::Idle => panic!(),
        }
    }
    assert!(
        (4..=8).contains(&looks),
        "{looks} looks in a second, ever farther apart"
    );
    assert_eq!(schedule.next(now), Next::Look("a"));
    schedule.read_to(&"a", 40);
    schedule.looked(&"a", Outcome::Data, Duration::ZERO, now);
    let Next::Wait(sweep) = schedule.next(now) else {
        panic!()
    };
    assert!(sweep - now > Duration::from_secs(100), "it is at rest again");
}

#[test]
fn a_file_whose_writer_is_gone_is_polled_again_at_once() {
    let start = Instant::now();
    let mut schedule = PollSchedule::new(Limits::default(), 1);
    schedule.add("a", start);
    schedule.connected(&"a", start);
    assert_eq!(schedule.next(start), Next::Look("a"));
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, start);
    let later = start + Duration::from_secs(9);
    schedule.hint(&"a", later);
    assert!(matches!(schedule.next(later), Next::Wait(_)), "its writer will ring");
    schedule.gone(&"a", later);
    assert_eq!(schedule.next(later), Next::Look("a"));
    schedule.looked(&"a", Outcome::Nothing, Duration::ZERO, later);
    let Next::Wait(again) = schedule.next(later) else {
        panic!()
    };
    assert!(again - later < Duration::from_millis(100));
    schedule.rung(&"a", 99, later);
    assert!(
        matches!(schedule.next(later), Next::Wait(_)),
        "nobody is connected, so nobody rings"
    );
}

#[test]
fn p4_whatever_the_doorbell_does_all_growth_is_seen_and_the_cap_is_kept() {
    for seed in 1..=25_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % limit
        };
        let files = 1 + below(60) as usize;
        let mut world = World::new(files, Limits::default());
        // One true ring in so many is lost; the rest are told by whoever is connected.
        world.ringing = Some(below(4) as usize);
        for _ in 0..200 {
            let file = below(files as u64) as usize;
            let size = world.sizes.get(&file).copied().unwrap_or_default();
            let now = world.now;
            match below(8) {
                0 => world.schedule.connected(&file, now),
                1 => world.schedule.gone(&file, now),
                2 => world.schedule.hint(&file, now),
                3 => world.schedule.rung(&file, size + below(1_000), now),
                4 => world.schedule.rung(&file, size, now),
                5 => world.schedule.rung(&file, below(size + 1), now),
                6 => {
                    let from = (now - world.start).as_secs_f64() + below(3_000) as f64 / 1_000.0;
                    world.grow(file, from, 0.05, 1 + below(20) as usize);
                }
                _ => {
                    let until = (now - world.start).as_secs_f64() + below(5_000) as f64 / 1_000.0;
                    world.run(until);
                }
            }
        }
        // Nobody says anything any more: what is left is found by looking alone.
        world.ringing = None;
        world.run((world.now - world.start).as_secs_f64() + 800.0);
        assert!(world.unseen.is_empty(), "seed {seed}: {:?} were not seen", world.unseen);
        assert!(world.growth.is_empty());
        assert!(
            world.most_in_a_second <= CAP,
            "seed {seed}: {} looks in a second",
            world.most_in_a_second
        );
    }
}

#[test]
fn p4_a_stream_whose_bytes_come_seconds_after_its_rings_is_read_to_its_end_soon() {
    for late in [0.3, 4.0, 9.0] {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut schedule = PollSchedule::new(Limits::default(), 1);
        schedule.add("a", start);
        schedule.connected(&"a", start);
        // Ten bytes every 8 ms, 25 times; each is rung for, and to be seen so much later.
        let mut rings: VecDeque<(Instant, u64)> = (1..=25).map(|n| (at(1.0 + 0.008 * n as f64), n * 10)).collect();
        let (mut now, mut read) = (start, 0);
        while read < 250 {
            while rings.front().is_some_and(|(time, _)| *time <= now) {
                let (_, size) = rings.pop_front().unwrap();
                schedule.rung(&"a", size, now);
            }
            match schedule.next(now) {
                Next::Look(file) => {
                    let come = (1..=25).filter(|n| at(1.0 + 0.008 * *n as f64 + late) <= now).count() as u64 * 10;
                    let outcome = if come > read { Outcome::Data } else { Outcome::Nothing };
                    read = come;
                    now += Duration::from_micros(300);
                    schedule.read_to(&file, read);
                    schedule.looked(&file, outcome, Duration::from_micros(300), now);
                }
                Next::Wait(until) => now = rings.front().map_or(until, |(time, _)| until.min(*time)),
                Next::Idle => panic!("nobody will look again"),
            }
            assert!(
                now < at(1.0 + late + 5.0),
                "{read} bytes were read that come after {late} s"
            );
        }
    }
}
