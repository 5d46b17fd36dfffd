//! The fault injection of `tests/chaos`, shortened: on the real Slurm and sshd of the test cluster everything is killed,
//! stopped and cut while four agents stream, and the promises hold (P1 to P6, P9, P10).

use std::path::PathBuf;

use codeswarm_tests::chaos::run::{Options, run};
use codeswarm_tests::requires;

/// Sixteen kinds, each once; which ones and in which order is the seed's.
fn short(seed: u64) -> Options {
    Options {
        seed,
        faults: 16,
        records: 60_000,
        rate: 3000,
        seconds: None,
        agent: PathBuf::from(env!("CARGO_BIN_EXE_codeswarm-chaos")),
        tell: true,
    }
}

#[test]
fn p1_p2_p3_p4_p5_p6_p9_p10_hold_under_sixteen_kinds_of_fault_while_four_nodes_stream() {
    let Some(cluster) = requires::cluster() else { return };
    let report = run(&cluster, None, short(4));
    let kinds = report.faults.len();
    assert!(report.broken().is_empty() && kinds >= 8, "{}", report.table());
    println!("{}", report.table());
}
