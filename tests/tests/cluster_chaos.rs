//! The fault injection of `tests/chaos`, shortened: on the real Slurm and sshd of the test cluster everything is killed,
//! stopped and cut while four agents stream, and the promises hold (P1 to P6, P8 to P10).

use std::path::PathBuf;

use codeswarm_tests::chaos::plan::Fault;
use codeswarm_tests::chaos::report::Report;
use codeswarm_tests::chaos::run::{Options, run};
use codeswarm_tests::cluster::TestCluster;
use codeswarm_tests::requires;

/// Kinds that a short run must not do without. The seeds are chosen for them.
const WANTED: [Fault; 6] = [
    Fault::RouterKill,
    Fault::RelayKill,
    Fault::FollowerKill,
    Fault::WorkerKill,
    Fault::AgentKill,
    Fault::Requeue,
];

#[track_caller]
fn holds(cluster: &TestCluster, seed: u64, faults: u32, records: u64) {
    let options = Options {
        seed,
        faults,
        records,
        rate: 3000,
        seconds: None,
        agent: PathBuf::from(env!("CARGO_BIN_EXE_codeswarm-chaos")),
        tell: true,
    };
    let report: Report = run(cluster, None, options);
    println!("{}", report.table());
    assert!(report.broken().is_empty(), "{}", report.table());
    assert_eq!(report.faults.values().sum::<u32>(), faults);
    for wanted in WANTED {
        assert!(report.faults.contains_key(&wanted), "no {}", wanted.name());
    }
    assert!(report.verdict.records >= records && report.verdict.seen == report.verdict.records);
    assert_eq!(report.other.seen, report.verdict.records);
}

#[test]
fn p1_p2_p3_p4_p5_p6_p8_p9_p10_hold_under_sixteen_kinds_of_fault_while_four_nodes_stream() {
    let Some(cluster) = requires::cluster() else { return };
    holds(&cluster, 497, 16, 60_000);
}

#[test]
fn p1_p2_p3_p4_p5_p6_p8_p10_hold_under_twelve_kinds_of_fault_over_separate_views_of_the_filesystem() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    holds(&cluster, 615, 12, 40_000);
}
