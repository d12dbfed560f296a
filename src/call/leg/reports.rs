//! The leg's RTCP: reports to the far end, and what it reports of us.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::call::record::PeerQuality;
use crate::ms::Ms;
use crate::rtp::jitter::JitterBuffer;
use crate::rtp::rtcp::{MAX_COMPOUND, NtpTime, Reading, SenderInfo, Session, State};
use crate::rtp::sender::Sender;
use crate::rtp::xr::VoipMetrics;

/// The wall clock, as it stood at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// The moment.
    pub at: Instant,
    /// Time since 1970 then.
    pub unix: Duration,
}

impl WallClock {
    fn ntp(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix(self.unix + now.saturating_duration_since(self.at))
    }
}

/// Reports, and what they need.
#[derive(Debug)]
pub(super) struct Reports {
    session: Session,
    clock: WallClock,
    rng: StdRng,
}

impl Reports {
    /// Asks for what the next slot meets.
    pub(super) fn warm(&self) {
        self.session.warm();
    }

    pub(super) fn new(clock: WallClock, sender: &Sender, rng: &mut StdRng) -> Reports {
        let mut rng = StdRng::seed_from_u64(rng.random());
        // RFC 7022 §4.2: 96 random bits name this endpoint for this call only.
        let cname = format!("{:024x}", rng.random::<u128>() >> 32);
        let session = Session::new(sender.ssrc(), &cname, clock.at, &mut rng);
        Reports { session, clock, rng }
    }

    /// Whether a report is due now.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        self.session.due(now, &mut self.rng)
    }

    /// Writes it. `voip`: how the far end is heard, if it wants to know.
    pub(super) fn report(
        &mut self,
        now: Instant,
        sender: &Sender,
        jitter: &mut JitterBuffer,
        voip: Option<VoipMetrics>,
        out: &mut [u8; MAX_COMPOUND],
    ) -> usize {
        let state = State { sender: self.info(now, sender), reception: jitter.report(), voip };
        self.session.report(now, &mut self.rng, &state, out)
    }

    /// The last one.
    pub(super) fn farewell(
        &mut self,
        now: Instant,
        sender: &Sender,
        jitter: &mut JitterBuffer,
        voip: Option<VoipMetrics>,
        out: &mut [u8; MAX_COMPOUND],
    ) -> usize {
        let state = State { sender: self.info(now, sender), reception: jitter.report(), voip };
        self.session.bye(now, &state, out)
    }

    /// Takes a datagram of the far end.
    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Reading {
        self.session.handle(now, self.clock.ntp(now), datagram)
    }

    /// To the far end and back, once it has answered a report.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.session.round_trip()
    }

    /// How the far end hears us, if it has said so by an extended report.
    pub(super) fn voip(&self) -> Option<VoipMetrics> {
        self.session.voip()
    }

    /// How the far end says that it hears us.
    /// Its jitter is told in units of our sound's clock.
    pub(super) fn peer(&self, clock_rate: u32) -> Option<PeerQuality> {
        self.session.peer().map(|peer| PeerQuality {
            lost: u64::try_from(peer.cumulative_lost).unwrap_or(0),
            jitter_ms: Ms(u32::try_from(u64::from(peer.jitter) * 1_000 / u64::from(clock_rate)).unwrap_or(u32::MAX)),
            round_trip_ms: self.session.round_trip().map(Ms::from),
            heard: self.session.voip(),
        })
    }

    fn info(&self, now: Instant, sender: &Sender) -> SenderInfo {
        let sent = sender.sent();
        SenderInfo {
            ntp: self.clock.ntp(now),
            timestamp: sender.timestamp(),
            // RFC 3550 §6.4.1: both counts wrap.
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        }
    }
}

