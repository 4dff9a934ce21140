//! How long the hot paths take: `cargo bench --bench hot_paths`. The scripts are those whose
//! instructions `cargo test --test counts` counts; that test finds a regression sooner, this bench
//! says what it costs. Each round of `poll` also waits for a tick of a clock of milliseconds:
//! compare its time only with itself.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/counts/scripts.rs"]
mod scripts;

/// Units per run, so many that opening a bus or a gateway makes no difference.
fn units(script: &str) -> u64 {
    match script {
        "match" | "append" | "page" => 100_000,
        "wake" => 10_000,
        // So many tokens are made.
        "token" => 100,
        _ => 500,
    }
}

fn hot_paths(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("hot_paths");
    group.sample_size(10);
    for (script, what) in scripts::SCRIPTS {
        let units = units(script);
        println!("{script}: {what}");
        group.throughput(Throughput::Elements(units));
        group.bench_function(script, |bencher| {
            bencher.iter(|| runtime.block_on(scripts::run(script, units)));
        });
    }
    group.finish();
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
