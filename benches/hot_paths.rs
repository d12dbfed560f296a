//! How long each hot path takes once: `make bench`. What they are is told in `paths`; that none grows is watched by `instructions`, which
//! does not depend on how busy the machine is.

mod paths;

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};

fn hot_paths(c: &mut Criterion) {
    for path in paths::all() {
        c.bench_function(path.name, |b| {
            let mut walk = (path.make)();
            b.iter_custom(|times| {
                let start = Instant::now();
                walk(times);
                start.elapsed()
            });
        });
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
