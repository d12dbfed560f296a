//! Two legs that hear each other, on one thread or on two: what one has heard the other sends, 20 ms at a time, by a ring each way.
//!
//! Both are served every 20 ms of the same clock, so a frame waits for less than one slot. When two slots fall on the same millisecond, now one
//! thread is first and now the other: then one frame waits, and nothing is lost. What waits beyond [`WAITING`] is of a thread that was held up, and
//! would only be heard late: the oldest goes. An empty ring is silence.

use crate::call::leg::FRAME;

/// 20 ms, as they were heard.
type Heard = [i16; FRAME];

/// Frames that may wait: 40 ms.
const WAITING: usize = 2;
/// Room for what comes while nobody takes: a leg that is held up is served again within a second, or its ring is full.
const ROOM: usize = 8;

/// A leg's end of it.
#[derive(Debug)]
pub struct Bridge {
    to: rtrb::Producer<Heard>,
    from: rtrb::Consumer<Heard>,
    /// The leg's recogniser, if it has one, goes on hearing it.
    recognised: bool,
}

/// The two ends. Whatever they are made of is made here, off the media threads. Not `recognised`: no recogniser hears the legs any more.
pub fn bridge(recognised: bool) -> (Box<Bridge>, Box<Bridge>) {
    let (to_one, from_other) = rtrb::RingBuffer::new(ROOM);
    let (to_other, from_one) = rtrb::RingBuffer::new(ROOM);
    let end = |to, from| Box::new(Bridge { to, from, recognised });
    (end(to_other, from_other), end(to_one, from_one))
}

impl Bridge {
    pub(super) fn is_recognised(&self) -> bool {
        self.recognised
    }

