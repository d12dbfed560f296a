//! What a change of sample rate costs for 20 ms: the doubler on the packet path, the resampler of the speech services beside it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use trunkline::codec::resample::{Doubler, Resampler, SampleRate};

fn tone(rate: SampleRate, ms: u32) -> Vec<i16> {
    let step = std::f32::consts::TAU * 440.0 / rate.hz() as f32;
    (0..rate.hz() * ms / 1_000).map(|n| (10_000.0 * (n as f32 * step).sin()) as i16).collect()
}

fn resample(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    let frame = tone(SampleRate::HZ_8000, 20);
    let (mut doubler, mut double) = (Doubler::default(), [0; 320]);
    group.bench_function("doubler", |b| b.iter(|| doubler.double(black_box(&frame), black_box(&mut double))));
    let ways = [
        (SampleRate::HZ_8000, SampleRate::HZ_16000),
        (SampleRate::HZ_16000, SampleRate::HZ_8000),
        (SampleRate::HZ_22050, SampleRate::HZ_8000),
        (SampleRate::HZ_24000, SampleRate::HZ_8000),
        (SampleRate::HZ_48000, SampleRate::HZ_8000),
    ];
    for (from, to) in ways {
        let frame = tone(from, 20);
        let mut resampler = Resampler::new(from, to).expect("both rates are known");
        let mut out = Vec::new();
        group.bench_function(format!("{}_to_{}", from.hz(), to.hz()), |b| {
            b.iter(|| {
                out.clear();
                resampler.push(black_box(&frame), &mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, resample);
criterion_main!(benches);
