//! What was seen of a call, what may be asked of it, and what must hold of every call.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest, Sha256};
use trunkline::call::event::{Stage, StoppedBy, What};
use trunkline::call::io::{HeardFrame, RecordedFrame, ToRecogniser};
use trunkline::call::leg::LegEvent;
use trunkline::call::line::{Fault, Heard, Line, LineEvent, Utterance};
use trunkline::call::prompt::PromptNo;
use trunkline::call::record::{CallRecord, Role, Transfer, Turn};
use trunkline::call::second_leg::{News, SecondLeg, ToSecond};
use trunkline::ms::Ms;
use trunkline::rtp::srtp::Rejected;
use trunkline::sip::session;

use super::phone::Stamp;
use super::voice;

/// What was seen of early media.
#[derive(Debug, Default)]
pub struct Early {
    pub began: Option<Duration>,
    pub over: Option<Duration>,
    pub heard: Vec<HeardFrame>,
    pub sent: Vec<Stamp>,
    pub recogniser: Vec<(Duration, ToRecogniser)>,
    /// It is to be recorded.
    pub record: bool,
    pub recorded: Vec<RecordedFrame>,
}

/// All times are since the beginning of the world, but what is in [`Ms`]: that is media time.
#[derive(Debug, Default)]
pub struct Seen {
    hash: Sha256,
    /// First lines of the robot's SIP.
    pub sip: Vec<(Duration, String)>,
    pub told: Vec<(Duration, Ms, What)>,
    pub line: Vec<(Duration, LineEvent)>,
    pub dialogue_opened: u32,
    /// Streams that took the place of another.
    pub dialogue_resumed: u32,
    pub dialogue_closed: u32,
    pub recogniser: Vec<(Duration, ToRecogniser)>,
    pub wanted: Vec<(Duration, PromptNo, u32)>,
    pub unwanted: Vec<(Duration, PromptNo)>,
    pub leg: Vec<(Duration, LegEvent)>,
    pub heard: Vec<HeardFrame>,
    /// Before the answer: what the leg heard and put out, and what its recogniser was told.
    pub early: Early,
    pub recorded: Vec<RecordedFrame>,
    /// The robot's RTP, as it was sent and as it came.
    pub sent: Vec<Stamp>,
    pub arrived: Vec<Stamp>,
    /// Why the phone could not decrypt a packet of the robot's.
    pub refused: Vec<Rejected>,
    pub records: Vec<CallRecord>,
    /// What the two calls of a transfer say to each other, and when they are joined.
    pub second_legs: Vec<(Duration, SecondLeg)>,
    pub to_second: Vec<(Duration, ToSecond)>,
    pub to_first: Vec<(Duration, News)>,
    pub bridged: Vec<(Duration, bool)>,
    pub phone_events: Vec<session::Event>,
    /// Refer-To of each REFER that came to the phone.
    pub refers: Vec<String>,
    pub phone_began: Option<Duration>,
    /// When the phone began each of its words.
    pub spoke: Vec<Duration>,
    /// Origin of media time.
    pub began: Option<Duration>,
}

impl Seen {
    /// Takes something into the hash.
    pub fn trace(&mut self, now: Duration, what: &str, bytes: &[u8]) {
        self.hash.update(format!("{} {what} {}\n", now.as_nanos(), bytes.len()));
        self.hash.update(bytes);
    }

