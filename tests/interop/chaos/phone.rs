//! The callers: one socket for the SIP of all of them, one for the media of each. A caller waits for the robot, lets it finish, and says something; all the
//! while it measures how long it hears nothing although it is not its turn.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use trunkline::codec::g711::Law;
use trunkline::sip::message::{HeaderName, Message, Method, Request, Writer, parse};

use crate::rig::{media_port, sdp};

/// Silence after which the robot has finished: the pauses of the waiting sound are shorter.
const FINISHED: u32 = 1_800;
/// Louder than this is sound.
const SOUND: u16 = 200;

/// What is said, A-law.
static PHRASE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/test-audio/human-thank-you.wav");
    let samples = hound::WavReader::open(path).expect("it plays").into_samples::<i16>();
    samples.map(|sample| Law::A.encode_one(sample.expect("whole"))).collect()
});

/// What a caller heard.
#[derive(Debug, Default, Clone)]
pub struct Heard {
    pub sip_call_id: String,
    pub sound_ms: u32,
    /// While the robot was waited for, in the time of its packets.
    pub longest_silence: u32,
}

/// All of them.
pub struct Phones {
    over: mpsc::UnboundedReceiver<Heard>,
}

struct Line {
    answer: Vec<u8>,
    hang_up: Option<oneshot::Sender<()>>,
}

impl Phones {
    /// Answers every call to a port.
    pub async fn answer(port: u16) -> Phones {
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.expect("a free port");
        let (told, over) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut lines: HashMap<String, Line> = HashMap::new();
            let mut buffer = vec![0; 65_535];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.expect("it is read");
                let Ok(Message::Request(request)) = parse(&buffer[..length]) else { continue };
                let call_id = request.call_id().expect("a Call-ID").to_owned();
                match request.method() {
                    Method::Invite => {
                        if !lines.contains_key(&call_id) {
                            let line = pick_up(&request, (port, from), call_id.clone(), told.clone()).await;
                            lines.insert(call_id.clone(), line);
                        }
                        socket.send_to(&lines[&call_id].answer, from).await.expect("it is sent");
                    }
                    Method::Bye => {
                        let done = Writer::reply(&request, from, 200, "OK", None).finish("", b"");
                        socket.send_to(done.bytes(), from).await.expect("it is sent");
                        if let Some(hang_up) = lines.get_mut(&call_id).and_then(|line| line.hang_up.take()) {
                            let _ = hang_up.send(());
                        }
                    }
                    _ => {}
                }
            }
        });
        Phones { over }
    }

    /// What so many of them heard, by their Call-ID.
    pub async fn heard(&mut self, calls: usize) -> HashMap<String, Heard> {
        let mut all = HashMap::new();
        while all.len() < calls {
            let next = tokio::time::timeout(Duration::from_secs(20), self.over.recv()).await;
            let heard = next.expect("each is hung up").expect("they are there");
            all.insert(heard.sip_call_id.clone(), heard);
        }
        all
    }
}

async fn pick_up(
    invite: &Request,
    (port, from): (u16, SocketAddr),
    sip_call_id: String,
    told: mpsc::UnboundedSender<Heard>,
) -> Line {
    let media = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let answer = Writer::reply(invite, from, 200, "OK", Some("phone"))
        .copy(invite, HeaderName::RecordRoute)
        .header(HeaderName::Contact, &format!("<sip:100@127.0.0.1:{port}>"))
        .finish("application/sdp", sdp(&media).as_bytes());
    let theirs = media_port(invite.body());
    let (hang_up, hung_up) = oneshot::channel();
    let caller = Caller { heard: Heard { sip_call_id, ..Heard::default() }, ..Caller::default() };
    tokio::spawn(caller.talk(Arc::new(media), theirs, hung_up, told));
    Line { answer: answer.bytes().to_vec(), hang_up: Some(hang_up) }
}

#[derive(Default)]
struct Caller {
    heard: Heard,
    /// The time of the robot's newest packet, ms since its first one; and of the last moment that was not silent.
    now: u32,
    first: Option<u32>,
    lively: u32,
    /// It is the caller's turn: the robot has said something since he spoke.
    answered: bool,
    /// What is left to say.
    saying: Option<usize>,
    sent: u16,
}

impl Caller {
    async fn talk(
        mut self,
        media: Arc<UdpSocket>,
        theirs: u16,
        mut hung_up: oneshot::Receiver<()>,
        told: mpsc::UnboundedSender<Heard>,
    ) {
        let mut slot = tokio::time::interval(Duration::from_millis(20));
        let mut packet = [0; 1_500];
        loop {
            tokio::select! {
                _ = slot.tick() => {
                    while let Ok(length) = media.try_recv(&mut packet) {
                        self.hears(&packet[..length]);
                    }
                    let says = self.says();
                    let _ = media.send_to(&says, ("127.0.0.1", theirs)).await;
                }
                _ = &mut hung_up => break,
            }
        }
        let _ = told.send(self.heard);
    }

    /// Waits for the robot's end, and then for its answer.
    fn hears(&mut self, packet: &[u8]) {
        if packet.len() < 172 || packet[1] & 0x7f != 8 {
            return;
        }
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        self.now = timestamp.wrapping_sub(*self.first.get_or_insert(timestamp)) / 8;
        let loud = packet[12..].iter().any(|&byte| Law::A.decode_one(byte).unsigned_abs() > SOUND);
        if loud {
            self.heard.sound_ms += 20;
            self.answered = true;
        }
        if loud || self.saying.is_some() {
            self.lively = self.now;
        }
        let silence = self.now.saturating_sub(self.lively);
        self.heard.longest_silence = self.heard.longest_silence.max(silence);
    }

    /// The next 20 ms of the caller.
    fn says(&mut self) -> Vec<u8> {
        if self.saying.is_none() && self.answered && self.now.saturating_sub(self.lively) >= FINISHED {
            (self.saying, self.answered) = (Some(0), false);
        }
        let mut packet = vec![0x80, 8];
        packet.extend(self.sent.to_be_bytes());
        packet.extend((u32::from(self.sent) * 160).to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        self.sent = self.sent.wrapping_add(1);
        let said = self.saying.map(|from| &PHRASE[from..PHRASE.len().min(from + 160)]).unwrap_or_default();
        packet.extend(said);
        packet.resize(172, 0xd5);
        self.saying = self.saying.map(|from| from + 160).filter(|from| *from < PHRASE.len());
        packet
    }
}
