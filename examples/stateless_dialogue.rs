//! The smallest dialogue there can be: a function from what the caller said to what is done next, behind `dialogue.v1`.
//!
//! A stateless service (one request a turn: the utterance in; action, content and whether it may be interrupted out) is put in the place of
//! [`turn`]; all else stays as it is. Run it with an address to listen on, and name `http://` and that address as a dialogue's endpoint:
//!
//! ```text
//! cargo run --example stateless_dialogue 127.0.0.1:50061
//! ```

use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::dialogue_server::{Dialogue, DialogueServer};
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::segment::Segment as Part;
use trunkline::proto::dialogue::v1::{Action, BargeInPolicy, Hangup, LineEvent, Say, Segment, Text};

/// What the service answers.
struct Turn {
    /// "say" or "hangup", in any case: both speak, the second one ends the call after it.
    action: &'static str,
    content: String,
    interruptible: bool,
}

/// The service: what the caller said in, what is next out. An empty text is a caller who says nothing, or the beginning.
fn turn(said: &str) -> Turn {
    let said = said.to_lowercase();
    if said.is_empty() {
        return Turn { action: "Say", content: "Hello. How can I help you?".into(), interruptible: true };
    }
    if said.contains("bye") {
        return Turn { action: "HangUp", content: "Goodbye.".into(), interruptible: false };
    }
    Turn { action: "Say", content: format!("You said: {said}."), interruptible: true }
}

struct Stateless;

#[tonic::async_trait]
impl Dialogue for Stateless {
    type ConverseStream = Pin<Box<dyn Stream<Item = Result<Action, Status>> + Send>>;

    async fn converse(&self, events: Request<Streaming<LineEvent>>) -> Result<Response<Self::ConverseStream>, Status> {
        let actions = events.into_inner().flat_map(|event| {
            let actions = match event {
                Ok(event) => actions(event).into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            };
            tokio_stream::iter(actions)
        });
        Ok(Response::new(Box::pin(actions)))
    }
}

/// One request a turn: the events that the service has no answer to need none.
fn actions(event: LineEvent) -> Vec<Action> {
    let turn = match event.event {
        Some(Event::Begin(_) | Event::NoInput(_)) => turn(""),
        Some(Event::Utterance(utterance)) => turn(&utterance.text),
        _ => return Vec::new(),
    };
    let act = |act| Action { answers: event.event_id, action: Some(act), ..Action::default() };
    let text = Text { text: turn.content, ..Text::default() };
    let barge_in = if turn.interruptible { BargeInPolicy::Speech } else { BargeInPolicy::Never };
    let segments = vec![Segment { segment: Some(Part::Text(text)), mark: String::new() }];
    let mut actions = vec![act(Act::Say(Say { segments, barge_in: barge_in.into(), ..Say::default() }))];
    if turn.action.eq_ignore_ascii_case("hangup") {
        actions.push(act(Act::Hangup(Hangup {
            now: false,
            reason: "the caller said goodbye".into(),
            ..Default::default()
        })));
    }
    actions
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50061".into());
    let listen: SocketAddr = listen.parse().map_err(|_| format!("{listen:?} is not an address and port"))?;
    println!("dialogue on http://{listen}");
    tonic::transport::Server::builder().add_service(DialogueServer::new(Stateless)).serve(listen).await?;
    Ok(())
}
