//! The media of one leg, 20 ms at a time: what a media thread does for a call when its slot on the wheel has come.
//!
//! ```text
//! receive()  packet → latch → telephone events | jitter buffer
//! tick()     jitter buffer → decode or conceal → VAD → endpoints → may the caller interrupt? → recogniser ring
//!            prompt queue → background → encode → packet                                       → recorder ring
//! ```
//! Pure: packets and commands come in with their moment, everything goes out through an [`Outlet`]. Nothing allocates once the leg is made,
//! but the prompt queue when it grows beyond its first size. Media time begins with the first tick.

mod doubt;
mod echo;
mod gear;
mod incoming;
mod interruption;
mod keys;
mod latch;
mod line;
mod mouth;
mod presses;
mod quality;
mod reports;
mod secure;
mod terms;
mod throat;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::io::{Label, RecordedFrame};
use super::knobs::LegKnobs;
use super::prompt::PromptNo;
use super::record::{LineQuality, Look};
use crate::cache::bring;
use crate::codec::coding::Coding;
use crate::dsp::answerer::Answerer;
use crate::dsp::endpoint::{Boundary, EndpointKnobs, Endpointer};
use crate::dsp::level::{Gain, mix};
use crate::dsp::mix::Bed;
use crate::dsp::tone::keys::Keys as Tones;
use crate::dsp::tone::progress::Progress;
use crate::dsp::vad::Vad;
use crate::ms::Ms;
use crate::rtp::bursts::Tally;
use crate::rtp::frames::{Frames, Sound as Origin};
use crate::rtp::jitter::{DelayLimits, JitterBuffer, MAX_PAYLOAD};
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::rtcp::{MAX_COMPOUND, Reading};
use crate::rtp::sender::Sender;
use crate::rtp::srtp::{MAX_PACKET, MAX_TRAILER};
use crate::rtp::telephone_event as event;
use crate::rtp::xr::VoipMetrics;
use doubt::Doubt;
use echo::Echo;
use keys::KeyQueue;
use latch::Latch;
use line::mute;
use mouth::{Item, Mouth};
use presses::{Presses, Way};
use quality::Levels;
use reports::Reports;
use secure::{LARGEST_COMPOUND, Secure};

pub use gear::Gear;
pub use mouth::{PREROLL, Sound};
pub use reports::WallClock;
pub use terms::{Command, InbandKeys, LegEvent, Media, Outlet, Refused, Setup, Stopped};

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME: usize = 160;
/// The longest packet of an ordinary line: G.711, 20 ms.
const ORDINARY_PACKET: usize = HEADER_LEN + FRAME + MAX_TRAILER;
/// The longest packet that a leg sends.
pub const LARGEST_PACKET: usize = HEADER_LEN + MAX_PAYLOAD + MAX_TRAILER;
/// The time of a frame.
pub const SLOT: Duration = Duration::from_millis(20);
/// Keys that may come within one slot; more would not be a hand.
const KEYS: usize = 8;

/// Who has been silent for no longer than this is still speaking.
const BETWEEN_WORDS: Ms = Ms(200);

/// A frame that was listened to.
struct Heard {
    at: Ms,
    label: Label,
    samples: [i16; FRAME],
    /// The same in G.711, if it came just so.
    coded: Option<[u8; FRAME]>,
    sound: Origin,
}

/// What the robot said lately, so that an utterance can be placed under it.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    /// From when to when the robot spoke without a pause; no end while it speaks.
    since: Ms,
    until: Option<Ms>,
    spoke: bool,
}

