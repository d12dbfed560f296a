//! The lines: when each packet of 20 ms is sent, and when it comes, if it comes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The network's transit without jitter, in microseconds.
const TRANSIT_US: f64 = 10_000.0;

/// One line.
pub struct Trace {
    pub name: &'static str,
    /// The sender's clock against ours.
    pub ppm: f64,
    /// When each packet comes, in microseconds since the first was sent.
    pub arrivals: Vec<Option<f64>>,
}

impl Trace {
    /// When a sample would come with the least transit, in ms.
    pub fn wire_ms(&self, sample: f64) -> f64 {
        sample / 8.0 * (1.0 + self.ppm / 1e6) + TRANSIT_US / 1000.0
    }
}

#[derive(Clone, Copy, Default)]
struct Line {
    /// Gilbert-Elliott: lost in all, in percent, in bursts of two and a half packets on average.
    loss: f64,
    /// So many packets in a row, every three seconds.
    burst: usize,
    /// One packet in twenty is later than this, in ms; those behind it wait for it.
    jitter: f64,
    /// Every five seconds nothing comes for so long, and then all of it.
    spike: f64,
    /// So many percent of the packets take 25 to 45 ms longer and are overtaken.
    reorder: f64,
    /// The transit wanders so far up and down in eight seconds, in ms.
    wander: f64,
    /// The route becomes so much longer for every other ten seconds, in ms.
    route: f64,
    ppm: f64,
}

/// All of them, of so many packets.
pub fn all(packets: usize) -> Vec<Trace> {
    let none = Line::default();
    let lines = [
        ("clean", none),
        ("loss 1 %", Line { loss: 1.0, ..none }),
        ("loss 2 %", Line { loss: 2.0, ..none }),
        ("loss 5 %", Line { loss: 5.0, ..none }),
        ("loss 10 %", Line { loss: 10.0, ..none }),
        ("loss 20 %", Line { loss: 20.0, ..none }),
        ("jitter 5 ms", Line { jitter: 5.0, ..none }),
        ("jitter 20 ms", Line { jitter: 20.0, ..none }),
        ("jitter 40 ms", Line { jitter: 40.0, ..none }),
        ("jitter 80 ms", Line { jitter: 80.0, ..none }),
        ("spikes of 200 ms", Line { spike: 200.0, ..none }),
        ("drift +300 ppm", Line { ppm: 300.0, ..none }),
        ("drift -300 ppm", Line { ppm: -300.0, ..none }),
        ("reorder 10 %", Line { reorder: 10.0, ..none }),
        ("bursts of 5 packets", Line { burst: 5, ..none }),
        ("route +60 ms", Line { route: 60.0, ..none }),
        ("wander 80 ms", Line { wander: 80.0, ..none }),
        ("jitter 20, loss 5 %", Line { jitter: 20.0, loss: 5.0, ..none }),
        ("jitter 40, loss 2 %", Line { jitter: 40.0, loss: 2.0, ..none }),
        ("jitter 80, loss 10 %", Line { jitter: 80.0, loss: 10.0, ..none }),
        ("spikes, jitter 20", Line { spike: 200.0, jitter: 20.0, ..none }),
        ("drift, jitter 20, loss 1 %", Line { ppm: 300.0, jitter: 20.0, loss: 1.0, ..none }),
    ];
    let made = |(n, (name, line)): (usize, (&'static str, Line))| make(name, line, packets, n as u64 + 1);
    lines.into_iter().enumerate().map(made).collect()
}

fn make(name: &'static str, line: Line, packets: usize, seed: u64) -> Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut bad, mut before) = (false, 0.0f64);
    // In the bad state four of five packets are lost, and it lasts for three on average.
    let enter = line.loss / 100.0 / 0.8 / (1.0 - line.loss / 100.0 / 0.8) / 3.0;
    let arrivals = (0..packets).map(|n| {
        let sent = n as f64 * 20_000.0 * (1.0 + line.ppm / 1e6);
        let second = sent / 1e6;
        bad = rng.random_bool(if bad { 2.0 / 3.0 } else { enter });
        let in_burst = line.burst > 0 && n % 150 >= 100 && n % 150 < 100 + line.burst;
        let lost = (bad && rng.random_bool(0.8)) || in_burst;
        let mut delay = -rng.random_range(0.0f64..1.0).max(1e-9).ln() * line.jitter / 3.0;
        delay = delay.min(2.0 * line.jitter);
        delay += line.wander / 2.0 * (1.0 - (second * std::f64::consts::TAU / 8.0).cos());
        if second % 20.0 >= 10.0 {
            delay += line.route;
        }
        let mut arrival = sent + TRANSIT_US + delay * 1000.0;
        let into = (second + 2.5) % 5.0 * 1000.0;
        if into < line.spike {
            arrival = arrival.max(sent + TRANSIT_US + (line.spike - into) * 1000.0);
        }
        if rng.random_range(0.0..100.0) < line.reorder {
            return (!lost).then_some(arrival + rng.random_range(25_000.0..45_000.0));
        }
        // Queues of the network keep the order.
        arrival = arrival.max(before + 50.0);
        before = arrival;
        (!lost).then_some(arrival)
    });
    Trace { name, ppm: line.ppm, arrivals: arrivals.collect() }
}

/// Noise of so many units at most.
pub fn noise(length: usize, peak: i16) -> Vec<i16> {
    let mut rng = StdRng::seed_from_u64(7);
    (0..length).map(|_| rng.random_range(-peak..=peak)).collect()
}
