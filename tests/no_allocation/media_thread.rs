//! The real engine: one media thread, real sockets on loopback, a call of each kind at once, some seconds of real time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;
use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::leg::{LegEvent, SLOT, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::call::record::LineQuality;
use trunkline::media::{self, Config, Engine, MediaEvent, Metrics, Recorder, Reservation, Wiring};

use trunkline::rtp::srtp::Srtp;

use crate::counting::{self, Count};
use crate::far::{Far, From, Style};
use crate::kinds::{KINDS, Kind, Told, recording, sealed};

static COUNT: Count = Count::new();

/// Before anything is held against it, a thread may get what it needs once: the counters' labels after a second.
const WARM_UP: u32 = 100;
/// Then eight seconds: in these every line has reported by RTCP, and the dead one has been found dead.
const SLOTS: u32 = 400;
/// Longer than that no machine takes, or it does not work.
const PATIENCE: Duration = Duration::from_secs(120);
const ENGINE: [u8; 4] = [127, 0, 0, 77];
const FAR: [u8; 4] = [127, 0, 0, 78];
/// Frames that fit into a ring.
const RING: usize = 50;

/// A call, seen from outside.
struct Line {
    kind: Kind,
    reservation: Reservation,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    far: Far,
    srtp: Option<Box<Srtp>>,
    told: Told,
    closed: Option<LineQuality>,
    events: rtrb::Consumer<MediaEvent>,
    heard: rtrb::Consumer<HeardFrame>,
    recorded: rtrb::Consumer<RecordedFrame>,
    /// Slots that have been recorded.
    slots: u32,
}

#[test]
fn a_media_thread_does_not_allocate_once_its_calls_are_up() {
    counting::count_logs();
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::default());
    metrics.register(&mut registry);
    let config = Config { ports: 31_000..=31_199, threads: 1, realtime: false };
    let engine = Engine::start(&config, &metrics).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let stranger = socket();
    let recording = recording();

    // The first line's first event tells the count which thread is the media thread; the others are made under its eyes.
    let mut lines = Vec::new();
    for kind in KINDS {
        let reservation = runtime.block_on(engine.reserve(ENGINE.into())).expect("a port");
        lines.push(Line::open(*kind, reservation));
        let line = lines.last_mut().expect("just pushed");
        kind.commands(PromptNo(1), &recording).into_iter().for_each(|command| line.reservation.command(command));
        wait_for(|| {
            line.drain();
            line.told.began
        });
    }
    // Two of them hear each other, too.
    let (one, other) = media::bridge(true);
    lines[0].reservation.bridge(one);
    lines[1].reservation.bridge(other);
    assert!(COUNT.calls() > 10, "the count does not see the media thread: {}", COUNT.calls());

    let begin = Instant::now();
    let (mut slot, mut strict_from) = (0, None);
    let found = loop {
        slot += 1;
        std::thread::sleep((begin + SLOT * slot).saturating_duration_since(Instant::now()));
        for line in &mut lines {
            line.slot(slot, &stranger);
        }
        match strict_from {
            None if lines[0].slots >= WARM_UP => {
                // Whatever the callers say, they say it under strict eyes.
                lines.iter_mut().for_each(|line| line.far.speaking = true);
                COUNT.expect_none();
                strict_from = Some(lines[0].slots);
            }
            Some(from) if lines[0].slots >= from + SLOTS => break COUNT.found(),
            _ => assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?} {} slots were served", lines[0].slots),
        }
    };
    assert_eq!(
        found,
        0,
        "allocations, frees and log lines of a media thread with {} calls in {SLOTS} slots",
        KINDS.len()
    );

    // That all of it was really done.
    for line in &mut lines {
        line.reservation.close();
        wait_for(|| {
            line.drain();
            line.closed.is_some()
        });
        line.told.check(&line.kind, &line.far);
        let (name, quality) = (line.kind.name, line.closed.take().expect("waited for"));
        assert_eq!(quality.sent > 0, !line.kind.held, "{name}: {quality:?}");
        assert_eq!(quality.peer.is_some(), !line.kind.held && line.kind.far != Style::Dead, "{name}: {quality:?}");
        if line.kind.far == Style::Wild {
            assert!(quality.lost > 0 && quality.concealed > 0, "{name}: {quality:?}");
        }
    }
    drop(lines);
    drop(engine);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    for reason in ["malformed", "payload_type", "source", "recogniser", "recorder"] {
        let counter = format!("media_dropped_total{{reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&counter)?.parse::<u64>().ok());
        assert!(count.is_some_and(|count| count > 0), "nothing was dropped as {reason}:\n{text}");
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::from((FAR, 0))).expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Line {
    fn open(kind: Kind, reservation: Reservation) -> Line {
        let (rtp, rtcp) = (socket(), socket());
        let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let setup = kind.setup(address(&rtp), address(&rtcp), WallClock { at: Instant::now(), unix });
        let (mut tell, events) = rtrb::RingBuffer::new(4_096);
        let (hear, heard) = rtrb::RingBuffer::new(RING);
        let (record, recorded) = rtrb::RingBuffer::new(RING);
        let events_out = Box::new(move |event| {
            if matches!(event, MediaEvent::Leg(LegEvent::Began { .. })) {
                assert_eq!(std::thread::current().name(), Some("media-0"));
                COUNT.watch();
            }
            // A buffer that finds no room would be freed here, and be counted.
            let _ = tell.push(event);
        });
        reservation
            .open(setup, Wiring { events: events_out, heard: Some(hear), recorded: Some(Recorder::new(record, None)) });
        let mut far = Far::new(kind.far, kind.law);
        far.speaking = false;
        let (told, closed) = (Told::default(), None);
        let srtp = kind.encryption().map(|[_, far]| far);
        Line { kind, reservation, rtp, rtcp, far, srtp, told, closed, events, heard, recorded, slots: 0 }
    }

    /// Twenty milliseconds at the far end.
    fn slot(&mut self, n: u32, stranger: &UdpSocket) {
        let to = |port| SocketAddr::from((ENGINE, port));
        let port = self.reservation.port();
        let (rtp, rtcp, srtp) = (&self.rtp, &self.rtcp, &mut self.srtp);
        self.far.slot(&mut |from, datagram| {
            let socket = if from == From::Far { rtp } else { stranger };
            let _ = socket.send_to(&sealed(srtp.as_deref_mut(), Srtp::protect, datagram), to(port));
        });
        if n.is_multiple_of(50) {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            self.far.report(unix, &mut |compound| {
                let _ = rtcp.send_to(&sealed(srtp.as_deref_mut(), Srtp::protect_rtcp, compound), to(port + 1));
            });
        }
        self.drain();
    }

    /// Takes what has come.
    fn drain(&mut self) {
        let mut buffer = [0; 1_500];
        while let Ok(length) = self.rtp.recv(&mut buffer) {
            let srtp = self.srtp.as_mut();
            let length = srtp.map_or(length, |srtp| srtp.unprotect(&mut buffer[..length]).expect("it is encrypted"));
            self.far.hear(&buffer[..length]);
        }
        while let Ok(length) = self.rtcp.recv(&mut buffer) {
            let srtp = self.srtp.as_mut();
            let length =
                srtp.map_or(length, |srtp| srtp.unprotect_rtcp(&mut buffer[..length]).expect("it is encrypted"));
            self.far.hear_report(&buffer[..length]);
        }
        while let Ok(event) = self.events.pop() {
            match event {
                MediaEvent::Leg(event) => self.told.take(&event),
                MediaEvent::Closed(quality) => self.closed = Some(*quality),
            }
        }
        if !self.kind.full {
            while self.heard.pop().is_ok() {}
            while self.recorded.pop().is_ok() {
                self.slots += 1;
            }
        }
    }
}
