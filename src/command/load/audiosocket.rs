//! A robot for Asterisk's AudioSocket: a connection for each call, all that the caller says one way, the robot's voice the other way.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: 0x00 hang up, 0x01 the call's UUID, 0x03 a key, 0x10 audio, 0xff an error |
//! | 2 | length of what follows |
//! | length | audio: 16-bit samples at 8 kHz, little-endian |
//!
//! One thread, `load-robot`, with the phones' rhythm: in its slot each connection is read, and written if the robot speaks. Nobody
//! recognises or decides anything: the robot speaks as long and as often as the dialogue of `services` makes ours speak.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Trouble;
use super::histogram::Histogram;
use super::speech;
use crate::command::harness::ticks::{Ticks, due};
use crate::command::harness::wire::FRAME;

const HEADER: usize = 3;
const AUDIO: u8 = 0x10;
/// A turn of the conversation, in frames, and when the robot speaks in it: a prompt until it is interrupted, and an answer.
const TURN: u64 = 500;
const SPEAKS: [std::ops::Range<u64>; 2] = [15..138, 215..315];
/// Whether somebody connects is asked so often, ms.
const ACCEPTS: u64 = 10;

/// What the robot has seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Bytes of audio that it got.
    heard: u64,
    /// Frames that it spoke.
    pub(super) frames: u64,
    /// Connections that were ended because they took no whole frame.
    pub(super) broken: u64,
    /// How late this thread was: what it sends late, the phones get late.
    pub(super) lateness: Histogram,
}

impl Seen {
    fn new() -> Seen {
        Seen { heard: 0, frames: 0, broken: 0, lateness: Histogram::of_pacing() }
    }

    /// Audio that it got, in ms.
    pub(super) fn heard_ms(&self) -> u64 {
        self.heard / 16
    }
}

/// The robot; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Robot {
    seen: Arc<Mutex<Seen>>,
}

impl Robot {
    /// Listens there.
    pub(super) fn start(at: SocketAddr) -> Result<Robot, Trouble> {
        let wrong = |error: std::io::Error| Trouble::Socket(format!("AudioSocket on {at}: {error}"));
        let listener = TcpListener::bind(at).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let seen = Arc::new(Mutex::new(Seen::new()));
        let told = Arc::downgrade(&seen);
        let thread = std::thread::Builder::new().name("load-robot".to_owned());
        thread.spawn(move || run(&listener, &told)).map_err(wrong)?;
        Ok(Robot { seen })
    }

    /// Forgets what has been seen, and gives it back.
    pub(super) fn take(&self) -> Seen {
        std::mem::replace(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner), Seen::new())
    }
}

fn run(listener: &TcpListener, told: &Weak<Mutex<Seen>>) {
    let frame = voice();
    let mut lines: Vec<Option<Line>> = Vec::new();
    let mut ticks = Ticks::begin();
    loop {
        ticks.wait();
        let Some(seen) = told.upgrade() else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, passed) = ticks.passed();
        for tick in passed {
            if tick % ACCEPTS == 0 {
                accept(listener, &mut lines);
            }
            let late = now.saturating_sub(Duration::from_millis(tick));
            seen.lateness.add(late.as_micros() as u64);
            for n in due(tick, lines.len()) {
                if let Some(line) = &mut lines[n]
                    && !line.turn(&frame, &mut seen)
                {
                    lines[n] = None;
                }
            }
        }
    }
}

/// Those that wait get the free places first, so that places, and with them slots, are not used up.
fn accept(listener: &TcpListener, lines: &mut Vec<Option<Line>>) {
    while let Ok((stream, _)) = listener.accept() {
        // A connection that cannot be set up so is as good as none: the server sees its end.
        if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
            continue;
        }
        let line = Some(Line { stream, frame: 0, messages: Messages::default() });
        match lines.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = line,
            None => lines.push(line),
        }
    }
}

/// A frame of the robot's voice, as a message. All frames are the same: its tone has eight periods in each.
fn voice() -> Vec<u8> {
    let length = (2 * FRAME) as u16;
    let mut message = vec![AUDIO];
    message.extend(length.to_be_bytes());
    message.extend(&speech::voice()[..2 * FRAME]);
    message
}

/// A call.
struct Line {
    stream: TcpStream,
    frame: u64,
    messages: Messages,
}

impl Line {
    /// Its 20 ms: whether it goes on.
    fn turn(&mut self, voice: &[u8], seen: &mut Seen) -> bool {
        let at = self.frame % TURN;
        self.frame += 1;
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(length) => {
                    seen.heard += self.messages.read(&bytes[..length]);
                    if length < bytes.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if !SPEAKS.iter().any(|speaks| speaks.contains(&at)) {
            return true;
        }
        // Half a message would make nonsense of all that come after it.
        let whole = matches!(self.stream.write(voice), Ok(length) if length == voice.len());
        seen.frames += u64::from(whole);
        seen.broken += u64::from(!whole);
        whole
    }
}

/// Messages, however they are cut.
#[derive(Debug, Default)]
struct Messages {
    /// What has come of a header.
    header: [u8; HEADER],
    of_header: usize,
    /// What is still to come of the message.
    left: usize,
}

impl Messages {
    /// How many bytes of audio are in these.
    fn read(&mut self, mut bytes: &[u8]) -> u64 {
        let mut audio = 0;
        while !bytes.is_empty() {
            if self.of_header < HEADER {
                self.header[self.of_header] = bytes[0];
                self.of_header += 1;
                bytes = &bytes[1..];
                self.left = usize::from(u16::from_be_bytes([self.header[1], self.header[2]]));
            } else {
                let part = self.left.min(bytes.len());
                audio += if self.header[0] == AUDIO { part as u64 } else { 0 };
                self.left -= part;
                bytes = &bytes[part..];
            }
            if self.of_header == HEADER && self.left == 0 {
                self.of_header = 0;
            }
        }
        audio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_counted_however_it_is_cut() {
        let uuid = [[1, 0, 16].as_slice(), &[AUDIO; 16]].concat();
        let stream = [uuid.as_slice(), &voice(), &[0xff, 0, 1, 4], &voice(), &[0, 0, 0]].concat();
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let audio: u64 = stream.chunks(size).map(|chunk| messages.read(chunk)).sum();
            assert_eq!((audio, messages.of_header), (4 * FRAME as u64, 0), "{size} bytes at a time");
        }
    }

    #[test]
    fn a_call_is_heard_and_spoken_to() {
        let at = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let robot = Robot::start(at).expect("it listens");
        let mut call = TcpStream::connect(at).expect("it accepts");
        (0..5).for_each(|_| call.write_all(&voice()).expect("it takes audio"));
        let mut message = voice();
        let began = std::time::Instant::now();
        (0..10).for_each(|_| call.read_exact(&mut message).expect("it speaks"));
        // Ten frames are nine times 20 ms after the first one, which is no beginning of a call.
        assert!(began.elapsed() > Duration::from_millis(20 * 20), "{:?}", began.elapsed());
        assert_eq!(message, voice());
        let seen = robot.take();
        assert_eq!((seen.heard_ms(), seen.broken), (100, 0));
        assert!(seen.frames >= 10 && seen.lateness.count() > 200, "{seen:?}");
    }
}
