//! What the orchestrator is told: events, records and states as the contract writes them.

use crate::call::event::{Event, Stage, What};
use crate::call::line::Parties;
use crate::call::record::{
    Announcement, CallRecord, EarlyText, HeardTone, LineQuality, Outcome, Pause, ReceivedUui, Role, Transfer, Turn,
};
use crate::dialogue::convert;
use crate::journal::{News, Sequenced, Standing};
use crate::ms::Ms;
use crate::proto::control::v1 as proto;
use crate::proto::control::v1::event::{self as happened, Event as Told};
use crate::proto::dialogue::v1 as dialogue;
use crate::rtp::xr::VoipMetrics;
use crate::switchboard::order::{CallState, Phase, TrunkState};

/// An event with its number.
pub(super) fn event(sequenced: &Sequenced) -> proto::Event {
    let sequence = sequenced.sequence;
    match &sequenced.event {
        News::Call(Event { call_id, wall, at, correlation, what }) => proto::Event {
            sequence,
            call_id: call_id.to_string(),
            wall_time: Some((*wall).into()),
            at_ms: at.0,
            correlation: correlation.to_string(),
            event: Some(told(what.clone())),
        },
        News::Trunk { wall, standing } => proto::Event {
            sequence,
            wall_time: Some((*wall).into()),
            event: Some(Told::Trunk(self::standing(standing.clone()))),
            ..Default::default()
        },
    }
}

fn standing(standing: Standing) -> happened::Trunk {
    let Standing { trunk, up, registration, reason } = standing;
    happened::Trunk { trunk, up, registration: registration.into(), reason }
}

