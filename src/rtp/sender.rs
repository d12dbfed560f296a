//! RFC 3550 section 5.1 and RFC 3551 section 4.1: the stream that we send.
//!
//! | what                     | rule                                                                                   |
//! |--------------------------|----------------------------------------------------------------------------------------|
//! | SSRC, first sequence and timestamp | random (RFC 3550 section 5.1)                                                |
//! | sequence                 | one more with each packet, audio or event, without a gap                               |
//! | timestamp                | the media clock, which goes on while nothing is sent: a pause shows as a jump           |
//! | marker                   | the first packet, and the first audio after a pause or after an event that replaced audio |
//!
//! The media clock is a count of samples that the owner moves by [`Sender::advance`] once a frame, whether it sent that frame
//! or not; so timestamps follow real time for as long as the owner's ticks do.

use rand::{Rng, RngExt};

use super::packet::{Packet, PayloadType, SequenceNumber, Ssrc};

/// What a [`Sender`] has sent, for the sender report and for the record of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets, events included.
    pub packets: u64,
    /// Payload bytes, without headers.
    pub octets: u64,
    /// Talk-spurts, which is how many packets carried the marker for audio.
    pub spurts: u64,
}

/// Numbers and stamps the packets of one outgoing stream.
#[derive(Debug)]
pub struct Sender {
    ssrc: Ssrc,
    sequence: SequenceNumber,
    clock: u32,
    spurt: bool,
    sent_this_frame: bool,
    sent: Sent,
}

impl Sender {
    /// A stream of our own choice of SSRC, first sequence number and first timestamp.
    pub fn new(rng: &mut impl Rng) -> Sender {
        Sender {
            ssrc: Ssrc(rng.random()),
            // In the lower half: who misses the first packets of SRTP counts the same wraps as we (RFC 3711 §3.3.1).
            sequence: SequenceNumber(rng.random::<u16>() >> 1),
            clock: rng.random(),
            spurt: false,
            sent_this_frame: false,
            sent: Sent::default(),
        }
    }

    /// Writes one packet of audio that begins at the media clock's present and returns its length in bytes (0 if `datagram` is
    /// too short: then nothing has been sent and no number used).
    pub fn audio(&mut self, payload_type: PayloadType, payload: &[u8], datagram: &mut [u8]) -> usize {
        self.audio_at(self.clock, payload_type, payload, datagram)
    }

    /// The same of audio that does not begin now but at `timestamp`: a packet longer than a frame is written when its last sample is there.
    pub fn audio_at(
        &mut self,
        timestamp: u32,
        payload_type: PayloadType,
        payload: &[u8],
        datagram: &mut [u8],
    ) -> usize {
        let marker = !self.spurt;
        let length = self.write(marker, payload_type, timestamp, payload, datagram);
        if length > 0 {
            self.spurt = true;
            self.sent_this_frame = true;
            self.sent.spurts += u64::from(marker);
        }
        length
    }

    /// The audio goes on, though nothing was sent of this frame: it waits for its packet to be full.
    pub fn waits(&mut self) {
        self.sent_this_frame = true;
    }

    /// Writes one packet of a telephone event (RFC 4733), which keeps the timestamp at which its event began.
    pub fn event(
        &mut self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: u32,
        payload: &[u8],
        datagram: &mut [u8],
    ) -> usize {
        self.write(marker, payload_type, timestamp, payload, datagram)
    }

    /// Moves the media clock on by a frame of `samples`. If no audio was sent for it, the next audio begins a talk-spurt.
    pub fn advance(&mut self, samples: u32) {
        self.clock = self.clock.wrapping_add(samples);
        self.spurt &= self.sent_this_frame;
        self.sent_this_frame = false;
    }

    /// The media clock: the timestamp of audio sent now.
    pub fn timestamp(&self) -> u32 {
        self.clock
    }

    /// Our SSRC.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// What has been sent.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    fn write(
        &mut self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: u32,
        payload: &[u8],
        datagram: &mut [u8],
    ) -> usize {
        let packet = Packet { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc, payload };
        let length = packet.write_into(datagram);
        if length > 0 {
            self.sequence = self.sequence.next();
            self.sent.packets += 1;
            self.sent.octets += payload.len() as u64;
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn audio(sender: &mut Sender) -> (bool, u16, u32) {
        let mut buffer = [0; 200];
        let length = sender.audio(PayloadType::PCMA, &[0xd5; 160], &mut buffer);
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.marker, packet.sequence.0, packet.timestamp)
    }

    #[test]
    fn marks_talk_spurts_and_keeps_the_clock_through_pauses() {
        let mut sender = Sender::new(&mut StdRng::seed_from_u64(1));
        let (marker, sequence, timestamp) = audio(&mut sender);
        assert!(marker, "the first packet starts a talk-spurt");
        sender.advance(160);
        assert_eq!(audio(&mut sender), (false, sequence.wrapping_add(1), timestamp.wrapping_add(160)));
        for _ in 0..50 {
            sender.advance(160);
        }
        assert_eq!(audio(&mut sender), (true, sequence.wrapping_add(2), timestamp.wrapping_add(160 * 51)));
        assert_eq!(sender.sent(), Sent { packets: 3, octets: 480, spurts: 2 });
    }

    #[test]
    fn events_share_the_sequence_and_keep_their_own_timestamp() {
        let mut sender = Sender::new(&mut StdRng::seed_from_u64(2));
        let (_, sequence, began) = audio(&mut sender);
        let event = PayloadType::new(101).unwrap();
        let mut buffer = [0; 64];
        for _ in 0..5 {
            sender.advance(160);
            let length = sender.event(false, event, began, &[5, 10, 0, 160], &mut buffer);
            assert_eq!(Packet::parse(&buffer[..length]).unwrap().timestamp, began);
        }
        sender.advance(160);
        assert_eq!(audio(&mut sender), (true, sequence.wrapping_add(6), began.wrapping_add(960)));
    }

    #[test]
    fn a_short_buffer_uses_no_number() {
        let mut sender = Sender::new(&mut StdRng::seed_from_u64(3));
        let (_, sequence, _) = audio(&mut sender);
        assert_eq!(sender.audio(PayloadType::PCMA, &[0; 160], &mut [0; 100]), 0);
        assert_eq!(audio(&mut sender).1, sequence.wrapping_add(1));
        assert_eq!(sender.sent().packets, 2);
    }

    #[test]
    fn two_seeds_give_two_streams_and_one_seed_one() {
        let of = |seed| Sender::new(&mut StdRng::seed_from_u64(seed)).ssrc();
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
    }
}
