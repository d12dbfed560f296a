//! What runs in the processes: the scripted speech service of the rig, and a dialogue that greets, answers one turn and says goodbye to the second.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::dialogue_server::{Dialogue, DialogueServer};
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::{Action, Hangup, LineEvent};

use crate::rig::{Hearing, Speaking, say, speech_routes};

/// What a process is to be, as "speech:PORT".
pub const WHAT: &str = "TRUNKLINE_CHAOS_SERVICE";

#[tokio::test]
#[ignore = "no test: a process that the chaos starts for itself"]
async fn serves() {
    let Ok(what) = std::env::var(WHAT) else { return };
    // A test that is killed must not leave it behind, frozen or not.
    let death = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(death).expect("the system lets it");
    let (kind, port) = what.split_once(':').expect("a kind and a port");
    let routes = match kind {
        "speech" => speech_routes(Hearing::Numbers, Speaking::Tone),
        _ => Routes::new(DialogueServer::new(Brief)),
    };
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
    Server::builder().add_routes(routes).serve(at).await.expect("it serves");
}

struct Brief;

#[tonic::async_trait]
impl Dialogue for Brief {
    type ConverseStream = Pin<Box<dyn Stream<Item = Result<Action, Status>> + Send>>;

    async fn converse(&self, request: Request<Streaming<LineEvent>>) -> Result<Response<Self::ConverseStream>, Status> {
        let (actions, answers) = mpsc::channel(16);
        let mut events = request.into_inner();
        tokio::spawn(async move {
            // Turns that have been answered, by whomever.
            let mut turns = 0;
            while let Ok(Some(LineEvent { event_id, event: Some(event), .. })) = events.message().await {
                let text = match event {
                    Event::Begin(begin) if begin.resumed => {
                        turns = begin.history.iter().filter(|turn| turn.by_robot).count().saturating_sub(1);
                        "Sorry, where were we?"
                    }
                    Event::Begin(_) => "Hello, this is the robot speaking.",
                    Event::Utterance(utterance) if !utterance.during_prompt => {
                        turns += 1;
                        "I see. And what else is there?"
                    }
                    Event::NoInput(_) => {
                        turns += 1;
                        "Are you still there?"
                    }
                    _ => continue,
                };
                let last = turns >= 2;
                let id = format!("p{event_id}");
                let said = if last { say(&id, &["Thank you, and goodbye."]) } else { say(&id, &[text]) };
                let mut all = vec![Act::Say(said)];
                all.extend(last.then(|| Act::Hangup(Hangup { reason: "all said".into(), ..Default::default() })));
                for act in all {
                    let action = Action { answers: event_id, action: Some(act), ..Default::default() };
                    if actions.send(Ok(action)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