/// Where our reports go: where signalling says, unless media turned out to come from elsewhere; then beside it (RFC 3550 §11).
pub(super) fn destination(signalled: SocketAddr, signalled_media: SocketAddr, media: SocketAddr) -> SocketAddr {
    if media == signalled_media { signalled } else { SocketAddr::new(media.ip(), media.port().saturating_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::io::{HeardFrame, RecordedFrame};
    use crate::call::knobs::LegKnobs;
    use crate::call::leg::{Leg, LegEvent, Media, Outlet, SLOT, Setup};
    use crate::codec::g711::Law;
    use crate::ms::epoch;

    #[derive(Default)]
    struct Wire {
        rtp: Vec<Vec<u8>>,
        rtcp: Vec<Vec<u8>>,
        reported_to: Option<SocketAddr>,
    }

    impl Outlet for Wire {
        fn event(&mut self, _: LegEvent) {}
        fn heard(&mut self, _: impl FnOnce() -> HeardFrame) {}
        fn record(&mut self, _: impl FnOnce() -> RecordedFrame) {}
        fn send(&mut self, _: SocketAddr, packet: &[u8]) {
            self.rtp.push(packet.to_vec());
        }
        fn report(&mut self, to: SocketAddr, compound: &[u8]) {
            self.reported_to = Some(to);
            self.rtcp.push(compound.to_vec());
        }
    }

    fn leg(start: Instant, seed: u64, remote: SocketAddr) -> Leg {
        let media = Media::g711(Law::A, remote);
        let clock = WallClock { at: start, unix: Duration::from_secs(1_800_000_000) };
        Leg::new(Setup {
            media,
            srtp: None,
            may_widen: false,
            knobs: LegKnobs::default(),
            inband_keys: Default::default(),
            tones: None,
            answerer: None,
            rtp_timeout: Duration::from_secs(30),
            seed,
            clock,
        })
    }

    /// Two legs on a line of 40 ms each way, on which one packet in ten is lost on the way to the second.
    #[test]
    fn each_end_learns_how_the_other_one_hears_it() {
        let start = epoch();
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 4_000)), SocketAddr::from(([127, 0, 0, 1], 5_000)));
        let (mut one, mut two) = (leg(start, 1, there), leg(start, 2, here));
        let mut line: Vec<(Wire, Wire)> = Vec::new();
        let mut reported_to = None;
        for n in 0..1_000u32 {
            let now = start + SLOT * n;
            if n >= 2 {
                let (from_one, from_two) = &line[n as usize - 2];
                for packet in from_one.rtp.iter().filter(|_| n % 10 != 0) {
                    two.receive(now, here, packet);
                }
                from_one.rtcp.iter().for_each(|compound| two.receive_report(now, here, compound));
                from_two.rtp.iter().for_each(|packet| one.receive(now, there, packet));
                from_two.rtcp.iter().for_each(|compound| one.receive_report(now, there, compound));
            }
            let mut wires = (Wire::default(), Wire::default());
            one.tick(now, &mut wires.0);
            two.tick(now, &mut wires.1);
            reported_to = wires.0.reported_to.or(reported_to);
            line.push(wires);
        }
        assert_eq!(reported_to, Some(SocketAddr::from(([127, 0, 0, 1], 5_001))));
        let heard = one.quality().peer.expect("the second one has reported");
        assert!((60..=100).contains(&heard.lost), "a tenth of what it was told of: {heard:?}");
        let trip = heard.round_trip_ms.expect("and answered a report");
        assert!((78..=82).contains(&trip.0), "twice 40 ms: {trip}");
        assert_eq!(two.quality().peer.map(|peer| peer.lost), Some(0));
        assert!(two.quality().lost >= 90, "the loss itself is counted where it was seen");
    }

    #[test]
    fn a_stranger_reports_nothing() {
        let start = epoch();
        let mut one = leg(start, 1, SocketAddr::from(([127, 0, 0, 1], 5_000)));
        let mut wire = Wire::default();
        one.farewell(start, &mut wire);
        one.receive_report(start, SocketAddr::from(([127, 0, 0, 9], 5_001)), &wire.rtcp[0]);
        one.receive_report(start, SocketAddr::from(([127, 0, 0, 1], 5_001)), b"nonsense");
        assert_eq!((one.refused().source, one.refused().malformed), (1, 1));
        one.receive_report(start, SocketAddr::from(([127, 0, 0, 1], 5_001)), &wire.rtcp[0][..wire.rtcp[0].len() - 1]);
        assert_eq!((one.refused().source, one.refused().malformed), (1, 2), "what breaks off is counted");
    }

    #[test]
    fn on_a_shared_port_reports_are_told_from_audio_and_without_one_they_are_refused() {
        let (start, there) = (epoch(), SocketAddr::from(([127, 0, 0, 1], 5_000)));
        let mut far = leg(start, 2, there);
        let mut wire = Wire::default();
        far.tick(start, &mut wire);
        far.farewell(start, &mut wire);
        let mut one = leg(start, 1, there);
        one.receive(start, there, &wire.rtcp[0]);
        assert_eq!((one.refused().malformed, one.shares_port()), (1, false));
        let media = Media { rtcp_mux: true, ..one.media };
        one.command(crate::call::leg::Command::anew(media, None), &mut Wire::default());
        one.receive(start, there, &wire.rtcp[0]);
        one.receive(start, there, &wire.rtp[0]);
        assert_eq!((one.refused().malformed, one.quality().received, one.shares_port()), (1, 1, true));
        let mut out = Wire::default();
        one.latch.signal(SocketAddr::from(([127, 0, 0, 1], 7_000)));
        one.farewell(start, &mut out);
        assert_eq!(out.reported_to, Some(SocketAddr::from(([127, 0, 0, 1], 7_000))), "where the audio goes");
    }

    #[test]
    fn reports_follow_media_behind_a_nat() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(destination(address(5_003), address(5_000), address(5_000)), address(5_003), "as signalled");
        assert_eq!(destination(address(5_003), address(5_000), address(7_000)), address(7_001), "beside the media");
    }
}
