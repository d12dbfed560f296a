//! What comes to the leg as RTP: who may send it, what it is, and where it goes. RFC 2198 packets are taken apart here.

use std::net::SocketAddr;
use std::time::Instant;

use super::Leg;
use crate::rtp::packet::{Packet, PayloadType};
use crate::rtp::redundancy::{self, Block, Blocks};
use crate::rtp::rtcp::is_rtcp;
use crate::rtp::srtp::MAX_PACKET;

impl Leg {
    /// A datagram came. One that does not belong here is counted and forgotten.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.media.rtcp_mux && is_rtcp(datagram) {
            return self.receive_report(now, from, datagram);
        }
        if !self.secure.is_on() {
            return self.take(now, from, datagram);
        }
        let mut room = [0; MAX_PACKET];
        if let Some(packet) = self.secure.open(datagram, false, &mut room, &mut self.refused) {
            self.take(now, from, packet);
        }
    }

    fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(mut packet) = Packet::parse(datagram) else {
            self.refused.malformed += 1;
            return;
        };
        let mut blocks = None;
        if Some(packet.payload_type) == self.media.redundancy {
            let Some(read) = redundancy::read(packet.payload) else {
                self.refused.malformed += 1;
                return;
            };
            (packet.payload_type, packet.payload) = (read.newest.payload_type, read.newest.payload);
            blocks = Some(read);
        }
        let (is_audio, is_event) = self.media.meaning(packet.payload_type);
        let is_comfort_noise = packet.payload_type == PayloadType::CN;
        if !is_audio && !is_event && !is_comfort_noise {
            self.refused.payload_type += 1;
            return;
        }
        if !self.latch.admit(from) {
            self.refused.source += 1;
            return;
        }
        self.heard_at = Some(now);
        // Events and comfort noise take part in the sequence, but have nothing to play.
        let samples = if is_audio { self.media.coding.units(packet.payload) } else { 0 };
        self.jitter.insert(now, &packet, samples);
        if let Some(blocks) = blocks {
            self.take_again(now, &packet, &blocks);
        }
        if is_event {
            self.take_event(now, packet.timestamp, packet.payload);
        }
    }

    /// What a packet says of those before it: keys before its own, in their order, since what was told before is known by its timestamp;
    /// sound where there is a gap.
    fn take_again(&mut self, now: Instant, packet: &Packet<'_>, blocks: &Blocks<'_>) {
        for block in blocks.older() {
            let Block { payload_type, offset, payload } = block;
            match self.media.meaning(payload_type) {
                (true, _) => {
                    self.jitter.recover(now, packet, &block, self.media.coding.units(payload));
                }
                (_, true) => self.take_event(now, packet.timestamp.wrapping_sub(offset), payload),
                // Noise that fills a pause is old by now.
                _ if payload_type == PayloadType::CN => {}
                _ => self.refused.payload_type += 1,
            }
        }
    }

    fn take_event(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        self.events.handle(now, timestamp, payload);
        self.pressing = true;
        self.take_keys();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::io::{HeardFrame, RecordedFrame};
    use crate::call::knobs::LegKnobs;
    use crate::call::leg::{Command, InbandKeys, LegEvent, Media, Outlet, Refused, SLOT, Setup, WallClock};
    use crate::codec::g711::Law;
    use crate::ms::epoch;
    use crate::rtp::packet::{SequenceNumber, Ssrc};

    const RED: PayloadType = PayloadType::new(121).unwrap();
    const EVENT: PayloadType = PayloadType::new(101).unwrap();

    #[derive(Default)]
    struct Keys(String);

    impl Outlet for Keys {
        fn event(&mut self, event: LegEvent) {
            if let LegEvent::Key { key, .. } = event {
                self.0.push(key);
            }
        }
        fn heard(&mut self, _: impl FnOnce() -> HeardFrame) {}
        fn record(&mut self, _: impl FnOnce() -> RecordedFrame) {}
        fn send(&mut self, _: SocketAddr, _: &[u8]) {}
        fn report(&mut self, _: SocketAddr, _: &[u8]) {}
    }

    fn far() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5_000))
    }

    fn leg(redundancy: Option<PayloadType>) -> Leg {
        let media = Media {
            telephone_event: Some(EVENT),
            telephone_event_in: Some(EVENT),
            redundancy,
            ..Media::g711(Law::A, far())
        };
        Leg::new(Setup {
            media,
            srtp: None,
            may_widen: false,
            knobs: LegKnobs::default(),
            inband_keys: InbandKeys::Off,
            tones: None,
            answerer: None,
            rtp_timeout: Duration::from_secs(9),
            seed: 1,
            clock: WallClock { at: epoch(), unix: Duration::ZERO },
        })
    }

    fn packet(payload_type: PayloadType, n: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let (sequence, ssrc) = (SequenceNumber(n), Ssrc(7));
        let packet = Packet { marker: false, payload_type, sequence, timestamp, ssrc, payload };
        let mut datagram = vec![0; 400];
        let length = packet.write_into(&mut datagram);
        datagram.truncate(length);
        datagram
    }

    fn red(older: &[(PayloadType, u32, &[u8])], newest: (PayloadType, &[u8])) -> Vec<u8> {
        let older: Vec<Block<'_>> =
            older.iter().map(|&(payload_type, offset, payload)| Block { payload_type, offset, payload }).collect();
        let mut out = vec![0; 400];
        let length = redundancy::write(&older, newest, &mut out).expect("it fits");
        out.truncate(length);
        out
    }

    #[test]
    fn a_press_of_which_only_an_echo_came_is_heard_once_and_before_the_next() {
        let (mut leg, mut keys, mut now) = (leg(Some(RED)), Keys::default(), epoch());
        let (one, two) = ([1, 0x8a, 3, 32], [2, 10, 0, 160]);
        let again = red(&[(EVENT, 1_600, &one)], (EVENT, &two));
        let sound = red(&[(EVENT, 1_760, &one), (EVENT, 160, &two)], (PayloadType::PCMA, &[0xd5; 160]));
        for (n, payload) in [(1, &again), (2, &again), (3, &sound), (4, &sound)] {
            let timestamp = 8_000 + 160 * u32::from(n >= 3);
            leg.receive(now, far(), &packet(RED, n, timestamp, payload));
            leg.tick(now, &mut keys);
            now += SLOT;
        }
        assert_eq!(keys.0, "12");
        assert_eq!(leg.refused(), Refused::default());
    }

    #[test]
    fn malformed_and_strange_blocks_are_counted_and_harm_nothing() {
        let (mut leg, mut keys, now) = (leg(Some(RED)), Keys::default(), epoch());
        let whole = red(&[(EVENT, 160, &[5, 10, 0, 160])], (PayloadType::PCMA, &[0xd5; 160]));
        for length in 0..9 {
            leg.receive(now, far(), &packet(RED, 1, 160, &whole[..length]));
        }
        assert_eq!(leg.refused(), Refused { malformed: 9, ..Refused::default() });
        // What was not agreed on, older and newest; and redundancy in redundancy.
        leg.receive(
            now,
            far(),
            &packet(RED, 1, 160, &red(&[(PayloadType::G722, 160, &[1])], (PayloadType::PCMA, &[0xd5; 160]))),
        );
        leg.receive(now, far(), &packet(RED, 2, 320, &red(&[], (PayloadType::G722, &[1]))));
        leg.receive(now, far(), &packet(RED, 3, 320, &red(&[], (RED, &whole))));
        assert_eq!(leg.refused(), Refused { malformed: 9, payload_type: 3, ..Refused::default() });
        leg.receive(now, far(), &packet(RED, 2, 320, &whole));
        leg.tick(now, &mut keys);
        assert_eq!(keys.0, "5");
        assert_eq!(leg.quality().received, 2, "sound goes on beside it");
    }

    #[test]
    fn what_was_not_agreed_on_is_not_taken_apart() {
        let (mut leg, now) = (leg(None), epoch());
        leg.receive(
            now,
            far(),
            &packet(RED, 1, 160, &red(&[(EVENT, 160, &[5, 10, 0, 160])], (PayloadType::PCMA, &[]))),
        );
        assert_eq!(leg.refused(), Refused { payload_type: 1, ..Refused::default() });
    }

    #[test]
    fn one_press_is_one_though_it_comes_by_rtp_and_by_info() {
        let (mut leg, mut keys, start) = (leg(None), Keys::default(), epoch());
        let mut pressed = packet(EVENT, 1, 800, &[5, 0x8a, 0, 160]);
        // The marker.
        pressed[1] |= 0x80;
        leg.tick(start, &mut keys);
        leg.receive(start + SLOT, far(), &pressed);
        leg.tick(start + SLOT, &mut keys);
        leg.command(Command::Pressed('5'), &mut keys);
        leg.tick(start + SLOT * 2, &mut keys);
        assert_eq!(keys.0, "5", "told twice, pressed once");
        leg.command(Command::Pressed('5'), &mut keys);
        leg.command(Command::Pressed('6'), &mut keys);
        leg.tick(start + SLOT * 3, &mut keys);
        assert_eq!(keys.0, "556", "the next press of the same key is another one");
    }
}
