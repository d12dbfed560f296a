//! Times, counted: fixed bins, so that counting one costs nothing.

/// Bins of one width; what is beyond the last one counts in it, and is still seen in [`Histogram::max`].
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    width_us: u64,
    bins: Vec<u32>,
    count: u64,
    max_us: u64,
}

impl Histogram {
    /// Bins of `width_us` up to `to_us`.
    pub(super) fn new(width_us: u64, to_us: u64) -> Histogram {
        Histogram { width_us, bins: vec![0; (to_us / width_us + 1) as usize], count: 0, max_us: 0 }
    }

    /// Deviations of packets: 10 µs a bin, up to 200 ms.
    pub(super) fn of_pacing() -> Histogram {
        Histogram::new(10, 200_000)
    }

    /// What a caller waits for: 0.5 ms a bin, up to 10 s.
    pub(super) fn of_waiting() -> Histogram {
        Histogram::new(500, 10_000_000)
    }

    pub(super) fn add(&mut self, us: u64) {
        let bin = ((us / self.width_us) as usize).min(self.bins.len() - 1);
        self.bins[bin] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// In µs: the upper end of the bin that holds the share `q` (0 to 1) of all; 0 when there is nothing.
    pub(super) fn quantile(&self, q: f64) -> u64 {
        let wanted = (self.count as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bin, count) in self.bins.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return ((bin as u64 + 1) * self.width_us).min(self.max_us);
            }
        }
        self.max_us
    }

    /// In µs.
    pub(super) fn max(&self) -> u64 {
        self.max_us
    }
}

/// By how much `y` grows for each `x`, by least squares; 0 of fewer than two points.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (mut up, mut across) = (0.0, 0.0);
    for point in points {
        up += (point.0 - x) * (point.1 - y);
        across += (point.0 - x) * (point.0 - x);
    }
    if across > 0.0 { up / across } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_bin() {
        let mut all = Histogram::new(10, 1_000);
        (1..=100).for_each(|n| all.add(n * 10 - 5));
        assert_eq!((all.count(), all.quantile(0.5), all.quantile(0.99), all.max()), (100, 500, 990, 995));
        all.add(70_000);
        assert_eq!((all.quantile(1.0), all.max()), (1_010, 70_000), "beyond the last bin");
        assert_eq!(Histogram::new(10, 100).quantile(0.5), 0);
    }

    #[test]
    fn a_line_has_its_slope() {
        let line: Vec<_> = (0..10).map(|n| (f64::from(n), 7.0 + 2.5 * f64::from(n))).collect();
        assert!((slope(&line) - 2.5).abs() < 1e-9);
        assert_eq!((slope(&[]), slope(&[(1.0, 1.0)])), (0.0, 0.0));
    }
}
