//! The play: watches the call as an orchestrator would, shows it, and has the caller do what a person would do.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::Trouble;
use super::checks::{Checks, Must};
use super::phone::{Phone, Seen};
use super::stage::Stage;
use crate::command::screen::{Screen, Voice};
use crate::proto::control::v1::control_client::ControlClient;
use crate::proto::control::v1::event::Event as What;
use crate::proto::control::v1::{DialRequest, Event, WatchRequest};

const FRIDAY: &[u8] = include_bytes!("../../../test-audio/caller-friday.wav");
const AFTERNOON: &[u8] = include_bytes!("../../../test-audio/caller-afternoon.wav");
const ONE_MOMENT: &[u8] = include_bytes!("../../../test-audio/human-one-moment.wav");
/// A person who has listened begins to speak after so long.
const BREATH: Duration = Duration::from_millis(500);
/// A person who has heard enough of a long prompt.
const HEARD_ENOUGH: Duration = Duration::from_millis(3_500);
/// The phone rings so long before it is picked up.
const RINGS: Duration = Duration::from_millis(1_200);
/// The whole call.
const LONGEST: Duration = Duration::from_secs(90);

/// What the caller does, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cue {
    PickUp,
    Say(&'static [u8]),
    Press(char),
}

/// The play in progress.
pub(super) struct Play<'a> {
    screen: &'a Screen,
    checks: &'a mut Checks,
    phone: Phone,
    control: ControlClient<Channel>,
    callee: String,
    /// How many prompts began, so that the caller knows where in the play he is.
    prompts: u32,
}

impl<'a> Play<'a> {
    pub(super) async fn new(
        stage: &Stage,
        screen: &'a Screen,
        checks: &'a mut Checks,
        phone: Phone,
    ) -> Result<Play<'a>, Trouble> {
        let address = format!("http://127.0.0.1:{}", stage.ports.control);
        let control = ControlClient::connect(address).await.map_err(|error| Trouble::Control(error.to_string()))?;
        let callee = format!("sip:caller@127.0.0.1:{}", stage.ports.phone_sip);
        Ok(Play { screen, checks, phone, control, callee, prompts: 0 })
    }

    /// Dials, and watches until the call is over.
    pub(super) async fn run(mut self, seen: mpsc::UnboundedReceiver<Seen>) -> Result<(), Trouble> {
        let played = tokio::time::timeout(LONGEST, self.act(seen)).await;
        self.phone.quit().await;
        played.unwrap_or_else(|_| Err(Trouble::Missing(format!("an end within {} s", LONGEST.as_secs()))))
    }

    async fn act(&mut self, mut seen: mpsc::UnboundedReceiver<Seen>) -> Result<(), Trouble> {
        let refused = |status: tonic::Status| Trouble::Control(status.to_string());
        let watch = WatchRequest { from_oldest: true, partials: true, ..WatchRequest::default() };
        let mut events = self.control.watch(watch).await.map_err(refused)?.into_inner();
        let request_id = format!("demo-{}", std::process::id());
        let order = DialRequest { request_id, callee: self.callee.clone(), ..DialRequest::default() };
        let call_id = self.control.dial(order).await.map_err(refused)?.into_inner().call_id;
        let (cue, mut cues) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                event = events.message() => {
                    let Some(event) = event.map_err(refused)? else {
                        return Err(Trouble::Control("the server ended the watch".to_owned()));
                    };
                    if event.call_id == call_id && self.told(event, &cue) {
                        return Ok(());
                    }
                }
                Some(seen) = seen.recv() => self.saw(&seen, &cue),
                Some(next) = cues.recv() => self.perform(next).await?,
            }
        }
    }

    /// What the phone saw.
    fn saw(&mut self, seen: &Seen, cue: &mpsc::UnboundedSender<Cue>) {
        match seen.kind.as_str() {
            "CALL_INCOMING" => {
                self.screen.say(None, Voice::Caller, "(the phone rings)");
                self.checks.happened(Must::PhoneRang);
                after(RINGS, Cue::PickUp, cue);
            }
            "CALL_ESTABLISHED" => self.checks.happened(Must::PhoneAnswered),
            "CALL_CLOSED" => {
                self.screen.say(None, Voice::Caller, &format!("(the phone's display: {})", seen.detail));
            }
            _ => {}
        }
    }

    async fn perform(&mut self, cue: Cue) -> Result<(), Trouble> {
        match cue {
            Cue::PickUp => self.phone.accept().await?,
            Cue::Say(wav) => self.phone.say(wav).await?,
            Cue::Press(key) => self.phone.press(&key.to_string()).await?,
        }
        Ok(())
    }

    /// Shows what happened, and cues the caller. True: it was the last event.
    fn told(&mut self, event: Event, cue: &mpsc::UnboundedSender<Cue>) -> bool {
        self.screen.show(&event);
        let at_ms = event.at_ms;
        let Some(what) = event.event else { return false };
        match what {
            What::PromptStarted(prompt) => {
                self.prompts += 1;
                self.checks.prompt_started(&prompt.text, prompt.after_utterance_ms);
                // The third prompt is the long one.
                if self.prompts == 3 {
                    after(HEARD_ENOUGH, Cue::Say(ONE_MOMENT), cue);
                }
            }
            What::PromptFinished(_) => {
                self.checks.prompt_finished(at_ms);
                match self.prompts {
                    1 => after(BREATH, Cue::Say(FRIDAY), cue),
                    2 => after(BREATH, Cue::Say(AFTERNOON), cue),
                    4 => after(BREATH, Cue::Press('1'), cue),
                    _ => {}
                }
            }
            What::PromptInterrupted(prompt) => self.checks.interrupted(&prompt.by, prompt.reaction_ms),
            What::Utterance(heard) if heard.r#final => {
                self.checks.utterance(&heard.utterance.unwrap_or_default().text);
            }
            What::Utterance(_) => self.checks.happened(Must::Partial),
            What::Key(key) => self.checks.key(&key.key),
            What::ServiceTrouble(trouble) => self.checks.trouble(format!("{}: {}", trouble.service, trouble.reason)),
            What::RecordReady(files) => self.checks.files(files.wav, files.json),
            What::Ended(ended) => {
                self.checks.ended(ended.record.unwrap_or_default());
                return true;
            }
            _ => {}
        }
        false
    }
}

fn after(time: Duration, next: Cue, cue: &mpsc::UnboundedSender<Cue>) {
    let cue = cue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        // The call may be over by then.
        let _ = cue.send(next);
    });
}
