//! The time of each hot function: `cargo bench -p codeswarm-hot-functions`.

use codeswarm_hot_functions::ALL;
use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, what, make) in ALL {
        let outcome = make().and_then(|mut hot| Ok((hot.call()?, hot)));
        let (units, mut hot) = match outcome {
            Ok(made) => made,
            Err(failed) => {
                eprintln!("{name} ({what}): {failed:?}");
                std::process::exit(1);
            }
        };
        let mut group = criterion.benchmark_group("records");
        group.throughput(Throughput::Elements(units));
        group.bench_function(name, |bencher| bencher.iter(|| hot.call().is_ok()));
        group.finish();
    }
    criterion.final_summary();
}
