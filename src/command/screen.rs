//! The conversation on the terminal, line by line, as it happens.

use std::io::{IsTerminal, Write};

use crate::proto::control::v1::Event;
use crate::proto::control::v1::event::Event as What;

/// Who or what a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Voice {
    Robot,
    Caller,
    Line,
    Note,
    Good,
    Bad,
}

/// The terminal.
#[derive(Debug)]
pub(in crate::command) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Colours where they are seen: not in files, and not where NO_COLOR asks for none.
    pub(in crate::command) fn new() -> Screen {
        Screen { coloured: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A line of the conversation; `at` is media time in ms, if the call is up.
    pub(in crate::command) fn say(&self, at: Option<u32>, voice: Voice, text: &str) {
        let time =
            at.map_or_else(|| " ".repeat(9), |ms| format!("{:>6}.{:02} s", ms / 1_000, ms % 1_000 / 10).split_off(1));
        let (name, colour) = match voice {
            Voice::Robot => ("robot ", "36"),
            Voice::Caller => ("caller", "33"),
            Voice::Line => ("line  ", "90"),
            Voice::Note => ("      ", "90"),
            Voice::Good => ("  ok  ", "32"),
            Voice::Bad => ("MISSED", "31;1"),
        };
        let line = match self.coloured {
            true => format!("\x1b[90m{time}\x1b[0m  \x1b[{colour}m{name}  {text}\x1b[0m"),
            false => format!("{time}  {name}  {text}"),
        };
        self.print(&line);
    }

    /// An event of a call, or of what calls depend on.
    pub(in crate::command) fn show(&self, event: &Event) {
        let at = Some(event.at_ms);
        let Some(what) = &event.event else { return };
        match what {
            What::Dialling(dialling) => {
                self.say(None, Voice::Line, &format!("dialling {} over {}", dialling.callee, dialling.trunk));
            }
            What::Rerouted(told) => {
                self.say(None, Voice::Line, &format!("{} failed ({}): over another trunk", told.trunk, told.reason));
            }
            What::Trunk(told) => {
                let stands = if told.up { "can be dialled" } else { "is down" };
                let registration = match told.registration.as_str() {
                    "none" => String::new(),
                    other => format!(", {other}"),
                };
                let reason = if told.reason.is_empty() { String::new() } else { format!(": {}", told.reason) };
                self.say(None, Voice::Line, &format!("trunk {} {stands}{registration}{reason}", told.trunk));
            }
            What::Incoming(call) => self.say(None, Voice::Line, &format!("{} calls {}", call.caller, call.callee)),
            What::Ringing(ringing) => self.say(None, Voice::Line, &format!("{} ringing", ringing.sip_code)),
            What::Answered(answered) => {
                self.say(at, Voice::Line, &format!("answered; {}, media to {}", answered.codec, answered.remote_media));
            }
            What::PromptStarted(prompt) => {
                let after = prompt.after_utterance_ms.map(|ms| format!("   [{ms} ms after the caller's last word]"));
                self.say(at, Voice::Robot, &format!("{}{}", prompt.text, after.unwrap_or_default()));
            }
            What::PromptFinished(prompt) => {
                self.say(at, Voice::Line, &format!("prompt heard whole, {} ms", prompt.length_ms));
            }
            What::PromptInterrupted(prompt) => {
                let heard = prompt.heard.clone().unwrap_or_default();
                let reaction = match prompt.by.as_str() {
                    "speech" => format!(", {} ms after the caller began", prompt.reaction_ms),
                    _ => String::new(),
                };
                let (ms, characters, segment) = (heard.heard_ms, heard.characters, heard.segment);
                let place = format!("heard up to character {characters} of segment {segment}");
                self.say(at, Voice::Line, &format!("prompt stopped by {} after {ms} ms{reaction}; {place}", prompt.by));
            }
            What::PromptPaused(prompt) => {
                self.say(at, Voice::Line, &format!("prompt pauses for utterance {}", prompt.utterance_id))
            }
            What::PromptResumed(_) => self.say(at, Voice::Line, "prompt goes on"),
            What::KeysCollected(keys) => {
                self.say(at, Voice::Line, &format!("keys collected: {} ({})", keys.digits, keys.result));
            }
            What::PromptMark(mark) => self.say(at, Voice::Line, &format!("mark {}", mark.mark)),
            What::SpeechStarted(speech) => self.say(Some(speech.start_ms), Voice::Caller, "(begins to speak)"),
            What::Utterance(heard) => {
                let utterance = heard.utterance.clone().unwrap_or_default();
                let text = utterance.text;
                if heard.r#final {
                    let known = format!("[known {} ms after the last word]", heard.latency_ms);
                    self.say(Some(utterance.stop_ms), Voice::Caller, &format!("\u{201c}{text}\u{201d}   {known}"));
                } else {
                    self.say(at, Voice::Note, &format!("… {text}"));
                }
            }
            What::NoInput(silence) => self.say(at, Voice::Line, &format!("no input, {}", silence.count)),
            What::Key(key) => self.say(at, Voice::Caller, &format!("(presses {})", key.key)),
            What::Tone(tone) => {
                let when = if tone.before_answer { " before the answer" } else { "" };
                self.say(at, Voice::Line, &format!("{}{when}", tone.what));
            }
            What::Announcement(said) => {
                let outcome = said.outcome().as_str_name();
                self.say(None, Voice::Line, &format!("announced before the answer: {outcome} ({})", said.rule));
            }
            What::AnsweredBy(by) => {
                self.say(Some(by.at_ms), Voice::Line, &format!("answered by: {} ({})", by.who, by.reason));
            }
            What::KnobClamped(clamp) => {
                self.say(
                    at,
                    Voice::Line,
                    &format!("{}: {} is out of range, {} is used", clamp.knob, clamp.asked, clamp.used),
                );
            }
            What::ServiceTrouble(trouble) => {
                self.say(at, Voice::Bad, &format!("{}: {}", trouble.service, trouble.reason));
            }
            What::RecordPaused(told) => {
                let what = if told.on { "paused" } else { "goes on" };
                self.say(Some(told.from_ms), Voice::Line, &format!("the recording {what}"));
            }
            What::Muted(told) => {
                let what = if told.on { "is sent nothing" } else { "is spoken to again" };
                self.say(Some(told.from_ms), Voice::Line, &format!("the caller {what}"));
            }
            What::RecordUploaded(told) if told.reason.is_empty() => {
                self.say(None, Voice::Note, &format!("uploaded: {}", told.json_url));
            }
            What::RecordUploaded(told) => {
                self.say(None, Voice::Bad, &format!("not uploaded yet: {}", told.reason));
            }
            What::RecordReady(files) => {
                let wav = if files.wav.is_empty() { String::new() } else { format!(" and {}", files.wav) };
                self.say(None, Voice::Note, &format!("record: {}{wav}", files.json));
            }
            What::Transfer(transfer) => {
                let stage = transfer.stage().as_str_name().trim_start_matches("STAGE_").to_lowercase();
                let code = if transfer.sip_code == 0 { String::new() } else { format!(" {}", transfer.sip_code) };
                let said = format!("{stage}: to {}{code} {}", transfer.target, transfer.reason);
                self.say(at, Voice::Line, &format!("transfer {}", said.trim_end()));
            }
            What::Hold(hold) => {
                let who = match (hold.by_us, hold.by_far_end) {
                    (false, false) => "nobody is on hold",
                    (true, false) => "the far end is on hold",
                    (false, true) => "we are on hold",
                    (true, true) => "both sides are on hold",
                };
                let refused = match hold.sip_code {
                    0 => String::new(),
                    code => format!(", still: {code} {}", hold.reason),
                };
                self.say(at, Voice::Line, &format!("{who}{refused}"));
            }
            What::Quality(quality) => {
                let lately = quality.lately.unwrap_or_default();
                let bad = (lately.loss_rate + lately.discard_rate) * 100.0;
                let text = match quality.occasion.as_str() {
                    _ if quality.lately.is_none() => "line: nothing is heard".to_owned(),
                    occasion => format!("line {occasion}: MOS {:.1}, {bad:.1} % lost or late", lately.mos_lq),
                };
                let voice = if quality.occasion == "poor" { Voice::Bad } else { Voice::Note };
                self.say(at, voice, &text);
            }
            What::ReferRefused(refer) => {
                let text = format!("REFER to {} refused with {} ({})", refer.target, refer.sip_code, refer.why);
                self.say(at, Voice::Line, &text);
            }
            What::ReferAsked(refer) => {
                let within = refer.answer_within_ms;
                self.say(at, Voice::Line, &format!("REFER to {}: refer_answer is due in {within} ms", refer.target));
            }
            What::Referred(refer) => {
                let stage = refer.stage().as_str_name().trim_start_matches("STAGE_").to_lowercase();
                let text = format!("REFER to {} {stage}: {} {}", refer.target, refer.sip_code, refer.reason);
                self.say(at, Voice::Line, &text);
            }
            What::UserToUser(uui) => {
                let values = uui.values.iter().map(|value| value.written.as_str()).collect::<Vec<_>>().join(", ");
                self.say(at, Voice::Line, &format!("User-to-User ({}): {values}", uui.carrier));
            }
            What::Ended(ended) => {
                let record = ended.record.clone().unwrap_or_default();
                let text = match record.answered_at {
                    Some(_) => format!("hung up by the {}: {}", record.hung_up_by, record.end_reason),
                    None => format!("{}: {}", record.outcome().as_str_name(), record.end_reason),
                };
                self.say(Some(record.talk_ms), Voice::Line, &text);
            }
        }
    }

    /// A line of its own.
    pub(in crate::command) fn title(&self, text: &str) {
        match self.coloured {
            true => self.print(&format!("\x1b[1m{text}\x1b[0m")),
            false => self.print(text),
        }
    }

    fn print(&self, line: &str) {
        // A terminal that is gone ends nothing.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
