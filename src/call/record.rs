//! The record of a call: what is left of it when it is over, as JSON on disk and as `CallRecord` on `Watch`.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::line::HungUpBy;
use super::transfer::Handed;
use crate::ms::Ms;
use crate::rtp::xr::VoipMetrics;

/// How a call ended, told in one enumeration whatever told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered.
    Success,
    /// No such number.
    Notexist,
    /// Out of service.
    Stopped,
    /// Switched off.
    Poweroff,
    /// Could not be reached.
    Cantbeconnected,
    /// Busy.
    Linebusy,
    /// Rang, and nobody answered.
    Nooneheard,
    /// Something else; see the SIP code.
    Else,
    /// Our own: no free channel.
    NoChannel,
    /// Our own: the caller number's limit.
    NumberLimit,
    /// Our own: its deadline had passed.
    Deadline,
    /// Our own: cancelled before the answer.
    Cancelled,
}

impl Outcome {
    /// As the record and the metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Notexist => "notexist",
            Outcome::Stopped => "stopped",
            Outcome::Poweroff => "poweroff",
            Outcome::Cantbeconnected => "cantbeconnected",
            Outcome::Linebusy => "linebusy",
            Outcome::Nooneheard => "nooneheard",
            Outcome::Else => "else",
            Outcome::NoChannel => "no_channel",
            Outcome::NumberLimit => "number_limit",
            Outcome::Deadline => "deadline",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// All there is to know of a call that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallRecord {
    /// Our id of the call.
    pub call_id: String,
    /// "outbound" or "inbound".
    pub direction: &'static str,
    /// The profile.
    pub trunk: String,
    /// The number that called.
    pub caller: String,
    /// The number that was called.
    pub callee: String,
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: SystemTime,
    /// When it rang.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub rang_at: Option<SystemTime>,
    /// When it was answered.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub answered_at: Option<SystemTime>,
    /// When it ended.
    #[serde(serialize_with = "rfc3339")]
    pub ended_at: SystemTime,
    /// Begin to answer or end.
    pub setup_ms: Ms,
    /// Answer to end.
    pub talk_ms: Ms,
    /// How it ended.
    pub outcome: Outcome,
    /// Final status of the INVITE; 0 for none.
    pub sip_code: u16,
    /// Its reason phrase and, after "; ", a Reason header.
    pub sip_reason: String,
    /// Who hung up.
    pub hung_up_by: HungUpBy,
    /// Why.
    pub end_reason: String,
    /// All keys pressed.
    pub keys: String,
    /// Who said what, in order of their beginning.
    pub turns: Vec<Turn>,
    /// How the line was.
    pub quality: LineQuality,
    /// Facts from the dialogue.
    pub labels: std::collections::BTreeMap<String, String>,
    /// What went wrong.
    pub faults: Vec<String>,
    /// The recording, WAV or Ogg Opus; empty for none.
    pub wav: String,
    /// Where the recording is to be uploaded; empty: nowhere.
    pub wav_url: String,
    /// Where the recording was paused, in order: there it holds silence.
    pub recording_pauses: Vec<Pause>,
    /// Where in the recording the answer is, which is where media time begins; `None`: the recording begins with it, or there was none.
    pub recording_answer: Option<Ms>,
    /// Where the caller was sent nothing, as was asked.
    pub mutes: Vec<Pause>,
    /// The orchestrator's id of the request; empty for inbound.
    pub request_id: String,
    /// What the orchestrator wants back.
    pub correlation: String,
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// Every attempt to hand the call over.
    pub transfers: Vec<Transfer>,
    /// All User-to-User of the far end.
    pub user_to_user: Vec<ReceivedUui>,
    /// Of a second leg: the call that was handed over; empty for none.
    pub transferred_from: String,
    /// What exchanges said in tones.
    pub tones: Vec<HeardTone>,
    /// Who has answered; empty where that is not asked. A beep after the first verdict is a second one.
    pub answered_by: Vec<AnsweredBy>,
    /// With what the media were encrypted, as RFC 4568 names it; empty: they were not.
    pub srtp: &'static str,
    /// When early media began, if it was listened to.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub early_media_at: Option<SystemTime>,
    /// What was understood of it.
    pub early_text: Vec<EarlyText>,
    /// The announcement before the answer that says most of why there is none.
    pub announcement: Option<Announcement>,
}

/// Something that was said before the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlyText {
    /// What was understood.
    pub text: String,
    /// Begin, since the first frame of early media.
    pub start: Ms,
    /// End.
    pub stop: Ms,
}

/// An announcement before the answer that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// What was understood of it so far.
    pub text: String,
    /// By which rule it is known.
    pub rule: String,
    /// What it means.
    pub outcome: Outcome,
    /// Begin, since the first frame of early media.
    pub start: Ms,
    /// End, or how far it had come.
    pub stop: Ms,
}

/// A stretch of the recording that holds silence because it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Begin, media time.
    pub start: Ms,
    /// End; of the whole call, if it was not resumed.
    pub stop: Ms,
}