/// One leg.
#[derive(Debug)]
pub struct Leg {
    media: Media,
    /// `None`: G.711, in packets of 20 ms.
    gear: Option<Box<Gear>>,
    secure: Secure,
    knobs: LegKnobs,
    rtp_timeout: Duration,
    latch: Latch,
    // ears
    jitter: JitterBuffer,
    frames: Frames,
    /// In a box, as what the keys are told by: a leg then fits 8 KiB, and the next size would be 10.
    events: Box<event::Receiver>,
    /// It has something to tell, or a key is held down.
    pressing: bool,
    pressed: [Option<event::Key>; KEYS],
    presses: Box<Presses>,
    inband_keys: InbandKeys,
    /// In a box, since most lines need none.
    tones: Option<Box<Tones>>,
    progress: Option<Box<Progress>>,
    /// Until it has said all.
    answerer: Option<Box<Answerer>>,
    vad: Vad,
    endpointer: Endpointer,
    /// The last frame held speech; and may have, as the gate sees it: then the buffer does not cut.
    voiced: bool,
    noisy: bool,
    utterance: u32,
    onset: Option<Ms>,
    /// Voiced time of this utterance under the prompt that is heard.
    voiced_under: Ms,
    /// The same of the last utterance, at its end.
    voiced_before: Ms,
    echo: Echo,
    doubt: Doubt,
    interrupting: bool,
    /// Words that interrupt, by their utterance's onset.
    words: Option<Ms>,
    /// The last utterance for which a prompt has paused: once for each.
    paused_for: u32,
    heard_at: Option<Instant>,
    refused: Refused,
    levels: Levels,
    /// What had become of the caller's packets at the last look.
    looked: Tally,
    // mouth
    mouth: Mouth,
    bed: Bed,
    voice: Voice,
    sender: Sender,
    keys: KeyQueue,
    stop: Option<PromptNo>,
    reports: Reports,
    recording_paused: bool,
    muted: bool,
    // time
    origin: Option<Instant>,
    last: Option<Instant>,
}

impl Leg {
    /// A leg that has heard and said nothing.
    pub fn new(setup: Setup) -> Leg {
        let mut rng = StdRng::seed_from_u64(setup.seed);
        let sender = Sender::new(&mut rng);
        let mut leg = Leg {
            media: setup.media,
            gear: Gear::of(&setup.media).unwrap_or(None),
            secure: Secure::new(setup.srtp),
            knobs: setup.knobs,
            rtp_timeout: setup.rtp_timeout,
            latch: Latch::new(setup.media.remote),
            jitter: JitterBuffer::new(8_000, DelayLimits::default()),
            frames: Frames::default(),
            events: Box::default(),
            pressing: false,
            pressed: [None; KEYS],
            presses: Box::default(),
            inband_keys: setup.inband_keys,
            tones: None,
            answerer: setup.answerer.map(|rules| Box::new(Answerer::new(rules))),
            progress: setup.tones.map(|country| Box::new(Progress::new(country))),
            vad: Vad::default(),
            endpointer: Endpointer::new(EndpointKnobs::default()),
            voiced: false,
            noisy: false,
            utterance: 0,
            onset: None,
            voiced_under: Ms(0),
            voiced_before: Ms(0),
            echo: Echo::default(),
            doubt: Doubt::No,
            interrupting: false,
            words: None,
            paused_for: 0,
            heard_at: None,
            refused: Refused::default(),
            levels: Levels::default(),
            looked: Tally::default(),
            mouth: Mouth::new(),
            bed: Bed::default(),
            voice: Voice::default(),
            reports: Reports::new(setup.clock, &sender, &mut rng),
            sender,
            keys: KeyQueue::default(),
            stop: None,
            recording_paused: false,
            muted: false,
            origin: None,
            last: None,
        };
        leg.turn(setup.knobs);
        leg.listen_for_tones();
        leg.tune();
        leg
    }

    /// RTCP came. What is not of the far end's host, or not RTCP, is counted and forgotten; what breaks off is counted, too.
    pub fn receive_report(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut room = [0; MAX_PACKET];
        let datagram = if self.secure.is_on() {
            let Some(compound) = self.secure.open(datagram, true, &mut room, &mut self.refused) else { return };
            compound
        } else {
            datagram
        };
        if from.ip() != self.latch.remote().ip() {
            self.refused.source += 1;
        } else {
            let reading = self.reports.handle(now, datagram);
            self.refused.malformed += u64::from(reading != Reading::Whole);
            if reading != Reading::None {
                // A far end that suppresses silence is alive all the same.
                self.heard_at = Some(now);
            }
        }
    }

