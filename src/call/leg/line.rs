//! Between the leg's sound and its packets: what a payload type means, what recognition gets, and what is sent.

use std::net::SocketAddr;

use super::{Command, FRAME, Gear, Heard, LARGEST_PACKET, Leg, Media, ORDINARY_PACKET, Outlet};
use crate::call::io::{HeardCoding, HeardFrame};
use crate::call::record::LineCodec;
use crate::codec::coding::Coding;
use crate::codec::g711::Law;
use crate::ms::Ms;
use crate::rtp::jitter::MAX_PAYLOAD;
use crate::rtp::packet::PayloadType;
use crate::rtp::srtp::Srtp;

impl Media {
    /// G.711 under its static number, both ways, in packets of 20 ms, with `remote`; no events, no RTCP over the same port.
    pub fn g711(law: Law, remote: SocketAddr) -> Media {
        let payload_type = if law == Law::A { PayloadType::PCMA } else { PayloadType::PCMU };
        Media {
            coding: Coding::G711(law),
            payload_type,
            payload_type_in: payload_type,
            ptime: Ms(20),
            telephone_event: None,
            telephone_event_in: None,
            event_clock: 8_000,
            redundancy: None,
            remote,
            rtcp: SocketAddr::new(remote.ip(), remote.port().saturating_add(1)),
            rtcp_mux: false,
            rtcp_xr: false,
            sends: true,
            receives: true,
        }
    }

    /// Whether what has come under a number is audio, or an event. Ours go first: who sends under the numbers that he wants to be sent is
    /// understood, too.
    pub(super) fn meaning(&self, number: PayloadType) -> (bool, bool) {
        let event = Some(number);
        if number == self.payload_type_in {
            (true, false)
        } else if event == self.telephone_event_in {
            (false, true)
        } else if number == self.payload_type {
            (true, false)
        } else {
            (false, event == self.telephone_event)
        }
    }

    /// Units of the media clock in a frame.
    pub(super) fn units(&self) -> u32 {
        self.coding.clock_rate() / 50
    }

    /// The law of G.711 that is nearest to the line's sound.
    pub fn law(&self) -> Law {
        match self.coding {
            Coding::G711(law) => law,
            _ => Law::A,
        }
    }
}

impl Command {
    /// [`Command::Media`], with what the coding needs. Without memory for that the line is mute.
    pub fn anew(media: Media, srtp: Option<Box<Srtp>>) -> Command {
        Command::Media(media, srtp, Gear::of(&media).unwrap_or(None))
    }
}

/// Where no decoder could be had.
pub(super) fn mute(_: PayloadType, _: &[u8], out: &mut [i16]) -> usize {
    let length = out.len().min(FRAME);
    out[..length].fill(0);
    length
}

impl Leg {
    /// How the line is coded, and its packets.
    pub(super) fn codec(&self) -> LineCodec {
        let (coding, received) = (self.media.coding, self.jitter.stats().received > 0);
        LineCodec {
            name: coding.name(),
            clock_rate: coding.clock_rate(),
            channels: coding.channels(),
            ptime_in: received.then(|| Ms(self.jitter.packet_ms().round() as u32)),
            ptime_out: self.gear.as_ref().map_or(Ms(20), |gear| gear.packet()),
        }
    }

    /// The jitter buffer, as the coding needs it.
    pub(super) fn tune(&mut self) {
        let slots = self.gear.as_mut().and_then(|gear| gear.take_slots());
        self.jitter.retune(self.media.coding.clock_rate(), slots);
        self.mouth.widen(self.gear.as_mut().and_then(|gear| gear.take_throat()));
    }

    /// A key that is sent as a tone takes the place of what is said, as one does that is sent as an event.
    pub(super) fn key_tone(&mut self) -> Option<[i16; FRAME]> {
        if self.media.telephone_event.is_some() || !self.media.sends || self.keys.is_empty() {
            return None;
        }
        let mut tone = [0; FRAME];
        let sounds = self.keys.next_tone(&mut tone);
        if sounds {
            self.mouth.give_way();
        }
        sounds.then_some(tone)
    }

    pub(super) fn tell_recogniser(&self, heard: &Heard, outlet: &mut impl Outlet) {
        let told = self
            .gear
            .as_ref()
            .is_some_and(|gear| gear.heard(heard.at, heard.label, &heard.samples, |frame| outlet.heard(|| frame)));
        if !told {
            outlet.heard(|| {
                let law = self.media.law();
                let sound = heard.coded.unwrap_or_else(|| {
                    let mut sound = [0; FRAME];
                    law.encode(&heard.samples, &mut sound);
                    sound
                });
                HeardFrame { at: heard.at, label: heard.label, coding: HeardCoding::G711(law), sound }
            });
        }
    }

    /// Keys first, then the frame: one packet, where packets are of 20 ms. Silence is sent too: it keeps NATs open, and far ends take a
    /// pause for a dead line.
    pub(super) fn send(&mut self, frame: Option<&[i16; FRAME]>, outlet: &mut impl Outlet) {
        if self.media.sends {
            let (timestamp, clock) = (self.sender.timestamp(), self.media.event_clock);
            let event = self.media.telephone_event;
            let event = event.and_then(|number| Some((number, self.keys.next_packet(timestamp, clock)?)));
            if let Some((number, key)) = event {
                // What was said before the key goes out before it.
                self.send_packets(true, 0, outlet);
                let mut datagram = [0; ORDINARY_PACKET];
                let length = self.sender.event(key.marker, number, key.timestamp, &key.payload, &mut datagram);
                self.seal_and_send(&mut datagram, length, outlet);
            } else if let Some(gear) = &mut self.gear {
                gear.say(frame, self.mouth.whole().filter(|_| !self.muted));
                self.send_packets(false, self.media.units(), outlet);
                // A packet that is not full is no pause.
                self.sender.waits();
            } else if let Coding::G711(law) = self.media.coding {
                let mut payload = [law.silence(); FRAME];
                if let Some(frame) = frame {
                    law.encode(frame, &mut payload);
                }
                let mut datagram = [0; ORDINARY_PACKET];
                let length = self.sender.audio(self.media.payload_type, &payload, &mut datagram);
                self.seal_and_send(&mut datagram, length, outlet);
            }
        } else if let Some(gear) = &mut self.gear {
            gear.forget();
        }
        self.sender.advance(self.media.units());
    }

    /// Sends the packets that are full, or all; `end`: where what has been said ends, in units of the media clock from now on.
    fn send_packets(&mut self, all: bool, end: u32, outlet: &mut impl Outlet) {
        let mut payload = [0; MAX_PAYLOAD];
        while let Some(next) = self.gear.as_mut().and_then(|gear| gear.payload(all, &mut payload)) {
            let mut datagram = [0; LARGEST_PACKET];
            let timestamp = self.sender.timestamp().wrapping_add(end).wrapping_sub(next.since);
            let payload = &payload[..next.length];
            let length = self.sender.audio_at(timestamp, self.media.payload_type, payload, &mut datagram);
            self.seal_and_send(&mut datagram, length, outlet);
        }
    }

    fn seal_and_send(&mut self, datagram: &mut [u8], length: usize, outlet: &mut impl Outlet) {
        if let Some(length) = self.secure.seal(datagram, length) {
            outlet.send(*self.latch.remote(), &datagram[..length]);
        }
    }
}