fn told(what: What) -> Told {
    match what {
        What::Dialling { trunk, callee, caller, transferred_from } => Told::Dialling(happened::Dialling {
            trunk,
            callee,
            caller,
            transferred_from: transferred_from.as_deref().unwrap_or_default().to_owned(),
        }),
        What::Ringing { sip_code, early_media } => {
            Told::Ringing(happened::Ringing { sip_code: sip_code.into(), early_media })
        }
        What::Answered { codec, remote_media, srtp } => {
            let remote_media = remote_media.to_string();
            Told::Answered(happened::Answered { codec: codec.into(), remote_media, srtp: srtp.into() })
        }
        What::Rerouted { trunk, reason } => Told::Rerouted(happened::Rerouted { trunk, reason }),
        What::Incoming { trunk, parties, waiting, user_to_user } => {
            let Parties { caller, callee, caller_name, withheld, diverted_from, diversion_reason } = *parties;
            let values = convert::received(user_to_user.clone());
            let user_to_user = user_to_user.join(", ");
            Told::Incoming(happened::Incoming {
                trunk,
                caller,
                callee,
                waiting,
                user_to_user,
                user_to_user_values: values,
                caller_name,
                withheld,
                diverted_from,
                diversion_reason,
            })
        }
        What::PromptStarted { prompt_id, text, after_utterance } => Told::PromptStarted(happened::PromptStarted {
            prompt_id,
            text,
            after_utterance_ms: convert::millis(after_utterance),
        }),
        What::PromptFinished { prompt_id, length, fault } => {
            Told::PromptFinished(happened::PromptFinished { prompt_id, length_ms: length.0, fault })
        }
        What::PromptInterrupted { heard, by, reaction } => Told::PromptInterrupted(happened::PromptInterrupted {
            heard: Some(convert::heard(heard)),
            by: by.as_str().into(),
            reaction_ms: reaction.0,
        }),
        What::PromptPaused { prompt_id, utterance } => {
            Told::PromptPaused(happened::PromptPaused { prompt_id, utterance_id: utterance })
        }
        What::PromptResumed { prompt_id } => Told::PromptResumed(happened::PromptResumed { prompt_id }),
        What::KeysCollected { result, digits } => Told::KeysCollected(convert::keys(result, digits)),
        What::Mark { prompt_id, mark } => Told::PromptMark(dialogue::Mark { prompt_id, mark }),
        What::SpeechStarted { utterance, start, during_prompt, early } => {
            Told::SpeechStarted(happened::SpeechStarted {
                utterance_id: utterance,
                start_ms: start.0,
                during_prompt,
                early_media: early,
            })
        }
        What::Partial { utterance, text, early } => Told::Utterance(happened::Utterance {
            utterance: Some(dialogue::Utterance {
                utterance_id: utterance,
                text,
                early_media: early,
                ..Default::default()
            }),
            r#final: false,
            latency_ms: 0,
        }),
        What::Utterance { utterance, latency } => Told::Utterance(happened::Utterance {
            utterance: Some(convert::utterance(*utterance)),
            r#final: true,
            latency_ms: latency.0,
        }),
        What::NoInput { count } => Told::NoInput(dialogue::NoInput { count }),
        What::Key { key } => Told::Key(happened::Key { key: key.into() }),
        What::Tone { heard, start, before_answer } => {
            Told::Tone(happened::Tone { what: heard.as_str().into(), start_ms: start.0, before_answer })
        }
        What::Announcement(said) => Told::Announcement(announcement(said)),
        What::AnsweredBy(by) => Told::AnsweredBy(convert::answered_by(by)),
        What::KnobClamped(clamp) => Told::KnobClamped(happened::KnobClamped {
            knob: clamp.knob.into(),
            asked: clamp.asked.0,
            used: clamp.used.0,
        }),
        What::ServiceTrouble { service, reason } => {
            Told::ServiceTrouble(happened::ServiceTrouble { service: service.as_str().into(), reason })
        }
        What::RecordPaused { on, from } => Told::RecordPaused(happened::RecordPaused { on, from_ms: from.0 }),
        What::Muted { on, from } => Told::Muted(dialogue::Muted { on, from_ms: from.0 }),
        What::RecordReady { wav, json, wav_url, json_url } => {
            Told::RecordReady(happened::RecordReady { wav, json, wav_url, json_url })
        }
        What::RecordUploaded { wav, json, bytes, attempts, reason } => {
            Told::RecordUploaded(happened::RecordUploaded { wav_url: wav, json_url: json, bytes, attempts, reason })
        }
        What::Transfer { stage, target, sip_code, reason, call_id } => Told::Transfer(happened::Transfer {
            stage: self::stage(stage).into(),
            target,
            sip_code: sip_code.into(),
            reason,
            call_id: call_id.as_deref().unwrap_or_default().to_owned(),
        }),
        What::Hold { by_us, by_far_end, sip_code, reason } => {
            Told::Hold(happened::Hold { by_us, by_far_end, sip_code: sip_code.into(), reason })
        }
        What::Quality { trunk, occasion, look } => Told::Quality(happened::Quality {
            trunk,
            occasion: occasion.as_str().into(),
            so_far: Some(quality(look.so_far)),
            lately: look.lately.map(|lately| happened::quality::Lately {
                loss_rate: lately.loss_rate,
                discard_rate: lately.discard_rate,
                mos_lq: lately.mos_lq,
            }),
        }),
        What::ReferRefused { target, sip_code, why } => {
            Told::ReferRefused(happened::ReferRefused { target, sip_code: sip_code.into(), why: why.into() })
        }
        What::ReferAsked(asked) => Told::ReferAsked(convert::refer_asked(*asked)),
        What::Referred { stage, target, sip_code, reason } => Told::Referred(happened::Referred {
            stage: self::stage(stage).into(),
            target,
            sip_code: sip_code.into(),
            reason,
        }),
        What::UserToUser { carrier, values } => Told::UserToUser(happened::UserToUserReceived {
            carrier: carrier.into(),
            values: convert::received(values),
        }),
        What::Ended(record) => Told::Ended(happened::Ended { record: Some(self::record(*record)) }),
    }
}