/// Who has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AnsweredBy {
    /// As [`Who::as_str`](crate::dsp::answerer::Who::as_str).
    pub who: &'static str,
    /// As [`Verdict::reason`](crate::dsp::answerer::Verdict::reason).
    pub reason: &'static str,
    /// When that was clear: media time; before the answer since the call began.
    #[serde(rename = "at")]
    pub at: Ms,
    /// It was heard before the answer.
    pub before_answer: bool,
}

/// What an exchange said in tones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeardTone {
    /// As [`Heard::as_str`](crate::dsp::tone::progress::Heard::as_str).
    pub what: &'static str,
    /// When it began: media time; before the answer since the call began.
    #[serde(rename = "start")]
    pub start: Ms,
    /// It was heard before the answer.
    pub before_answer: bool,
}

/// An attempt to hand the call over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// By what: "refer" or "bridge".
    pub kind: &'static str,
    /// To whom.
    pub target: String,
    /// 1 reached, -1 failed.
    pub result: i8,
    /// Final status of the target's call, or of the REFER that was refused; 408: nobody told in time; 0: nobody told.
    pub sip_code: u16,
    /// What became of it.
    pub outcome: Handed,
    /// In words.
    pub reason: String,
    /// When it was asked for at the far end.
    #[serde(rename = "start")]
    pub start: Ms,
    /// When the result was known.
    #[serde(rename = "stop")]
    pub stop: Ms,
    /// Of a second leg: its call; empty for none.
    pub call_id: String,
}

/// User-to-User of the far end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedUui {
    /// "invite", "ringing", "answer", "refusal" or "bye".
    pub carrier: &'static str,
    /// As it came.
    pub value: String,
}

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The robot.
    Speech,
    /// The caller.
    Voice,
}

/// One segment of the talk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
    /// Begin.
    #[serde(rename = "start")]
    pub start: Ms,
    /// End.
    #[serde(rename = "stop")]
    pub stop: Ms,
    /// Its length.
    pub length_ms: Ms,
    /// The other side cut in.
    pub interrupted: bool,
    /// When.
    pub interrupted_at: Option<Ms>,
    /// Said because nobody answered.
    pub silent: bool,
    /// Prompt or utterance.
    pub id: String,
    /// End of the caller's utterance to the first sample of this prompt, if it answers one.
    pub answered_after_ms: Option<Ms>,
}

/// How a line is coded, as `a=rtpmap` says it, and its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineCodec {
    /// Encoding name.
    pub name: &'static str,
    /// RTP clock rate.
    #[serde(rename = "clock_rate_hz")]
    pub clock_rate: u32,
    /// Channels.
    pub channels: u8,
    /// The length of the packets that came last; `None`: nothing came.
    #[serde(rename = "ptime_in_ms")]
    pub ptime_in: Option<Ms>,
    /// The length of those that we send.
    #[serde(rename = "ptime_out_ms")]
    pub ptime_out: Ms,
}

/// RTP both ways.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LineQuality {
    /// How it is coded now, or was at the end; `None`: there was no media.
    pub codec: Option<LineCodec>,
    /// Packets received.
    pub received: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Never came, and were said again by other packets in time (RFC 2198); not among the lost ones.
    pub recovered: u64,
    /// Came too late to be played.
    pub late: u64,
    /// 20 ms frames that had to be made up.
    pub concealed: u64,
    /// Interarrival jitter, RFC 3550 §6.4.1.
    pub jitter_ms: Ms,
    /// Packets sent.
    pub sent: u64,
    /// Times that a prompt fell silent because its audio had not come in time.
    pub under_runs: u64,
    /// How the far end heard us, as it last said by RTCP; `None` when it never did.
    pub peer: Option<PeerQuality>,
    /// How we heard the far end, over the whole call; `None`: nothing came.
    pub heard: Option<VoipMetrics>,
}

/// How the far end hears us.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct PeerQuality {
    /// Packets of ours that it has lost.
    pub lost: u64,
    /// Interarrival jitter there.
    pub jitter_ms: Ms,
    /// To the far end and back; `None` when it has not answered a report of ours.
    pub round_trip_ms: Option<Ms>,
    /// The same in full, if it sends extended reports (RFC 3611).
    pub heard: Option<VoipMetrics>,
}

/// How the line is, while the call is up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// Since its beginning.
    pub so_far: LineQuality,
    /// Since the last look; `None`: nothing came.
    pub lately: Option<Lately>,
}

/// A stretch of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lately {
    /// The share of packets lost, 0 to 1.
    pub loss_rate: f32,
    /// The share of packets that came and could not be played.
    pub discard_rate: f32,
    /// How it sounded, 1 to 5.
    pub mos_lq: f32,
}

fn rfc3339<S: Serializer>(at: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
    let stamp = jiff::Timestamp::try_from(*at).map_err(serde::ser::Error::custom)?;
    s.serialize_str(&format!("{stamp:.3}"))
}

fn rfc3339_or_null<S: Serializer>(at: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, s),
        None => s.serialize_none(),
    }
}
