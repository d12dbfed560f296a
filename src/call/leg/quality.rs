//! How the far end is heard, in the figures of RFC 3611: for its extended reports and for the call's record.

use std::time::Duration;

use crate::call::record::Lately;
use crate::codec::coding::Coding;
use crate::dsp::level::{FLOOR_DB, dbfs};
use crate::ms::Ms;
use crate::rtp::bursts::Tally;
use crate::rtp::emodel::{self, opinion, rating};
use crate::rtp::jitter::JitterBuffer;
use crate::rtp::xr::VoipMetrics;

use super::{FRAME, SLOT};

/// One frame in so many is measured: levels change slowly, and most of the work is saved.
const ONE_IN: u8 = 8;
/// The weight of a new measurement: a memory of some 3 s.
const WEIGHT: f32 = 1.0 / 16.0;
/// A sine of 0 dBm0 lies here (ITU-T G.711).
const ZERO_DBM0: f32 = -6.2;

/// How loud the far end is.
#[derive(Debug, Default)]
pub(super) struct Levels {
    frames: u8,
    speech: Option<f32>,
    noise: Option<f32>,
}

impl Levels {
    /// Takes a frame; `quiet`: it may not be speech at all.
    pub(super) fn take(&mut self, samples: &[i16; FRAME], voiced: bool, quiet: bool) {
        self.frames = (self.frames + 1) % ONE_IN;
        if self.frames != 0 || voiced == quiet {
            return;
        }
        let mean = if voiced { &mut self.speech } else { &mut self.noise };
        let level = dbfs(samples);
        *mean = Some(mean.map_or(level, |mean| mean + (level - mean) * WEIGHT));
    }
}

/// How the coding bears losses.
fn rated(coding: Coding) -> emodel::Coding {
    match coding {
        // Samples as they are lose nothing to begin with, and are concealed as G.711 is.
        Coding::G711(_) | Coding::L16(_) => emodel::Coding::G711,
        Coding::G722 => emodel::Coding::G722,
        Coding::Opus(_) => emodel::Coding::OPUS,
    }
}

fn dbm0(level: Option<f32>) -> Option<i8> {
    // Digital silence has no level.
    level.filter(|level| *level > FLOOR_DB).map(|level| (level - ZERO_DBM0).round() as i8)
}

/// The figures of a stream; `None`: nothing came.
pub(super) fn metrics(
    coding: Coding,
    tally: Tally,
    jitter: &JitterBuffer,
    levels: &Levels,
    round_trip: Option<Duration>,
    far: Option<VoipMetrics>,
) -> Option<VoipMetrics> {
    if tally.packets == 0 {
        return None;
    }
    let stats = jitter.stats();
    let packet = jitter.packet_ms();
    let length = |packets: f32| Ms((packets * packet).round() as u32);
    let round_trip_ms = round_trip.map(Ms::from);
    // What is heard waits in our buffer, what is said until its packet is full.
    let system = stats.delay + Ms::from(SLOT);
    let score =
        |one_way: f32| rating(rated(coding), tally.loss_rate() + tally.discard_rate(), tally.burst_ratio(), one_way);
    // A far end that does not say what it adds itself adds as much as we do.
    let far = far.and_then(|far| far.end_system_ms).unwrap_or(system);
    let r_factor = round_trip_ms.map(|trip| score((trip.0 + system.0 + far.0) as f32 / 2.0));
    Some(VoipMetrics {
        loss_rate: tally.loss_rate(),
        discard_rate: tally.discard_rate(),
        burst_density: tally.burst_density(),
        gap_density: tally.gap_density(),
        burst_ms: length(tally.burst_length()),
        gap_ms: length(tally.gap_length()),
        round_trip_ms,
        end_system_ms: Some(system),
        signal_dbm0: dbm0(levels.speech),
        noise_dbm0: dbm0(levels.noise),
        // We have no echo canceller that would know.
        echo_loss_db: None,
        r_factor,
        mos_lq: Some(opinion(score(0.0))),
        mos_cq: r_factor.map(opinion),
        buffer_ms: Some(stats.target),
        buffer_max_ms: Some(jitter.longest()),
    })
}

/// The figures of a stretch; `None`: nothing came.
pub(super) fn lately(coding: Coding, tally: Tally) -> Option<Lately> {
    (tally.packets > 0).then(|| {
        let (loss_rate, discard_rate) = (tally.loss_rate(), tally.discard_rate());
        let mos_lq = opinion(rating(rated(coding), loss_rate + discard_rate, tally.burst_ratio(), 0.0));
        Lately { loss_rate, discard_rate, mos_lq }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_and_what_is_between_have_levels_of_their_own() {
        let mut levels = Levels::default();
        assert_eq!((dbm0(levels.speech), dbm0(levels.noise)), (None, None));
        for n in 0..400 {
            let voiced = n % 2 == 1;
            // A square wave of 1/10 of full scale lies 20 dB below it, of 1/1000 60 dB.
            let amplitude = if voiced { 3_277 } else { 33 };
            let samples = std::array::from_fn(|i| if i % 2 == 0 { amplitude } else { -amplitude });
            for _ in 0..2 {
                levels.take(&samples, voiced, !voiced);
            }
            // What may be speech and is not: neither.
            levels.take(&[i16::MAX; FRAME], false, false);
        }
        assert_eq!((dbm0(levels.speech), dbm0(levels.noise)), (Some(-14), Some(-54)));
    }
}