    /// Of every datagram, event and record with its time.
    pub fn fingerprint(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn record(&self) -> &CallRecord {
        let [record] = &self.records[..] else { panic!("{} records", self.records.len()) };
        record
    }

    /// Media time of a moment.
    pub fn media(&self, at: Duration) -> Ms {
        Ms::from(at.saturating_sub(self.began.expect("media began")))
    }

    /// Media time at which the phone's word `n` is said: its first and its last loud sample.
    pub fn word(&self, n: usize, samples: &[i16]) -> (Ms, Ms) {
        let (first, last) = voice::loud(samples);
        let began = self.media(self.spoke[n]);
        (began + Ms(first), began + Ms(last))
    }

    pub fn turns(&self, role: Role) -> Vec<&Turn> {
        self.record().turns.iter().filter(|turn| turn.role == role).collect()
    }

    /// The texts of the record in order, as `robot: …` and `caller: …`.
    pub fn talk(&self) -> Vec<String> {
        let who = |turn: &Turn| if turn.role == Role::Speech { "robot" } else { "caller" };
        self.record().turns.iter().map(|turn| format!("{}: {}", who(turn), turn.text)).collect()
    }

    /// Utterances as they were told, with the moment.
    pub fn utterances(&self) -> Vec<(Duration, &Utterance)> {
        let one = |(at, _, what): &'_ (Duration, Ms, What)| match what {
            What::Utterance { .. } => Some(*at),
            _ => None,
        };
        let times = self.told.iter().filter_map(one);
        let utterances = self.told.iter().filter_map(|(_, _, what)| match what {
            What::Utterance { utterance, .. } => Some(&**utterance),
            _ => None,
        });
        times.zip(utterances).collect()
    }

    /// Utterances as the dialogue was told.
    pub fn asked(&self) -> Vec<&Utterance> {
        let utterance = |(_, event): &'_ (Duration, LineEvent)| matches!(event.what, Line::Utterance(_));
        let told = self.line.iter().filter(|told| utterance(told));
        told.filter_map(|(_, event)| if let Line::Utterance(u) = &event.what { Some(u) } else { None }).collect()
    }

    pub fn interruptions(&self) -> Vec<(Ms, &Heard, StoppedBy)> {
        let one = |told| match told {
            &(_, at, What::PromptInterrupted { ref heard, by, .. }) => Some((at, heard, by)),
            _ => None,
        };
        self.told.iter().filter_map(one).collect()
    }

    /// Ids of the prompts that were told to have ended, to the dialogue, with whether they were interrupted.
    pub fn done(&self) -> Vec<(&str, bool)> {
        let one = |(_, event): &'_ (Duration, LineEvent)| matches!(event.what, Line::PromptDone { .. });
        let done = self.line.iter().filter(|told| one(told));
        done.filter_map(|(_, event)| match &event.what {
            Line::PromptDone { prompt_id, interrupted, .. } => Some((prompt_id.as_str(), interrupted.is_some())),
            _ => None,
        })
        .collect()
    }

    /// The stages of a transfer as the orchestrator was told of them, each with its SIP code.
    pub fn stages(&self) -> Vec<(Stage, u16)> {
        let one = |told: &(Duration, Ms, What)| match &told.2 {
            What::Transfer { stage, sip_code, .. } => Some((*stage, *sip_code)),
            _ => None,
        };
        self.told.iter().filter_map(one).collect()
    }

    /// How each transfer came out as the dialogue was told: whether it reached anyone, and the SIP code.
    pub fn results(&self) -> Vec<(bool, u16)> {
        let one = |told: &(Duration, LineEvent)| match &told.1.what {
            Line::TransferResult { reached, sip_code, .. } => Some((*reached, *sip_code)),
            _ => None,
        };
        self.line.iter().filter_map(one).collect()
    }

    /// What the dialogue asked for in vain, as it was told: the reasons.
    pub fn faults(&self) -> Vec<&str> {
        let faults = self.line.iter().filter_map(|(_, event)| match &event.what {
            Line::Fault(Fault::Action { reason, .. }) => Some(reason.as_str()),
            _ => None,
        });
        faults.collect()
    }

    /// The one transfer of the record.
    pub fn transfer(&self) -> &Transfer {
        let [transfer] = &self.record().transfers[..] else { panic!("{:?}", self.record().transfers) };
        transfer
    }

    /// When the robot first sent a request of this method.
    pub fn request(&self, method: &str) -> Option<Duration> {
        self.sip.iter().find(|(_, line)| line.starts_with(&format!("{method} "))).map(|(at, _)| *at)
    }