    /// The call wants something.
    pub fn command(&mut self, command: Command, outlet: &mut impl Outlet) {
        let mut events = |event| outlet.event(event);
        match command {
            Command::Prompt { no, barge_in, protect } => {
                self.mouth.push(Item::Open { no, barge_in, protect }, &mut events);
            }
            Command::Sound { no, segment, sound } => {
                self.mouth.push(Item::Sound { no, segment, sound }, &mut events);
            }
            Command::Close { no } => self.mouth.push(Item::Close { no }, &mut events),
            Command::Stop { last } => self.stop = Some(last),
            Command::Interrupt { onset } => self.words = Some(onset),
            Command::Resume => self.mouth.resume(),
            Command::Judge { onset } => match self.endpointer.silent_for() {
                Some(silence) if silence <= BETWEEN_WORDS => self.words = Some(onset),
                _ => self.mouth.resume(),
            },
            Command::Knobs(knobs) => self.turn(knobs),
            Command::PauseRecording(on) => {
                self.recording_paused = on;
                events(LegEvent::RecordingPaused { on, from: self.next_frame() });
            }
            Command::Mute(on) => {
                self.muted = on;
                events(LegEvent::Muted { on, from: self.next_frame() });
            }
            Command::Pressed(key) => {
                if let Some(key) = event::Key::from_char(key) {
                    self.press(key, Way::Signalling);
                }
            }
            Command::Background(sound) => {
                if let Some(gone) = self.bed.set(sound) {
                    outlet.event(LegEvent::SpentShared(gone));
                }
            }
            Command::SendKeys(keys) => self.keys.press(&keys),
            Command::Media(media, srtp, gear) => {
                let before = std::mem::replace(&mut self.media, media);
                self.secure.renew(srtp);
                if (media.coding, media.ptime) != (before.coding, before.ptime) {
                    self.gear = gear;
                }
                if media.coding != before.coding {
                    self.tune();
                }
                self.listen_for_tones();
                // After a hold its silence counts from now.
                self.heard_at = self.last;
                self.latch.signal(media.remote);
            }
            Command::Look(mut look) => {
                let (_, so_far) = self.jitter.tally();
                let before = std::mem::replace(&mut self.looked, so_far);
                *look =
                    Look { so_far: self.quality(), lately: quality::lately(self.media.coding, so_far.since(before)) };
                events(LegEvent::Look(look));
            }
        }
    }

    /// The leg's slot has come; `slot` is its nominal moment, a whole number of [`SLOT`]s after the first one.
    pub fn tick(&mut self, slot: Instant, outlet: &mut impl Outlet) {
        let (origin, first) = match self.origin {
            Some(origin) => (origin, false),
            None => (slot, true),
        };
        if first {
            self.origin = Some(origin);
            self.heard_at.get_or_insert(origin);
            outlet.event(LegEvent::Began { at: origin });
        }
        // A thread that overslept a slot does not send it late: the media clock has gone on.
        let since = self.last.map_or(SLOT, |last| slot.saturating_duration_since(last));
        let missed = (since.as_millis() / SLOT.as_millis()).saturating_sub(1);
        if missed > 0 {
            self.sender.advance(missed as u32 * self.media.units());
            // What waits for its packet to be full does not continue.
            self.gear.iter_mut().for_each(|gear| gear.forget());
        }
        self.last = Some(slot);
        let at = Ms::from(slot.saturating_duration_since(origin));
        let heard = self.listen(slot, origin, outlet);
        let spoke = self.speak(slot, at, outlet);
        self.place_voice(at, spoke.is_some());
        self.echo.said(spoke.as_ref());
        let spoke = self.lay_under(spoke, outlet);
        let mut spoke = match outlet.bridge(&heard.samples) {
            // What the mouth says goes over what comes from the other leg.
            Some(mut both) => {
                if let Some(spoke) = &spoke {
                    mix(&mut both, spoke, Gain::UNITY);
                }
                Some(both)
            }
            None => spoke,
        };
        if self.muted {
            spoke = None;
        }
        let spoke = self.key_tone().or(spoke);
        self.send(spoke.as_ref(), outlet);
        outlet.record(|| RecordedFrame {
            robot_at: at,
            robot: spoke.unwrap_or([0; FRAME]),
            caller_at: (heard.sound != Origin::Silence).then_some(heard.at),
            caller: heard.samples,
            paused: self.recording_paused,
        });
        self.tell_recogniser(&heard, outlet);
        if self.reports.due(slot) {
            let mut compound = [0; MAX_COMPOUND];
            let voip = self.voip();
            let length = self.reports.report(slot, &self.sender, &mut self.jitter, voip, &mut compound);
            self.report(&compound[..length], outlet);
        }
        if let Some(last) = self.heard_at
            && !self.held()
            && slot.saturating_duration_since(last) >= self.rtp_timeout
        {
            self.heard_at = None;
            outlet.event(LegEvent::LineDead { at });
        }
    }