    /// What was heard goes over, and what the other one heard comes: how many frames were dropped, and what there is.
    pub(super) fn exchange(&mut self, heard: &Heard) -> (u64, Option<Heard>) {
        let mut dropped = u64::from(self.to.push(*heard).is_err());
        for left in (0..self.from.slots()).rev() {
            let Ok(frame) = self.from.pop() else { break };
            if left < WAITING {
                return (dropped, Some(frame));
            }
            dropped += 1;
        }
        (dropped, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crate::call::io::{HeardFrame, RecordedFrame};
    use crate::call::knobs::{BargeIn, LegKnobs};
    use crate::call::leg::{Command, Leg, LegEvent, Media, Outlet, SLOT, Setup, Sound, WallClock};
    use crate::call::prompt::PromptNo;
    use crate::codec::g711::Law;
    use crate::media::{Config, Engine, Metrics, Recorder, Reservation, Wiring};
    use crate::ms::{Ms, epoch};

    fn frame(n: i16) -> Heard {
        [n; FRAME]
    }

    /// What comes to an end that says something, and what was dropped.
    fn turn(end: &mut Bridge, say: i16) -> (u64, Option<i16>) {
        let (dropped, other) = end.exchange(&frame(say));
        (dropped, other.map(|other| other[0]))
    }

    #[test]
    fn each_hears_the_other_one_frame_by_frame() {
        let (mut one, mut other) = bridge(true);
        assert_eq!(turn(&mut one, 1), (0, None), "nothing has come: silence");
        for n in 1..100 {
            assert_eq!(turn(&mut other, 100 + n), (0, Some(n)));
            assert_eq!(turn(&mut one, n + 1), (0, Some(100 + n)));
        }
    }

    #[test]
    fn slots_that_change_their_order_lose_nothing() {
        let (mut one, mut other) = bridge(true);
        let (mut heard, mut said) = (Vec::new(), 0);
        for round in 0..60 {
            let early = round % 3 == 1;
            if early {
                heard.extend(turn(&mut other, 0).1);
            }
            said += 1;
            assert_eq!(turn(&mut one, said).0, 0);
            if !early {
                heard.extend(turn(&mut other, 0).1);
            }
        }
        assert!(heard.len() >= 59, "{heard:?}");
        assert!(heard.iter().zip(1..).all(|(heard, said)| *heard == said), "{heard:?}");
    }

    #[test]
    fn what_waits_too_long_is_dropped_from_its_head_and_counted() {
        let (mut one, mut other) = bridge(true);
        for n in 1..=10 {
            assert_eq!(turn(&mut one, n).0, u64::from(n > 8), "the ring is full");
        }
        assert_eq!(turn(&mut other, 0), (6, Some(7)));
        assert_eq!(turn(&mut other, 0), (0, Some(8)));
        assert_eq!(turn(&mut other, 0), (0, None), "no frame is heard twice");
    }

    /// A leg and what came out of it.
    struct End {
        leg: Leg,
        law: Law,
        bridge: Box<Bridge>,
        recorded: Vec<RecordedFrame>,
        sent: Vec<Vec<u8>>,
    }

    struct Out<'a> {
        bridge: &'a mut Bridge,
        recorded: &'a mut Vec<RecordedFrame>,
        sent: &'a mut Vec<Vec<u8>>,
    }

    impl Outlet for Out<'_> {
        fn event(&mut self, _: LegEvent) {}
        fn heard(&mut self, _: impl FnOnce() -> HeardFrame) {}
        fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
            self.recorded.push(frame());
        }
        fn bridge(&mut self, heard: &Heard) -> Option<Heard> {
            self.bridge.exchange(heard).1
        }
        fn send(&mut self, _: SocketAddr, packet: &[u8]) {
            self.sent.push(packet.to_vec());
        }
        fn report(&mut self, _: SocketAddr, _: &[u8]) {}
    }

    const FAR: ([u8; 4], u16) = ([127, 0, 0, 1], 5_000);

    fn setup(law: Law, remote: SocketAddr, at: Instant) -> Setup {
        let media = Media::g711(law, remote);
        let clock = WallClock { at, unix: Duration::ZERO };
        Setup {
            media,
            srtp: None,
            knobs: LegKnobs::default(),
            inband_keys: Default::default(),
            tones: None,
            answerer: None,
            may_widen: false,
            rtp_timeout: Duration::from_secs(60),
            seed: 1,
            clock,
        }
    }

    /// What a far end says in its n-th frame: never the same, and never silence.
    fn said(law: Law, n: u16, seed: i32) -> [u8; FRAME] {
        let mut samples = [0; FRAME];
        for (sample, i) in samples.iter_mut().zip(i32::from(n) * FRAME as i32..) {
            *sample = ((i * 7_919 * seed) % 20_011 - 10_000) as i16;
        }
        let mut coded = [0; FRAME];
        law.encode(&samples, &mut coded);
        coded
    }

    fn packet(law: Law, n: u16, seed: i32) -> Vec<u8> {
        let number = if law == Law::A { 8 } else { 0 };
        let mut packet = vec![0x80, number];
        packet.extend(n.to_be_bytes());
        packet.extend((u32::from(n) * FRAME as u32).to_be_bytes());
        packet.extend(9u32.to_be_bytes());
        packet.extend(said(law, n, seed));
        packet
    }

    impl End {
        fn new(law: Law, bridge: Box<Bridge>, at: Instant) -> End {
            End { leg: Leg::new(setup(law, FAR.into(), at)), law, bridge, recorded: Vec::new(), sent: Vec::new() }
        }

        fn slot(&mut self, at: Instant, n: u16, seed: i32) {
            self.leg.receive(at, FAR.into(), &packet(self.law, n, seed));
            let End { leg, bridge, recorded, sent, .. } = self;
            leg.tick(at, &mut Out { bridge, recorded, sent });
        }

        fn heard(&self) -> Vec<[i16; FRAME]> {
            self.recorded.iter().map(|frame| frame.caller).collect()
        }

        fn said(&self) -> Vec<[i16; FRAME]> {
            self.recorded.iter().map(|frame| frame.robot).collect()
        }
    }

    /// Sample by sample, both ways, without a gap, from one law into the other; on the wire too.
    #[test]
    fn what_one_leg_hears_the_other_one_sends() {
        let (one, other) = bridge(true);
        let start = epoch();
        let (mut a, mut b) = (End::new(Law::A, one, start), End::new(Law::Mu, other, start));
        for n in 0..200u16 {
            let at = start + SLOT * u32::from(n);
            a.slot(at, n, 3);
            b.slot(at + Duration::from_millis(7), n, 5);
        }
        assert_eq!(a.heard(), b.said());
        assert_eq!(b.heard()[..199], a.said()[1..], "its slot comes later");
        let loud = |frames: &[[i16; FRAME]]| frames.iter().filter(|frame| frame.iter().any(|s| *s != 0)).count();
        assert!(loud(&a.heard()) > 190 && loud(&b.heard()) > 190);
        for (law, heard, sent) in
            [(Law::Mu, a.heard(), &b.sent), (Law::A, b.heard()[..199].to_vec(), &a.sent[1..].to_vec())]
        {
            for (heard, sent) in heard.iter().zip(sent) {
                let mut coded = [0; FRAME];
                law.encode(heard, &mut coded);
                assert_eq!(sent[12..], coded);
            }
        }
    }

    #[test]
    fn what_the_mouth_still_says_is_mixed_in() {
        let (one, other) = bridge(true);
        let start = epoch();
        let (mut a, mut b) = (End::new(Law::A, one, start), End::new(Law::A, other, start));
        let no = PromptNo(1);
        let End { leg, bridge, recorded, sent, .. } = &mut b;
        let sound = Sound::Own(vec![100; FRAME * 10]);
        for command in [
            Command::Prompt { no, barge_in: BargeIn::Never, protect: Ms(0) },
            Command::Sound { no, segment: 0, sound },
            Command::Close { no },
        ] {
            leg.command(command, &mut Out { bridge, recorded, sent });
        }
        for n in 0..30u16 {
            let at = start + SLOT * u32::from(n);
            a.slot(at, n, 3);
            b.slot(at + Duration::from_millis(7), n, 5);
        }
        for (n, (heard, said)) in a.heard().iter().zip(b.said()).enumerate() {
            let over = if n < 10 { 100 } else { 0 };
            assert!(heard.iter().zip(said).all(|(heard, said)| said == heard.saturating_add(over)), "{n}");
        }
    }

    /// A call of the engine's, and its far end: a socket.
    struct Line {
        call: Reservation,
        far: UdpSocket,
        to: SocketAddr,
        recorded: rtrb::Consumer<RecordedFrame>,
    }

    impl Line {
        async fn open(engine: &Engine) -> Line {
            let call = engine.reserve([127, 0, 77, 3].into()).await.expect("a port");
            let far = UdpSocket::bind(("127.0.77.4", 0)).expect("a port");
            let (ring, recorded) = rtrb::RingBuffer::new(600);
            let setup = setup(Law::A, far.local_addr().expect("it is bound"), Instant::now());
            call.open(
                setup,
                Wiring { events: Box::new(|_| {}), heard: None, recorded: Some(Recorder::new(ring, None)) },
            );
            let to = SocketAddr::from(([127, 0, 77, 3], call.port()));
            Line { call, far, to, recorded }
        }

        fn frames(&mut self) -> Vec<RecordedFrame> {
            std::iter::from_fn(|| self.recorded.pop().ok()).collect()
        }
    }

    /// On real threads: all that one hears the other says, in its order, but for what was dropped and counted.
    async fn bridged_on(threads: usize) {
        let config = Config { ports: 41_000..=41_099, threads, realtime: false };
        let metrics = Arc::new(Metrics::default());
        let engine = Engine::start(&config, &metrics).expect("threads");
        let (mut a, mut b) = (Line::open(&engine).await, Line::open(&engine).await);
        let (one, other) = bridge(true);
        a.call.bridge(one);
        b.call.bridge(other);
        let mut ticks = tokio::time::interval(SLOT);
        for n in 0..150u16 {
            ticks.tick().await;
            for (line, seed) in [(&a, 3), (&b, 5)] {
                line.far.send_to(&packet(Law::A, n, seed), line.to).expect("it is sent");
            }
        }
        let (a, b) = (a.frames(), b.frames());
        for (ears, mouth) in [(&a, &b), (&b, &a)] {
            let silent = |frame: &[i16; FRAME]| frame.iter().all(|sample| *sample == 0);
            let heard: Vec<_> = ears.iter().map(|frame| frame.caller).filter(|frame| !silent(frame)).collect();
            let said: Vec<_> = mouth.iter().map(|frame| frame.robot).filter(|frame| !silent(frame)).collect();
            assert!(said.len() > 75, "{} of {}", said.len(), heard.len());
            // Each is found after the one before it: none twice, none out of its turn.
            let mut rest = heard.iter();
            assert!(said.iter().all(|frame| rest.any(|heard| heard == frame)), "{threads} threads");
            // The last ones are on their way; a thread that was held up has dropped what it counted, or skipped slots.
            let lost = heard.len() - said.len();
            let excused = metrics.slots_missed.get() > 0 || metrics.late_ticks.get() > 0;
            assert!(lost <= 4 || excused, "{lost} lost on {threads} threads");
        }
    }

    #[tokio::test]
    async fn two_legs_of_one_thread_hear_each_other() {
        bridged_on(1).await;
    }

    #[tokio::test]
    async fn two_legs_of_two_threads_hear_each_other() {
        bridged_on(2).await;
    }
}