    /// Media time of the end of the last sample before `until` that the robot was heard to say.
    pub fn last_word(&self, until: Ms) -> Ms {
        let ends = self.recorded.iter().filter(|frame| frame.robot_at < until).filter_map(|frame| {
            let last = frame.robot.iter().rposition(|sample| sample.unsigned_abs() > 64)?;
            Some(frame.robot_at + Ms::of_samples(last as u64 + 1, 8_000))
        });
        ends.max().expect("the robot spoke")
    }

    /// Whether the robot is heard in a stretch of media time.
    pub fn robot_heard(&self, from: Ms, to: Ms) -> bool {
        let within = |frame: &&RecordedFrame| frame.robot_at >= from && frame.robot_at < to;
        self.recorded.iter().filter(within).any(|frame| voice::sounds(&frame.robot))
    }

    /// What must hold of every call.
    pub fn check(&self) {
        let record = self.record();
        self.check_record(record);
        self.check_prompts(record);
        self.check_line();
        self.check_recogniser(record);
        self.check_rtp();
        for (frame, n) in self.recorded.iter().zip(0..) {
            assert_eq!(frame.robot_at, Ms(n * 20), "the recording has no gap");
        }
        assert_eq!(self.heard.len(), self.recorded.len(), "the recogniser gets every frame");
        assert!(self.heard.windows(2).all(|two| two[0].at <= two[1].at), "and time does not run back");
    }

    fn check_record(&self, record: &CallRecord) {
        assert!(record.turns.is_sorted_by_key(|turn| turn.start), "in order: {:#?}", record.turns);
        for turn in &record.turns {
            assert!(turn.start <= turn.stop && turn.stop <= record.talk_ms + Ms(40), "{turn:?} of {}", record.talk_ms);
            assert_eq!(turn.length_ms, turn.stop - turn.start);
            assert!(!turn.interrupted || turn.interrupted_at == Some(turn.stop), "{turn:?}");
        }
        assert!(record.started_at <= record.ended_at);
        assert!(record.answered_at.is_none_or(|at| at >= record.rang_at.unwrap_or(record.started_at)));
        assert!(record.answered_at.is_none_or(|at| at <= record.ended_at));
        assert!(record.answered_at.is_some() || self.began.is_none());
        assert!(self.began.is_some() || record.talk_ms < Ms(25), "answered, and no media: {record:#?}");
        assert!(!record.sip_call_id.is_empty());
        // A leg that has died leaves no figures.
        let told = if record.faults.iter().any(|fault| fault.starts_with("media: ")) { 0 } else { self.sent.len() };
        assert_eq!(record.quality.sent, told as u64);
        let keys: String = self
            .told
            .iter()
            .filter_map(|(_, _, w)| if let What::Key { key } = w { Some(*key) } else { None })
            .collect();
        assert_eq!(record.keys, keys);
    }

    /// Whatever begins, ends once; and all of it is in the record.
    fn check_prompts(&self, record: &CallRecord) {
        let (mut playing, mut last, mut begun) = (None, None, 0);
        for (_, _, what) in &self.told {
            match what {
                What::PromptStarted { prompt_id, .. } => {
                    assert_eq!(playing.replace(prompt_id), None, "two prompts at a time");
                    // What is said again and again while somebody is called is one turn.
                    let again = last.replace(prompt_id) == Some(prompt_id) && prompt_id == "waiting";
                    begun += usize::from(!again);
                }
                // One without any sound never begins.
                What::PromptFinished { length: Ms(0), .. } if playing.is_none() => {}
                What::PromptFinished { prompt_id, .. } => assert_eq!(playing.take(), Some(prompt_id)),
                What::PromptInterrupted { heard, .. } if heard.heard > Ms(0) => {
                    assert_eq!(playing.take(), Some(&heard.prompt_id));
                }
                _ => {}
            }
        }
        assert_eq!(playing, None, "a prompt has no end");
        let spoken = record.turns.iter().filter(|turn| turn.role == Role::Speech).count();
        assert_eq!(spoken, begun, "robot turns: {:#?}", record.turns);
        let said = |early: bool| {
            // One whose turn was ended early may be told once more.
            let one = |w: &What| match w {
                What::Utterance { utterance, .. } if utterance.early == early => Some(utterance.utterance),
                _ => None,
            };
            self.told.iter().filter_map(|(_, _, w)| one(w)).collect::<BTreeSet<_>>().len()
        };
        let begun = |of: bool| {
            let one = |w: &What| matches!(w, What::SpeechStarted { early, .. } if *early == of);
            self.told.iter().filter(|(_, _, w)| one(w)).count()
        };
        assert_eq!(said(true), begun(true), "each that began to speak before the answer is heard");
        let (said, begun) = (said(false), begun(false));
        assert_eq!(said, begun, "each that began to speak is heard");
        assert_eq!(record.turns.len() - spoken, said, "caller turns: {:#?}", record.turns);
    }

