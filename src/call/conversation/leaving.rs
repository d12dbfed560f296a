//! The caller leaves the robot: a transfer from the asking to its result, by REFER or by a second leg of our own.
//!
//! Until there is a result the caller is the robot's: it may go on talking, and a second leg's waiting sound fills what it leaves empty. It
//! gives way to whatever is said as a bridging phrase does, and comes again after that.

use super::*;

/// A waiting sound that is shorter than this is not said again.
const SHORTEST: Ms = Ms(100);

impl Conversation {
    /// The transfer that was asked for, when nothing is left to wait for; [`Conversation::referred`] is due for it.
    pub fn take_leaving(&mut self) -> Option<(HungUpBy, Leaving)> {
        if !std::mem::take(&mut self.leaving_due) {
            return None;
        }
        let leaving = self.leaving.take();
        self.referring |= leaving.is_some();
        // From now on silence is no answer that is missing.
        self.timers[Timer::NoInput as usize] = None;
        if let Some((_, Leaving::SecondLeg(leg))) = &leaving
            && !leg.waiting.is_empty()
        {
            let (id, segments) = ("waiting".to_owned(), leg.waiting.clone());
            let barge_in = Some(BargeIn::Never);
            self.waiting_sound =
                Some(Box::new(Prompt { id, segments, barge_in, protect: None, silent: false, more: false }));
            self.wait_on();
        }
        leaving
    }

    /// The result of a transfer. By REFER, one that reached its target ends the call; after any other the conversation goes on.
    pub fn referred(&mut self, now: Instant, reached: bool, sip_code: u16, reason: String) {
        self.referring = false;
        if self.waiting_sound.take().is_some() {
            self.speaker.unbridge(&mut self.out);
        }
        if self.ended {
            return;
        }
        let result = Line::TransferResult { reached, sip_code, reason };
        if reached {
            return self.tell(now, result);
        }
        if let Some(reason) = self.gone.take() {
            self.dialogue_lost(now, reason);
        }
        self.ask(now, result);
        self.rest(now);
    }

    /// The second leg is answered: the robot leaves, and the call goes on without it.
    pub fn bridged(&mut self, now: Instant, by: HungUpBy, reason: &str, transcript: bool) {
        (self.referring, self.joined, self.waiting_sound) = (false, true, None);
        if self.ended {
            return;
        }
        // What the robot wanted to do afterwards is not its business any more; who runs the call has the last word.
        self.hangup = self.hangup.take().filter(|(by, ..)| *by != HungUpBy::Robot);
        self.stop(now);
        self.collection_ends(now);
        self.tell(
            now,
            Line::TransferResult { reached: true, sip_code: 200, reason: "the target has answered".to_owned() },
        );
        self.tell(now, Line::End { by, reason: reason.to_owned() });
        if std::mem::take(&mut self.rules.dialogue) {
            self.out.push_back(Output::Dialogue(ToDialogue::Close));
        }
        (self.given_up, self.gone) = (true, None);
        self.owes_nothing();
        if !transcript {
            if let Some((utterance, start)) = self.speaking {
                self.utterance_ended(now, utterance, (start, self.at(now)), false, false);
            }
            self.recogniser(ToRecogniser::Close);
            self.rules.recogniser = false;
        }
        self.rest(now);
    }

    pub(super) fn leave(&mut self, now: Instant, by: HungUpBy, leaving: Leaving) {
        match self.may_leave(leaving.name()) {
            Ok(()) => {
                self.leaving_due |= leaving.now();
                self.leaving = Some((by, leaving));
            }
            Err(reason) => {
                let (stage, target) = (Stage::Failed(Handed::Refused), leaving.target().to_string());
                self.event(now, What::Transfer { stage, target, sip_code: 491, reason, call_id: None });
            }
        }
    }

    /// One transfer at a time, and none of a call that is to be hung up or has been handed over.
    pub(super) fn may_leave(&self, what: &str) -> Result<(), String> {
        match &self.hangup {
            _ if self.joined => Err(format!("{what}: the call is handed over already")),
            Some(_) => Err(format!("{what}: the call is being hung up")),
            None if self.is_leaving() => Err(format!("{what}: another transfer has no result yet")),
            None => Ok(()),
        }
    }

    /// A transfer is asked for, or under way.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some() || self.referring
    }

    /// What two people say to each other is nobody's business, unless a transcript was asked for.
    pub(super) fn is_deaf_to(&self, event: &LegEvent) -> bool {
        let speech = matches!(event, LegEvent::SpeechStarted { .. } | LegEvent::Utterance { .. });
        speech && self.joined && !self.rules.recogniser
    }

    /// Nothing is said while somebody is called: the waiting sound is.
    pub(super) fn wait_on(&mut self) {
        if let Some(sound) = self.waiting_sound.as_deref().filter(|_| self.referring && !self.held && !self.ended)
            && self.speaker.idle()
        {
            self.speaker.bridge(sound.clone(), &self.knobs, &mut self.out);
        }
    }

    /// A waiting sound has come to its end. One without sound would begin anew without end.
    pub(super) fn waits_on(&mut self, entry: &Entry, length: Ms) {
        if entry.bridging && (length < SHORTEST || !entry.fault.is_empty()) {
            self.waiting_sound = None;
        }
    }

    pub(super) fn is_waiting_sound(&self, prompt: PromptNo) -> bool {
        self.waiting_sound.is_some() && self.speaker.is_bridging(prompt)
    }
}