    /// Media time of the frame that comes next.
    fn next_frame(&self) -> Ms {
        let next = |last: Instant, origin| Ms::from((last + SLOT).saturating_duration_since(origin));
        self.last.zip(self.origin).map_or(Ms(0), |(last, origin)| next(last, origin))
    }

    /// The leg ends: says so to the far end.
    pub fn farewell(&mut self, now: Instant, outlet: &mut impl Outlet) {
        let mut compound = [0; MAX_COMPOUND];
        let voip = self.voip();
        let length = self.reports.farewell(now, &self.sender, &mut self.jitter, voip, &mut compound);
        self.report(&compound[..length], outlet);
        self.doubt.end(outlet);
    }

    fn report(&mut self, compound: &[u8], outlet: &mut impl Outlet) {
        let mut room = [0; LARGEST_COMPOUND];
        room[..compound.len()].copy_from_slice(compound);
        if let Some(length) = self.secure.seal_report(&mut room, compound.len()) {
            outlet.report(self.rtcp(), &room[..length]);
        }
    }

    /// Where RTP goes, and should come from.
    pub fn far_end(&self) -> &SocketAddr {
        self.latch.remote()
    }

    fn rtcp(&self) -> SocketAddr {
        if self.media.rtcp_mux {
            return *self.latch.remote();
        }
        reports::destination(self.media.rtcp, self.media.remote, *self.latch.remote())
    }

    /// Reports go out by the RTP port.
    pub fn shares_port(&self) -> bool {
        self.media.rtcp_mux
    }

    /// How we hear the stream that there is now, if the far end is to be told.
    fn voip(&self) -> Option<VoipMetrics> {
        if !self.media.rtcp_xr {
            return None;
        }
        self.heard(self.jitter.tally().0)
    }

    fn heard(&self, tally: Tally) -> Option<VoipMetrics> {
        quality::metrics(
            self.media.coding,
            tally,
            &self.jitter,
            &self.levels,
            self.reports.round_trip(),
            self.reports.voip(),
        )
    }

    /// How the line was.
    pub fn quality(&self) -> LineQuality {
        let jitter = self.jitter.stats();
        LineQuality {
            codec: Some(self.codec()),
            received: jitter.received,
            lost: jitter.lost,
            recovered: jitter.recovered,
            late: jitter.late,
            concealed: jitter.concealed,
            jitter_ms: jitter.jitter,
            sent: self.sender.sent().packets,
            under_runs: self.mouth.under_runs(),
            peer: self.reports.peer(self.media.coding.clock_rate()),
            heard: self.heard(self.jitter.tally().1),
        }
    }

    /// Asks for what the next packet meets, for who has other legs to serve meanwhile: it is in the cache then.
    pub fn warm_to_receive(&self) {
        bring(&self.media);
        bring(&self.latch);
        bring(&self.secure);
        bring(&self.heard_at);
        self.jitter.warm_to_insert();
    }

    /// … and for what that points to, once it is here.
    pub fn warm_behind_receive(&self) {
        self.jitter.warm_behind_insert();
    }

    /// Asks for what the next [`tick`](Self::tick) meets.
    pub fn warm(&self) {
        self.jitter.warm();
        self.frames.warm();
        self.vad.warm();
        bring(&self.endpointer);
        bring(&self.voiced);
        bring(&self.utterance);
        bring(&self.onset);
        bring(&self.echo);
        bring(&self.doubt);
        bring(&self.refused);
        bring(&self.levels);
        bring(&self.mouth);
        bring(&self.bed);
        bring(&self.voice);
        bring(&self.sender);
        bring(&self.keys);
        self.reports.warm();
        bring(&self.origin);
        bring(&self.last);
    }