fn record(record: CallRecord) -> proto::CallRecord {
    proto::CallRecord {
        call_id: record.call_id,
        direction: direction(record.direction == "outbound"),
        trunk: record.trunk,
        caller: record.caller,
        callee: record.callee,
        started_at: Some(record.started_at.into()),
        rang_at: record.rang_at.map(Into::into),
        answered_at: record.answered_at.map(Into::into),
        ended_at: Some(record.ended_at.into()),
        setup_ms: record.setup_ms.0,
        talk_ms: record.talk_ms.0,
        outcome: outcome(record.outcome).into(),
        sip_code: record.sip_code.into(),
        sip_reason: record.sip_reason,
        hung_up_by: record.hung_up_by.as_str().into(),
        end_reason: record.end_reason,
        keys: record.keys,
        turns: record.turns.into_iter().map(turn).collect(),
        quality: Some(quality(record.quality)),
        labels: record.labels.into_iter().collect(),
        faults: record.faults,
        wav: record.wav,
        wav_url: record.wav_url,
        recording_pauses: record.recording_pauses.into_iter().map(pause).collect(),
        recording_answer_ms: convert::millis(record.recording_answer),
        mutes: record.mutes.into_iter().map(pause).collect(),
        request_id: record.request_id,
        correlation: record.correlation,
        sip_call_id: record.sip_call_id,
        transfers: record.transfers.into_iter().map(transfer).collect(),
        user_to_user: record.user_to_user.into_iter().map(user_to_user).collect(),
        early_media_at: record.early_media_at.map(Into::into),
        early_text: record.early_text.into_iter().map(early_text).collect(),
        announcement: record.announcement.map(announcement),
        srtp: record.srtp.into(),
        tones: record.tones.into_iter().map(tone).collect(),
        answered_by: record.answered_by.into_iter().map(convert::answered_by).collect(),
        transferred_from: record.transferred_from,
    }
}

fn early_text(said: EarlyText) -> proto::call_record::EarlyText {
    proto::call_record::EarlyText { text: said.text, start_ms: said.start.0, stop_ms: said.stop.0 }
}

fn announcement(said: Announcement) -> happened::Announcement {
    happened::Announcement {
        text: said.text,
        rule: said.rule.to_string(),
        outcome: outcome(said.outcome).into(),
        start_ms: said.start.0,
        stop_ms: said.stop.0,
    }
}

fn pause(pause: Pause) -> proto::call_record::Pause {
    proto::call_record::Pause { start_ms: pause.start.0, stop_ms: pause.stop.0 }
}

fn stage(stage: Stage) -> happened::transfer::Stage {
    use happened::transfer::Stage as Told;
    match stage {
        Stage::Started => Told::Started,
        Stage::Progress => Told::Progress,
        Stage::Answered(_) => Told::Answered,
        Stage::Failed(_) => Told::Failed,
        Stage::Ended => Told::Ended,
    }
}

fn transfer(transfer: Transfer) -> proto::call_record::Transfer {
    proto::call_record::Transfer {
        kind: transfer.kind.into(),
        target: transfer.target,
        result: transfer.result.into(),
        sip_code: transfer.sip_code.into(),
        outcome: transfer.outcome.as_str().into(),
        reason: transfer.reason,
        start_ms: transfer.start.0,
        stop_ms: transfer.stop.0,
        call_id: transfer.call_id,
    }
}

fn tone(tone: HeardTone) -> happened::Tone {
    happened::Tone { what: tone.what.into(), start_ms: tone.start.0, before_answer: tone.before_answer }
}

fn user_to_user(received: ReceivedUui) -> proto::call_record::UserToUser {
    proto::call_record::UserToUser { carrier: received.carrier.into(), value: received.value }
}

fn outcome(outcome: Outcome) -> proto::Outcome {
    match outcome {
        Outcome::Success => proto::Outcome::Success,
        Outcome::Notexist => proto::Outcome::Notexist,
        Outcome::Stopped => proto::Outcome::Stopped,
        Outcome::Poweroff => proto::Outcome::Poweroff,
        Outcome::Cantbeconnected => proto::Outcome::Cantbeconnected,
        Outcome::Linebusy => proto::Outcome::Linebusy,
        Outcome::Nooneheard => proto::Outcome::Nooneheard,
        Outcome::Else => proto::Outcome::Else,
        Outcome::NoChannel => proto::Outcome::NoChannel,
        Outcome::NumberLimit => proto::Outcome::NumberLimit,
        Outcome::Deadline => proto::Outcome::Deadline,
        Outcome::Cancelled => proto::Outcome::Cancelled,
    }
}

