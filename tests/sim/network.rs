//! The network: loss in bursts, delay, jitter, reordering and duplication, all from one seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How bad a path is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Datagrams lost, out of 1000.
    pub loss: u32,
    /// How many in a row are lost on average (Gilbert's model).
    pub burst: u32,
    /// The least transit in ms.
    pub delay: u32,
    /// What is added at random, 0 up to this many ms.
    pub jitter: u32,
    /// Datagrams, out of 1000, that take 30–80 ms more and are overtaken.
    pub reorder: u32,
    /// Datagrams, out of 1000, that come twice.
    pub duplicate: u32,
}

impl Weather {
    /// A wire.
    pub const CLEAN: Weather = Weather { loss: 0, burst: 1, delay: 5, jitter: 0, reorder: 0, duplicate: 0 };
    /// What a call over the internet has to bear.
    pub const POOR: Weather = Weather { loss: 30, burst: 2, delay: 30, jitter: 15, reorder: 10, duplicate: 10 };
    /// SIP that loses every fifth datagram.
    pub const LOSSY: Weather = Weather { loss: 200, burst: 1, delay: 40, jitter: 80, reorder: 50, duplicate: 50 };
}

/// One direction of one kind of traffic.
#[derive(Debug)]
pub struct Path {
    weather: Weather,
    rng: StdRng,
    losing: bool,
    /// When the one before comes: it is not overtaken but by chance.
    last: Duration,
}

impl Path {
    pub fn new(weather: Weather, seed: u64) -> Path {
        Path { weather, rng: StdRng::seed_from_u64(seed), losing: false, last: Duration::ZERO }
    }

    /// When a datagram sent at `now` comes: not at all, once or twice.
    pub fn arrivals(&mut self, now: Duration) -> Vec<Duration> {
        let Weather { loss, burst, delay, jitter, reorder, duplicate } = self.weather;
        let mut one_in = |of_1000: u32| self.rng.random_range(0..1000) < of_1000;
        self.losing = match self.losing {
            true => !one_in(1000 / burst.max(1)),
            false => one_in(loss * 1000 / (burst.max(1) * (1000 - loss))),
        };
        let (late, twice) = (one_in(reorder), one_in(duplicate));
        let transit = u64::from(delay) * 1000 + self.rng.random_range(0..=u64::from(jitter) * 1000);
        if self.losing {
            return Vec::new();
        }
        let mut arrival = now + Duration::from_micros(transit);
        if late {
            arrival += Duration::from_millis(self.rng.random_range(30..80));
        } else {
            arrival = arrival.max(self.last);
            self.last = arrival;
        }
        let again = twice.then(|| arrival + Duration::from_millis(self.rng.random_range(1..30)));
        [Some(arrival), again].into_iter().flatten().collect()
    }
}
