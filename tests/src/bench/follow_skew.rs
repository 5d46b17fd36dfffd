//! `follow-skew`: does a hot file make the quiet ones wait?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use codeswarm_protocol::record::Word;

use super::delta_latency::say_marked;
use super::figures::{Figures, Unit};
use super::played::PlayedSwarm;
use super::report::{Report, Table};
use super::{Experiment, Lab};
use crate::swarm_simulator::worker::PlayedWorker;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "follow-skew",
    about: "1,024 files of which one is hot: the latency of a line in a quiet one, and with the hot one gone",
    cluster: false,
    run,
};

/// A piece of what the hot file is full of, and how many of them a second: 10 MB.
const PIECE: usize = 5_000;
const PIECES: u32 = 2_000;

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let nodes = lab.size(1024, 16);
    for watch in ["inotify", "poll"] {
        let swarm = PlayedSwarm::new(nodes, watch);
        let mut router = swarm.router();
        swarm.adopt(&mut router);
        let mut workers = swarm.workers();
        swarm.wait_until_running(&router);
        let mut hot = workers.pop().unwrap_or_else(|| panic!("no workers"));
        let (mut medians, mut late): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
        for run in 0..lab.runs {
            for with_hot in [false, true] {
                lab.tell(&format!(
                    "{watch}: {}",
                    if with_hot { "beside a hot file" } else { "no hot file" }
                ));
                let stop = Arc::new(AtomicBool::new(!with_hot));
                let heating = {
                    let stop = Arc::clone(&stop);
                    std::thread::spawn(move || heat(hot, &stop))
                };
                router.take_latencies();
                // Other files each time: one that has moved is looked at more often for a while.
                let count = lab.size(40, 4);
                for number in 0..count {
                    let quiet = (run * 2 + usize::from(with_hot)) * count + number;
                    let quiet = quiet * 7 % workers.len();
                    say_marked(&mut workers[quiet]);
                    std::thread::sleep(Duration::from_millis(50));
                }
                router.wait("all lines of quiet files", |heard| {
                    (heard.latencies.len() >= count).then_some(())
                });
                stop.store(true, Ordering::Relaxed);
                hot = heating
                    .join()
                    .unwrap_or_else(|_| panic!("the hot file's writer failed"));
                let latencies = Figures::new(router.take_latencies(), Unit::Seconds);
                medians[usize::from(with_hot)].push(latencies.median());
                late[usize::from(with_hot)].push(latencies.quantile(0.95));
            }
        }
        router.leave();
        let mut table = Table::new(
            format!("`cluster.watch: {watch}`, {nodes} files, a line every 50 ms in one that is quiet."),
            &["the hot file", "latency, median of a run", "95 % of a run"],
        );
        let [gone, beside] = medians.map(|values| Figures::new(values, Unit::Seconds));
        let [late_gone, late_beside] = late.map(|values| Figures::new(values, Unit::Seconds));
        let ratio = beside.median() / gone.median();
        table.row(["gone".into(), gone.into(), late_gone.into()]);
        let rate = f64::from(PIECES) * PIECE as f64 / 1e6;
        table.row([
            format!("grows by {rate:.0} MB a second").into(),
            beside.into(),
            late_beside.into(),
        ]);
        report.table(table);
        report.target(
            &format!("{watch}: the same latency beside a hot file, ± 20 %"),
            ratio,
            Unit::Times,
            ratio <= 1.2,
            "What the router has taken in of the hot file stands before the quiet line in its queue, and both share the \
             machine's processors.",
        );
    }
    report.note("The client reads everything, the hot file's records too.");
    report
}

/// Writes long records at a steady pace until told to stop.
fn heat(mut hot: PlayedWorker, stop: &AtomicBool) -> PlayedWorker {
    let content = "x".repeat(PIECE);
    let began = Instant::now();
    let mut said = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(PIECES)) as u32;
        while said < due && !stop.load(Ordering::Relaxed) {
            // Each of an item of its own, so that none is joined.
            let item_id = Some(format!("{:?}", SystemTime::now()));
            let word = Word::ReasoningDelta {
                content: content.clone(),
                item_id,
            };
            hot.say(word, None)
                .unwrap_or_else(|error| panic!("the hot file: {error}"));
            said += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    hot
}