fn turn(turn: Turn) -> proto::call_record::Turn {
    let role = match turn.role {
        Role::Speech => "speech",
        Role::Voice => "voice",
    };
    proto::call_record::Turn {
        role: role.into(),
        text: turn.text,
        start_ms: turn.start.0,
        stop_ms: turn.stop.0,
        interrupted: turn.interrupted,
        interrupted_at_ms: turn.interrupted_at.unwrap_or_default().0,
        silent: turn.silent,
        id: turn.id,
        answered_after_ms: convert::millis(turn.answered_after_ms),
    }
}

fn quality(quality: LineQuality) -> proto::call_record::Quality {
    proto::call_record::Quality {
        codec: quality.codec.map(|codec| proto::call_record::Codec {
            name: codec.name.into(),
            clock_rate_hz: codec.clock_rate,
            channels: codec.channels.into(),
            ptime_in_ms: convert::millis(codec.ptime_in),
            ptime_out_ms: codec.ptime_out.0,
        }),
        received: quality.received,
        lost: quality.lost,
        recovered: quality.recovered,
        late: quality.late,
        concealed: quality.concealed,
        jitter_ms: quality.jitter_ms.0,
        sent: quality.sent,
        under_runs: quality.under_runs,
        peer_lost: quality.peer.map(|peer| peer.lost),
        peer_jitter_ms: quality.peer.map(|peer| peer.jitter_ms.0),
        round_trip_ms: quality.peer.and_then(|peer| peer.round_trip_ms).map(|ms| ms.0),
        heard: quality.heard.map(voip_metrics),
        peer_heard: quality.peer.and_then(|peer| peer.heard).map(voip_metrics),
    }
}

fn voip_metrics(metrics: VoipMetrics) -> proto::VoipMetrics {
    let VoipMetrics { loss_rate, discard_rate, burst_density, gap_density, burst_ms, gap_ms, .. } = metrics;
    let ms = |ms: Option<Ms>| ms.map(|ms| ms.0);
    proto::VoipMetrics {
        loss_rate,
        discard_rate,
        burst_density,
        gap_density,
        burst_ms: burst_ms.0,
        gap_ms: gap_ms.0,
        round_trip_ms: ms(metrics.round_trip_ms),
        end_system_ms: ms(metrics.end_system_ms),
        signal_dbm0: metrics.signal_dbm0.map(Into::into),
        noise_dbm0: metrics.noise_dbm0.map(Into::into),
        echo_loss_db: metrics.echo_loss_db.map(Into::into),
        r_factor: metrics.r_factor,
        mos_lq: metrics.mos_lq,
        mos_cq: metrics.mos_cq,
        buffer_ms: ms(metrics.buffer_ms),
        buffer_max_ms: ms(metrics.buffer_max_ms),
    }
}

fn direction(outbound: bool) -> i32 {
    let direction = if outbound { dialogue::Direction::Outbound } else { dialogue::Direction::Inbound };
    direction.into()
}

/// A call that is up.
pub(super) fn call(state: CallState) -> proto::CallState {
    let phase = match state.phase {
        Phase::Dialling => "dialling",
        Phase::Ringing => "ringing",
        Phase::Waiting => "waiting",
        Phase::Talking => "talking",
        Phase::Ending | Phase::Over => "ending",
    };
    proto::CallState {
        call_id: state.call_id.to_string(),
        direction: direction(state.outbound),
        trunk: state.trunk.to_string(),
        caller: state.caller.to_string(),
        callee: state.callee.to_string(),
        state: phase.into(),
        started_at: Some(state.started_at.into()),
        replaces: state.replaces,
        remote_target: state.remote_target,
        held_by_us: state.held.0,
        held_by_far_end: state.held.1,
        srtp: state.srtp.into(),
        transferred_from: state.transferred_from.as_deref().unwrap_or_default().to_owned(),
    }
}

/// A trunk.
pub(super) fn trunk(state: TrunkState) -> proto::TrunkState {
    proto::TrunkState {
        name: state.name,
        channels_used: count(state.channels_used),
        channels_max: count(state.channels_max),
        registration: state.registration.as_str().into(),
        reason: state.registration.fault().unwrap_or_default().to_owned(),
        up: state.up,
        down_reason: state.down.unwrap_or_default(),
    }
}

/// A count as the contract writes it.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