    /// … and for what that points to, once it is here.
    pub fn warm_behind(&self) {
        self.jitter.warm_behind();
        self.frames.warm_behind();
        self.vad.warm_behind();
        self.mouth.warm_behind();
    }

    /// … and for the samples that are said, which is the last step.
    pub fn warm_samples(&self) {
        self.mouth.warm_samples();
    }

    /// Packets that were refused.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    fn turn(&mut self, knobs: LegKnobs) {
        self.knobs = knobs;
        self.endpointer.set_knobs(EndpointKnobs {
            endpoint: knobs.endpoint,
            speech_start: knobs.speech_start,
            max_utterance: knobs.max_utterance,
        });
    }

    /// Ears: one frame from the jitter buffer, and what it means.
    fn listen(&mut self, slot: Instant, origin: Instant, outlet: &mut impl Outlet) -> Heard {
        let mut samples = [0; FRAME];
        let (frame, mut coded) = match (&mut self.gear, self.media.coding) {
            (None, Coding::G711(law)) => self.frames.next_coded(&mut self.jitter, slot, !self.noisy, law, &mut samples),
            (Some(gear), _) => (gear.listen(&mut self.jitter, &mut self.frames, slot, !self.noisy, &mut samples), None),
            // Without memory for what it needs the line is mute.
            (None, _) => (self.frames.next(&mut self.jitter, slot, true, mute, &mut samples), None),
        };
        // Whom we hold may go on sending: it is not heard.
        let sound = if self.media.receives { frame.sound } else { Origin::Silence };
        if !self.media.receives {
            (samples, coded) = ([0; FRAME], None);
            self.gear.iter_mut().for_each(|gear| gear.hush());
        }
        let voice_heard;
        (self.voiced, voice_heard, self.noisy) = match sound {
            Origin::Silence => (false, false, false),
            Origin::Audio | Origin::Concealed => {
                let verdict = self.vad.push(&samples);
                if sound == Origin::Audio {
                    self.levels.take(&samples, verdict.voiced, !verdict.gate);
                }
                (verdict.voiced, verdict.heard, verdict.gate)
            }
        };
        if let Some(key) = self.tones.as_mut().and_then(|tones| tones.push(&samples)).and_then(event::Key::from_char) {
            self.press(key, Way::Tone);
        }
        let at = Ms::from(frame.wire.saturating_duration_since(origin));
        if let Some((heard, ago)) = self.progress.as_mut().and_then(|progress| progress.push(&samples)) {
            outlet.event(LegEvent::Tone { heard, at: (at + Ms(20)).saturating_sub(Ms(ago)) });
        }
        if let Some(answerer) = &mut self.answerer
            && let Some(verdict) = answerer.push(self.voiced, &samples)
        {
            outlet.event(LegEvent::Answerer { verdict, at });
        }
        let mut boundary = self.endpointer.push(self.voiced, voice_heard, at);
        // The caller has been silent for long enough when the frame that shows it is here, not when its turn comes.
        if boundary.is_none() && self.endpointer.lacks_one() && self.jitter.holds(SLOT) {
            boundary = Some(self.endpointer.end_early());
        }
        if self.mouth.playing() {
            self.voiced_under += self.echo.counts(self.voiced, &samples, self.knobs.echo_guard_db);
        } else {
            self.voiced_under = Ms(0);
        }
        match boundary {
            Some(Boundary::Started { onset }) => {
                self.utterance += 1;
                self.onset = Some(onset);
                let under_prompt = self.mouth.playing();
                outlet.event(LegEvent::SpeechStarted { utterance: self.utterance, onset, under_prompt });
            }
            Some(Boundary::Ended { start, stop, too_long }) => {
                let during_prompt = !self.interrupting && self.was_speaking(start) && self.was_speaking(stop);
                let utterance = self.utterance;
                outlet.event(LegEvent::Utterance { utterance, start, stop, too_long, during_prompt });
                self.onset = None;
                self.interrupting = false;
                self.voiced_before = self.voiced_under;
                self.voiced_under = Ms(0);
            }
            None if self.onset.is_none() && !self.voiced => {
                self.voiced_under = Ms(0);
                self.echo.forget();
            }
            None => {}
        }
        self.doubt(&samples, outlet);
        let label = if self.mouth.playing() && !self.mouth.paused() { Label::UnderPrompt } else { Label::Open };
        Heard { at, label, samples, coded, sound }
    }

    /// Mouth: who may stop it does; then the next frame of what is to be said.
    fn speak(&mut self, slot: Instant, at: Ms, outlet: &mut impl Outlet) -> Option<[i16; FRAME]> {
        let mut frame = [0; FRAME];
        if self.pressing {
            self.events.tick(slot);
            self.take_keys();
            self.pressing = self.events.deadline().is_some();
        }
        let stop = self.who_stops();
        let pressed = std::mem::take(&mut self.pressed);
        self.mouth.begin();
        let mut events = |event| outlet.event(event);
        let spoke = match stop {
            Some((by, last)) => {
                // Whatever stops the rest, the utterance has interrupted.
                self.interrupting |= matches!(by, Stopped::Speech { .. });
                self.mouth.stop(last, at, by, &mut frame, &mut events)
            }
            None => match self.pauses() {
                Some(onset) => self.mouth.pause(at, (self.utterance, onset), &mut frame, &mut events),
                None => self.mouth.draw(at, &mut frame, &mut events),
            },
        };
        self.mouth.complete(spoke, &mut frame);
        // Words of an utterance that is over interrupt now or not at all.
        self.words = self.words.filter(|_| self.onset.is_some() && stop.is_none());
        for key in pressed.into_iter().flatten() {
            outlet.event(LegEvent::Key { key: key.as_char(), at });
        }
        spoke.then_some(frame)
    }

    /// The background under what is said, or by itself. Who is held hears none.
    fn lay_under(&mut self, spoke: Option<[i16; FRAME]>, outlet: &mut impl Outlet) -> Option<[i16; FRAME]> {
        if !self.bed.plays() || self.held() {
            return spoke;
        }
        let mut frame = spoke.unwrap_or([0; FRAME]);
        if let Some(gone) = self.bed.under(&mut frame) {
            outlet.event(LegEvent::SpentShared(gone));
        }
        Some(frame)
    }

    /// As signalling has it now: a line that agrees on events, or no longer, changes what its tones mean.
    fn listen_for_tones(&mut self) {
        let wanted = match self.inband_keys {
            InbandKeys::Auto => self.media.telephone_event.is_none(),
            InbandKeys::On => true,
            InbandKeys::Off => false,
        };
        if wanted != self.tones.is_some() {
            self.tones = wanted.then(Box::default);
        }
    }

    fn take_keys(&mut self) {
        while let Some(told) = self.events.poll() {
            match (told, self.last) {
                (event::KeyEvent::Pressed(press), _) => self.press(press.key, Way::Rtp),
                (event::KeyEvent::Released(release), Some(now)) => self.presses.released(now, release.key),
                (event::KeyEvent::Released(_), None) => {}
            }
        }
    }

    /// A key was pressed, as it is told one way or another.
    fn press(&mut self, key: event::Key, way: Way) {
        if !self.media.receives {
            return;
        }
        // Before the first slot nothing can have been told twice.
        if self.last.is_some_and(|now| !self.presses.is_new(now, key, way)) {
            return;
        }
        // More keys in one slot than a hand can press are noise.
        if let Some(free) = self.pressed.iter_mut().find(|key| key.is_none()) {
            *free = Some(key);
        }
    }

    /// One side holds the other; what the far end sends then is its own affair, and most send nothing.
    fn held(&self) -> bool {
        !self.media.sends || !self.media.receives
    }

    fn was_speaking(&self, at: Ms) -> bool {
        self.voice.spoke && self.voice.since <= at && self.voice.until.is_none_or(|until| at <= until)
    }

    fn place_voice(&mut self, at: Ms, spoke: bool) {
        let Voice { since, until, spoke: before } = self.voice;
        self.voice = match (spoke, until) {
            (true, None) if before => self.voice,
            (true, _) => Voice { since: at, until: None, spoke: true },
            (false, None) if before => Voice { since, until: Some(at), spoke: true },
            (false, _) => self.voice,
        };
    }
}
