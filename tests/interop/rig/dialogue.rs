//! A dialogue that the test itself plays: each call's stream is handed to the test.

use std::pin::Pin;

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::dialogue_server::{Dialogue as Service, DialogueServer};
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::segment::Segment as Part;
use trunkline::proto::dialogue::v1::{Action, Begin, File, LineEvent, Say, Segment, Silence, Stale, Text};

use super::PATIENCE;

/// A gRPC server in a runtime of its own, so that dropping it breaks its connections as the death of its process would.
#[derive(Debug)]
pub(super) struct Alone {
    runtime: Option<Runtime>,
    pub(super) endpoint: String,
}

impl Alone {
    pub(super) async fn serve(routes: Routes) -> Alone {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let listener = listener.into_std().expect("a socket");
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = threads.expect("a runtime");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.expect("it serves");
        });
        Alone { runtime: Some(runtime), endpoint }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The service. Dropped, it is dead, and its calls' streams break.
#[derive(Debug)]
pub struct Brain {
    server: Alone,
    calls: mpsc::UnboundedReceiver<Dialogue>,
}

impl Brain {
    pub async fn serve() -> Brain {
        let (taken, calls) = mpsc::unbounded_channel();
        let server = Alone::serve(Routes::new(DialogueServer::new(Taken(taken)))).await;
        Brain { server, calls }
    }

    pub fn endpoint(&self) -> String {
        self.server.endpoint.clone()
    }

    /// The next call's stream, untouched.
    pub async fn stream(&mut self) -> Dialogue {
        let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        call.expect("a call in time").expect("it serves")
    }

    /// The next call's stream; its first event, `begin`, has been taken from it.
    pub async fn call(&mut self) -> Dialogue {
        self.begun().await.0
    }

    /// As [`Brain::call`], with what it was told there.
    pub async fn begun(&mut self) -> (Dialogue, Begin) {
        let mut call = self.stream().await;
        let first = call.next().await.expect("an event");
        match first.event {
            Some(Event::Begin(begin)) => (call, begin),
            other => panic!("{other:?}"),
        }
    }
}

struct Taken(mpsc::UnboundedSender<Dialogue>);

#[tonic::async_trait]
impl Service for Taken {
    type ConverseStream = Pin<Box<dyn Stream<Item = Result<Action, Status>> + Send>>;

    async fn converse(&self, request: Request<Streaming<LineEvent>>) -> Result<Response<Self::ConverseStream>, Status> {
        let (actions, answers) = mpsc::channel(16);
        let call = Dialogue { events: request.into_inner(), actions };
        self.0.send(call).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// One call's stream. Dropped, its side is closed.
#[derive(Debug)]
pub struct Dialogue {
    events: Streaming<LineEvent>,
    actions: mpsc::Sender<Result<Action, Status>>,
}

impl Dialogue {
    /// The next event; none when the line has closed its side.
    pub async fn next(&mut self) -> Option<LineEvent> {
        tokio::time::timeout(PATIENCE, self.events.message()).await.expect("an event in time").expect("no error")
    }

    /// Waits for an event that has what is looked for.
    pub async fn find<T>(&mut self, mut looked_for: impl FnMut(&Event) -> Option<T>) -> T {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            let event = event.event.expect("a kind");
            if let Some(found) = looked_for(&event) {
                return found;
            }
            seen.push(event);
        }
        panic!("the line closed its side; it had told {seen:?}");
    }

    /// Has the line do something.
    pub async fn act(&self, act: Act) {
        self.send(Action { action: Some(act), if_stale: Stale::Play.into(), ..Default::default() }).await;
    }

    /// As it is.
    pub async fn send(&self, action: Action) {
        self.actions.send(Ok(action)).await.expect("the stream is open");
    }

    /// Breaks the stream off with an error.
    pub async fn fail(self, status: Status) {
        self.actions.send(Err(status)).await.expect("the stream is open");
    }
}

/// A prompt of recordings and silences: `"human-hello.wav"`, `"~400"` for 400 ms of silence, anything else is text.
pub fn say(id: &str, parts: &[&str]) -> Say {
    let segment = |part: &&str| {
        let segment = match part.strip_prefix('~') {
            Some(ms) => Part::Silence(Silence { duration_ms: ms.parse().expect("a number") }),
            None if part.ends_with(".wav") => Part::File(File { path: (*part).to_owned() }),
            None => Part::Text(Text { text: (*part).to_owned(), ..Default::default() }),
        };
        Segment { segment: Some(segment), mark: String::new() }
    };
    Say { prompt_id: id.to_owned(), segments: parts.iter().map(segment).collect(), ..Default::default() }
}
