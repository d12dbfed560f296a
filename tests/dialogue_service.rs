//! `trunkline dialogue` by a real gRPC client that plays the line: the demo's whole conversation, and the refusals.

use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::dialogue_client::DialogueClient;
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::segment::Segment as Part;
use trunkline::proto::dialogue::v1::*;
use trunkline::services::script::Script;
use trunkline::services::script::server::serve_on;
use trunkline::services::serving;

/// The line's side of one call.
struct Line {
    events: mpsc::Sender<LineEvent>,
    actions: Streaming<Action>,
    number: u64,
}

impl Line {
    async fn tell(&mut self, event: Event) -> u64 {
        self.number += 1;
        let event = LineEvent { event_id: self.number, at_ms: self.number as u32 * 1_000, event: Some(event) };
        self.events.send(event).await.expect("listened to");
        self.number
    }

    /// Tells the line's event and takes actions until the prompt, which it gives with the hang-up that may follow.
    async fn prompt_after(&mut self, event: Event) -> (String, Say, Vec<Act>) {
        let answered = self.tell(event).await;
        let mut before = Vec::new();
        loop {
            let action = self.next().await;
            assert_eq!((action.answers, action.if_stale()), (answered, Stale::Play));
            match action.action.expect("a kind") {
                Act::Say(say) => return (text(&say), say, before),
                other => before.push(other),
            }
        }
    }

    async fn next(&mut self) -> Action {
        let wait = tokio::time::timeout(Duration::from_secs(5), self.actions.message());
        wait.await.expect("in time").expect("no error").expect("an action")
    }
}

fn text(say: &Say) -> String {
    let parts = say.segments.iter().map(|segment| match segment.segment.as_ref().expect("a kind") {
        Part::Text(text) => text.text.clone(),
        other => format!("{other:?}"),
    });
    parts.collect::<Vec<_>>().join(" ")
}

fn said(text: &str) -> Event {
    Event::Utterance(Utterance { utterance_id: 1, text: text.into(), ..Default::default() })
}

fn demo() -> Script {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dialogues/demo.toml");
    Script::load(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// Serves a script, plays one call and stops the service.
async fn with_line(script: Script, play: impl AsyncFnOnce(&mut Line)) {
    let listener = serving::listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(async move {
        serve_on(listener, script, async { drop(stopped.await) }).await.expect("it serves until it is stopped");
    });
    let mut client = DialogueClient::connect(format!("http://{addr}")).await.expect("a connection");
    let (events, receiver) = mpsc::channel(8);
    let actions = client.converse(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    let mut line = Line { events, actions, number: 0 };
    play(&mut line).await;
    drop((line, client));
    stop.send(()).expect("it still runs");
    tokio::time::timeout(Duration::from_secs(5), done).await.expect("it ends").expect("without a panic");
}

#[tokio::test]
async fn the_demo_call_is_held_from_the_greeting_to_the_hang_up() {
    with_line(demo(), async |line| {
        let variables = [("shop".to_owned(), "Red Tree Toys".to_owned())].into();
        let begin = Begin { call_id: "c1".into(), caller: "100".into(), variables, ..Default::default() };
        let (text, _, before) = line.prompt_after(Event::Begin(begin)).await;
        assert!(text.starts_with("Hello. This is the delivery robot of Red Tree Toys."), "{text}");
        let knobs = Knobs { endpoint_ms: Some(600), no_input_ms: Some(5_000), ..Default::default() };
        assert_eq!(before, [Act::Set(knobs)]);

        let (text, _, before) = line.prompt_after(said("Could you bring it on Friday, please?")).await;
        assert!(text.starts_with("Friday, very well."), "{text}");
        assert_eq!(before, [Act::Label(Label { key: "day".into(), value: "Friday".into() })]);

        let (text, terms, _) = line.prompt_after(said("In the afternoon.")).await;
        assert!(text.contains("book Friday afternoon"), "{text}");
        assert_eq!(terms.barge_in(), BargeInPolicy::Speech);

        // The caller interrupts: the line says so, the prompt is over, and then the words come.
        let heard = Heard { prompt_id: terms.prompt_id.clone(), heard_ms: 2_300, segment: 0, characters: 30 };
        line.tell(Event::BargeIn(BargeIn { interrupted: Some(heard.clone()) })).await;
        let done = PromptDone { prompt_id: terms.prompt_id, interrupted: Some(heard.clone()), fault: String::new() };
        line.tell(Event::PromptDone(done)).await;
        let words = Utterance { text: "Yes, yes, I know.".into(), interrupted: Some(heard), ..Default::default() };
        let (text, menu, _) = line.prompt_after(Event::Utterance(words)).await;
        assert!(text.contains("press one"), "{text}");
        assert_eq!(menu.barge_in(), BargeInPolicy::Never);

        let (text, _, before) = line.prompt_after(Event::Key(Key { key: "1".into(), interrupted: None })).await;
        assert_eq!(text, "Your parcel comes on Friday, in the afternoon. Thank you, and goodbye.");
        assert_eq!(before, [Act::Label(Label { key: "intent".into(), value: "confirmed".into() })]);
        assert!(matches!(line.next().await.action, Some(Act::Hangup(Hangup { now: false, .. }))));
        line.tell(Event::End(End { by: "robot".into(), reason: String::new() })).await;
        assert_eq!(line.actions.message().await.expect("no error"), None);
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_says_nothing_is_asked_and_then_let_go() {
    with_line(demo(), async |line| {
        line.prompt_after(Event::Begin(Begin::default())).await;
        for count in 1..=2 {
            let (text, say, _) = line.prompt_after(Event::NoInput(NoInput { count })).await;
            assert_eq!((text.as_str(), say.silent), ("Sorry, I did not hear you.", true));
        }
        let (text, ..) = line.prompt_after(Event::NoInput(NoInput { count: 3 })).await;
        assert_eq!(text, "We will try again later. Goodbye.");
        assert!(matches!(line.next().await.action, Some(Act::Hangup(_))));
    })
    .await;
}

#[tokio::test]
async fn what_comes_before_begin_or_twice_is_refused() {
    with_line(demo(), async |line| {
        line.tell(said("hello")).await;
        let status = line.actions.message().await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("begin"), "{}", status.message());
    })
    .await;
    with_line(demo(), async |line| {
        line.prompt_after(Event::Begin(Begin::default())).await;
        line.tell(Event::Key(Key { key: "12".into(), interrupted: None })).await;
        let status = line.actions.message().await.expect_err("refused");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "key.key: has to be one character"));
    })
    .await;
}

#[test]
fn the_examples_are_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dialogues");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        Script::load(&path).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert!(count >= 2, "{count}");
}
