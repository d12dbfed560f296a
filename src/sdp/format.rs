//! The encodings of an audio stream as a description names them: RFC 3551 (G.711, G.722, L16), RFC 7587 (Opus).
//!
//! | encoding | `a=rtpmap`      | number                  | of the sound                                                          |
//! |----------|-----------------|-------------------------|-----------------------------------------------------------------------|
//! | PCMA     | `PCMA/8000`     | 8                       | 8 kHz                                                                 |
//! | PCMU     | `PCMU/8000`     | 0                       | 8 kHz                                                                 |
//! | G.722    | `G722/8000`     | 9                       | 16 kHz, on a clock of 8 kHz: an old mistake that is kept (§4.5.2)     |
//! | L16      | `L16/16000`     | 112                     | 16 kHz; wider than a packet can hold 60 ms of                         |
//! | L16      | `L16/8000`      | 114                     | 8 kHz                                                                 |
//! | Opus     | `opus/48000/2`  | 111                     | 16 kHz for us; always said to be 48 kHz and stereo (RFC 7587 §7)      |
//!
//! Events have the clock of the sound beside them (RFC 4733 §2.1): there is a number for each clock.

use super::Media;

/// An audio encoding that the media engine sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioFormat {
    /// G.711 A-law, 8 kHz, static payload type 8.
    Pcma,
    /// G.711 µ-law, 8 kHz, static payload type 0.
    Pcmu,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// 16-bit samples at 16 kHz.
    L16Wide,
    /// 16-bit samples at 8 kHz.
    L16,
    /// Opus.
    Opus,
}

impl AudioFormat {
    const ALL: [AudioFormat; 6] = [
        AudioFormat::Pcma,
        AudioFormat::Pcmu,
        AudioFormat::G722,
        AudioFormat::L16Wide,
        AudioFormat::L16,
        AudioFormat::Opus,
    ];

    /// Encoding name, as in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            AudioFormat::Pcma => "PCMA",
            AudioFormat::Pcmu => "PCMU",
            AudioFormat::G722 => "G722",
            AudioFormat::L16Wide | AudioFormat::L16 => "L16",
            AudioFormat::Opus => "opus",
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            AudioFormat::Pcma | AudioFormat::Pcmu | AudioFormat::G722 | AudioFormat::L16 => 8_000,
            AudioFormat::L16Wide => 16_000,
            AudioFormat::Opus => 48_000,
        }
    }

    /// The static payload type (RFC 3551 §6), or the dynamic one that we offer first.
    pub fn payload_type(self) -> u8 {
        match self {
            AudioFormat::Pcma => 8,
            AudioFormat::Pcmu => 0,
            AudioFormat::G722 => 9,
            AudioFormat::L16Wide => 112,
            AudioFormat::L16 => 114,
            AudioFormat::Opus => 111,
        }
    }

    /// The longest packet in ms of which a datagram holds the sound.
    pub fn longest_packet_ms(self) -> u32 {
        if self == AudioFormat::L16Wide { 40 } else { 60 }
    }

    /// It holds more than 8 kHz can.
    pub fn is_wide(self) -> bool {
        matches!(self, AudioFormat::G722 | AudioFormat::L16Wide | AudioFormat::Opus)
    }

    /// What stands in `a=rtpmap` behind the number.
    pub(super) fn rtpmap(self) -> String {
        let channels = if self == AudioFormat::Opus { "/2" } else { "" };
        format!("{}/{}{channels}", self.name(), self.clock_rate())
    }

    /// What a payload type stands for: by its rtpmap, or by the static table when it has none (RFC 8866 §6.6).
    pub(super) fn of(media: &Media, payload_type: u8) -> Option<AudioFormat> {
        match media.rtpmap(payload_type) {
            Some((name, rate)) => AudioFormat::ALL
                .into_iter()
                .find(|format| format.name().eq_ignore_ascii_case(name) && format.clock_rate() == rate)
                // More than one channel of samples is not ours; of Opus two are always said.
                .filter(|format| *format == AudioFormat::Opus || media.channels(payload_type) == 1),
            None => {
                let fixed = [AudioFormat::Pcma, AudioFormat::Pcmu, AudioFormat::G722];
                fixed.into_iter().find(|format| format.payload_type() == payload_type)
            }
        }
    }
}

/// What a receiver of Opus asks of who sends to it (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusWishes {
    /// The highest sampling rate that it can make use of, in Hz.
    pub max_playback_rate: u32,
    /// The highest mean bit rate that it takes.
    pub max_bitrate: Option<u32>,
    /// A constant bit rate.
    pub constant_bitrate: bool,
    /// It makes use of what a packet says of the one before.
    pub inband_fec: bool,
    /// Silence need not be sent.
    pub discontinuous: bool,
}

impl Default for OpusWishes {
    /// Those of a receiver that says nothing.
    fn default() -> OpusWishes {
        OpusWishes {
            max_playback_rate: 48_000,
            max_bitrate: None,
            constant_bitrate: false,
            inband_fec: false,
            discontinuous: false,
        }
    }
}

impl OpusWishes {
    /// Ours: nothing is heard here that lies above 8 kHz, nor in stereo.
    pub(super) const OURS: &str = "maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1";

    /// Of its `a=fmtp`; what does not read, or lies outside what the RFC allows, is as if it was not there.
    pub(super) fn of(media: &Media, payload_type: u8) -> OpusWishes {
        let mut wishes = OpusWishes::default();
        for parameter in media.fmtp(payload_type).unwrap_or_default().split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            let flag = value == "1";
            match name.as_str() {
                "maxplaybackrate" => {
                    let rate = value.parse().ok().filter(|rate| (8_000..=48_000).contains(rate));
                    wishes.max_playback_rate = rate.unwrap_or(wishes.max_playback_rate);
                }
                "maxaveragebitrate" => {
                    wishes.max_bitrate = value.parse().ok().filter(|rate| (6_000..=510_000).contains(rate));
                }
                "cbr" => wishes.constant_bitrate = flag,
                "useinbandfec" => wishes.inband_fec = flag,
                "usedtx" => wishes.discontinuous = flag,
                _ => {}
            }
        }
        wishes
    }
}
