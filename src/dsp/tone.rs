//! Tones on the line: those of a keypad, heard and made, and those of an exchange.
//!
//! Levels are dBm0, as the recommendations have them: 0 dBm0 is a G.711 sine of −6.2 dBFS ([`crate::dsp::level`]).
//!
//! | module | what |
//! |---|---|
//! | [`keypad`] | the sixteen pairs of frequencies |
//! | [`keys`] | which key is heard (ITU-T Q.24) |
//! | [`progress`] | ringing, busy, no way through: what an exchange says in tones (ITU-T E.180) |
//! | [`beep`] | that of an answering machine |
//! | [`pair`] | one or two sines with soft edges: keys that we send |
//! | [`signal`] | the same for as long as is wanted, with pauses: tones in prompts |

mod bank;
pub mod beep;
pub mod keypad;
pub mod keys;
pub mod pair;
pub mod progress;
pub mod signal;
pub mod steady;

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME: usize = 160;
/// Samples a second.
pub(super) const RATE: f32 = 8_000.0;
/// The mean square of a sine of 0 dBm0 in 16-bit samples.
pub(super) const ZERO_DBM0: f32 = 2.576e8;

/// The amplitude of a sine of so many dBm0.
pub(super) fn amplitude(dbm0: f32) -> f32 {
    (2.0 * mean_square(dbm0)).sqrt()
}

/// The mean square of a sine of so many dBm0.
pub(super) fn mean_square(dbm0: f32) -> f32 {
    ZERO_DBM0 * 10f32.powf(dbm0 / 10.0)
}