    fn check_line(&self) {
        assert_eq!(self.dialogue_opened, self.dialogue_closed);
        for ((_, event), n) in self.line.iter().zip(1..) {
            assert_eq!(event.id, n, "without gaps");
            let early = matches!(self.line[0].1.what, Line::Early(_));
            assert_eq!(matches!(event.what, Line::Early(_)), early && n == 1, "{event:?}");
            let first =
                if early { self.line.iter().position(|(_, e)| matches!(e.what, Line::Begin(_))) } else { Some(0) };
            let begins = first.is_some_and(|first| first as u64 + 1 == n);
            // A stream that takes the place of another begins anew.
            let again = self.dialogue_resumed > 0 && n > 1;
            let begun = matches!(event.what, Line::Begin(_));
            assert!(begun == begins || (begun && again), "{event:?}");
            assert_eq!(matches!(event.what, Line::End { .. }), n == self.line.len() as u64, "{event:?}");
        }
        let order = |two: &[(Duration, LineEvent)]| {
            matches!(two[1].1.what, Line::Begin(_)) || two[0].1.at <= two[1].1.at + Ms(20)
        };
        assert!(self.line.windows(2).all(order), "in order");
    }

    fn check_recogniser(&self, record: &CallRecord) {
        let (mut going, mut last, mut closed) = (None, 0, false);
        for (_, told) in &self.recogniser {
            assert!(!closed, "{told:?} after the close");
            match *told {
                ToRecogniser::UtteranceStart { utterance, start, from } => {
                    assert_eq!((going.replace(utterance), utterance), (None, last + 1));
                    assert!(from <= start);
                    last = utterance;
                }
                ToRecogniser::UtteranceEnd { utterance, start, stop } => {
                    assert_eq!(going.take(), Some(utterance));
                    assert!(start <= stop && stop <= record.talk_ms + Ms(40));
                }
                ToRecogniser::Expect(_) => {}
                ToRecogniser::Close => closed = true,
            }
        }
        assert_eq!(going, None);
    }

    /// One packet a slot, numbered and stamped without a gap; a marker on the first, after each pause and each key (RFC 3551 §4.1), and
    /// on the first of a key, which keeps the timestamp at which it began (RFC 4733 §2.3).
    fn check_rtp(&self) {
        const EVENT: u8 = 101;
        let Some(first) = self.sent.first() else { return };
        assert!(first.marker, "the first packet begins a talk-spurt");
        for two in self.sent.windows(2) {
            let [last, packet] = two else { continue };
            let slots = (packet.at - last.at).as_millis() as u32 / 20;
            assert_eq!(packet.sequence, last.sequence.wrapping_add(1));
            assert_eq!(packet.ssrc, first.ssrc);
            assert_eq!((packet.at - last.at).as_micros() % 20_000, 0, "in its slot");
            assert!(slots > 0, "one packet a slot");
            let clock = first.timestamp.wrapping_add((packet.at - first.at).as_millis() as u32 / 20 * 160);
            let begins = match (last.payload_type == EVENT, packet.payload_type == EVENT) {
                (false, false) => slots > 1,
                (true, true) => packet.timestamp != last.timestamp,
                _ => true,
            };
            assert_eq!(packet.marker, begins, "{packet:?} after {last:?}");
            let expected = if packet.payload_type == EVENT && !begins { last.timestamp } else { clock };
            assert_eq!(packet.timestamp, expected, "{packet:?} after {last:?}");
        }
    }
}
