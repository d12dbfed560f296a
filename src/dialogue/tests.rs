//! Against dialogues that work, refuse, hang, die and talk nonsense.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::call::action::Action;
use crate::call::line::{HungUpBy, Line, LineEvent};
use crate::channel::refusing::refusing;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as proto;
use proto::dialogue_server::{Dialogue, DialogueServer};
use proto::line_event::Event;

impl From<Told> for FromDialogue {
    fn from(told: Told) -> FromDialogue {
        told.from
    }
}

/// What the fake does with an event; `None` ends the stream.
type Answer = fn(proto::LineEvent) -> Option<Result<proto::Action, Status>>;

struct Fake(Answer);

#[tonic::async_trait]
impl Dialogue for Fake {
    type ConverseStream = Pin<Box<dyn Stream<Item = Result<proto::Action, Status>> + Send>>;

    async fn converse(
        &self,
        request: Request<Streaming<proto::LineEvent>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let mut events = request.into_inner();
        let answer = self.0;
        let (out, actions) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok(Some(event)) = events.message().await {
                match answer(event) {
                    Some(action) => out.send(action).await.expect("Trunkline reads"),
                    None => return,
                }
            }
            // Our side is closed, this one stays open: some servers are like that.
            out.closed().await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(actions))))
    }
}

fn repeat_it(event: proto::LineEvent) -> Option<Result<proto::Action, Status>> {
    if let Some(Event::End(_)) = event.event {
        return None;
    }
    let action = Some(proto::action::Action::Wait(proto::Wait { for_ms: event.at_ms }));
    Some(Ok(proto::Action { action_id: "a".into(), answers: event.event_id, if_stale: 0, action }))
}

fn dies_after_one(event: proto::LineEvent) -> Option<Result<proto::Action, Status>> {
    match event.event_id {
        1 => repeat_it(event),
        _ => Some(Err(Status::internal("out of\nmemory"))),
    }
}

async fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    let server = tonic::transport::Server::builder().add_service(DialogueServer::new(Fake(answer)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    endpoint
}

fn dialogues(endpoint: &str) -> Dialogues {
    let connect_timeout = Duration::from_secs(1);
    let one = ServiceConfig {
        name: "brain".into(),
        endpoints: vec![endpoint.into()],
        watch: Plan::default(),
        connect_timeout,
    };
    Dialogues::new(vec![one]).expect("a good endpoint")
}

fn event(id: u64) -> LineEvent {
    LineEvent { id, at: Ms(100), what: Line::NoInput { count: 1 } }
}

async fn closed(inbox: &mut mpsc::Receiver<FromDialogue>) -> Option<String> {
    let closed = match inbox.recv().await {
        Some(FromDialogue::Closed(fault)) => fault,
        other => panic!("not closed, but {other:?}"),
    };
    assert_eq!(inbox.recv().await, None, "closed is the last word");
    closed
}

#[tokio::test]
async fn events_go_out_and_actions_come_in() {
    let endpoint = serve(repeat_it).await;
    let dialogues = dialogues(&endpoint);
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues.open("brain", 1, &[], inbox);
    for id in 1..=300 {
        handle.tell(event(id));
        let Some(FromDialogue::Asked(asked)) = outbox.recv().await else { panic!("no answer to {id}") };
        assert_eq!((asked.answers, asked.action), (id, Ok(Action::Wait(Ms(100)))));
    }
    handle.tell(LineEvent { id: 301, at: Ms(0), what: Line::End { by: HungUpBy::Caller, reason: String::new() } });
    drop(handle);
    assert_eq!(closed(&mut outbox).await, None);
    assert_eq!(dialogues.metrics().of("brain").failures.get(), 0);
    assert_eq!(dialogues.metrics().of("brain").streams.get(), 0);
}

#[tokio::test]
async fn a_stream_that_nobody_has_seen_is_told_again_all_that_it_was_told() {
    let endpoint = serve(repeat_it).await;
    for (times, fault) in [(3, false), (4, true)] {
        let dialogues = dialogues(&refusing(&endpoint, "/Converse", times).await);
        let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
        let mut handle = dialogues.open("brain", 1, &[], inbox);
        (1..=3).for_each(|id| handle.tell(event(id)));
        if fault {
            assert!(closed(&mut outbox).await.expect("a fault").contains("refused"));
            continue;
        }
        for id in 1..=3 {
            let Some(FromDialogue::Asked(asked)) = outbox.recv().await else { panic!("no answer to {id}") };
            assert_eq!(asked.answers, id);
        }
        handle.tell(LineEvent { what: Line::End { by: HungUpBy::Caller, reason: String::new() }, ..event(4) });
        drop(handle);
        assert_eq!(closed(&mut outbox).await, None);
        assert_eq!(dialogues.metrics().of("brain").failures.get(), 0);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_no_sign_that_its_endpoint_is_up() {
    let endpoint = serve(dies_after_one).await;
    let dialogues = dialogues(&endpoint);
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues.open("brain", 1, &[], inbox);
    handle.tell(event(1));
    assert!(matches!(outbox.recv().await, Some(FromDialogue::Asked(_))));
    let pool = &dialogues.services["brain"].pool;
    let place = pool.pick(&[]).expect("there is one");
    (0..2).for_each(|_| place.broke("is gone", false));
    assert!(!pool.has_other(&[]), "it is down");
    handle.tell(event(2));
    assert!(closed(&mut outbox).await.expect("a fault").contains("out of memory"));
    assert!(!pool.has_other(&[]), "it is down still");
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let incoming = TcpListenerStream::new(listener).inspect(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let server = tonic::transport::Server::builder().add_service(DialogueServer::new(Fake(repeat_it)));
    tokio::spawn(server.serve_with_incoming(incoming));
    let dialogues = dialogues(&endpoint);
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handles: Vec<Handle> = (0..500).map(|_| dialogues.open("brain", 1, &[], inbox.clone())).collect();
    handles.iter_mut().for_each(|handle| handle.tell(event(1)));
    for _ in 0..500 {
        assert!(matches!(outbox.recv().await, Some(FromDialogue::Asked(_))));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(dialogues.metrics().of("brain").streams.get(), 500);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    drop(listener);
    let dialogues = dialogues(&endpoint);
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(1);
    let mut handle = dialogues.open("brain", 1, &[], inbox);
    let fault = closed(&mut outbox).await.expect("a fault");
    assert!(fault.contains(&endpoint) && fault.contains("refused"), "{fault}");
    handle.tell(event(1));
    assert_eq!(dialogues.metrics().of("brain").failures.get(), 1);
}

#[tokio::test]
async fn a_name_that_is_not_configured() {
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(1);
    let mut handle = dialogues("http://127.0.0.1:1").open("mind", 1, &[], inbox);
    handle.tell(event(1));
    let fault = closed(&mut outbox).await;
    assert_eq!(fault.as_deref(), Some("no dialogue is configured by the name \"mind\""));
}

#[tokio::test]
async fn it_dies_in_mid_stream() {
    let endpoint = serve(dies_after_one).await;
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues(&endpoint).open("brain", 1, &[], inbox);
    handle.tell(event(1));
    assert!(matches!(outbox.recv().await, Some(FromDialogue::Asked(_))));
    handle.tell(event(2));
    let fault = closed(&mut outbox).await;
    assert_eq!(fault, Some(format!("dialogue \"brain\" at {endpoint}: Internal: out of memory")));
}

#[tokio::test]
async fn it_closes_politely_in_mid_call() {
    let endpoint = serve(|_| None).await;
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues(&endpoint).open("brain", 1, &[], inbox);
    handle.tell(event(1));
    assert_eq!(closed(&mut outbox).await, None);
}

#[tokio::test]
async fn it_asks_for_nonsense() {
    let endpoint = serve(|_| Some(Ok(proto::Action { action_id: "x".into(), ..Default::default() }))).await;
    let dialogues = dialogues(&endpoint);
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues.open("brain", 1, &[], inbox);
    handle.tell(event(1));
    let Some(FromDialogue::Asked(asked)) = outbox.recv().await else { panic!("no answer") };
    assert_eq!(asked.action_id, "x");
    assert!(asked.action.is_err());
    assert_eq!(dialogues.metrics().of("brain").refused.get(), 1);
}

#[tokio::test]
async fn it_does_not_close_its_side() {
    let endpoint = serve(repeat_it).await;
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues(&endpoint).open("brain", 1, &[], inbox);
    handle.tell(event(1));
    assert!(matches!(outbox.recv().await, Some(FromDialogue::Asked(_))));
    let begun = Instant::now();
    drop(handle);
    let fault = closed(&mut outbox).await.expect("a fault");
    assert!(fault.ends_with("did not close its side within 2 s after the call"), "{fault}");
    assert!((2_000..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn it_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    let hangs = tokio::spawn(async move {
        let connection = listener.accept().await.expect("a connection");
        std::future::pending::<()>().await;
        drop(connection);
    });
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues(&endpoint).open("brain", 1, &[], inbox);
    let mut large = event(1);
    // Windows and buffers take some of them.
    large.what = Line::Partial { utterance: 1, text: "x".repeat(4_000), early: false };
    for _ in 0..2_000 {
        handle.tell(large.clone());
        tokio::task::yield_now().await;
    }
    let fault = closed(&mut outbox).await.expect("a fault");
    assert!(fault.ends_with("does not read: 256 events wait for it"), "{fault}");
    hangs.abort();
}

#[tokio::test]
async fn it_does_not_speak_grpc() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\u{1}\0\u{7f}\u{7f}", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut some = [0; 16];
                let _ = connection.read(&mut some).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
        let mut handle = dialogues(&endpoint).open("brain", 1, &[], inbox);
        handle.tell(event(1));
        let fault = closed(&mut outbox).await.expect("a fault");
        assert!(fault.contains(&endpoint), "{fault}");
    }
}

#[tokio::test]
async fn a_call_that_vanishes_takes_its_stream_along() {
    let endpoint = serve(repeat_it).await;
    let dialogues = dialogues(&endpoint);
    let (inbox, outbox) = mpsc::channel::<FromDialogue>(16);
    let mut handle = dialogues.open("brain", 1, &[], inbox.clone());
    drop(outbox);
    handle.tell(event(1));
    inbox.closed().await;
    for _ in 0..100 {
        if dialogues.metrics().of("brain").streams.get() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the stream outlives its call");
}

#[tokio::test]
async fn a_new_stream_goes_to_another_endpoint() {
    let (one, two) = (serve(repeat_it).await, serve(repeat_it).await);
    let config = ServiceConfig {
        name: "brain".into(),
        endpoints: vec![one.clone(), two.clone()],
        watch: Plan::default(),
        connect_timeout: Duration::from_secs(1),
    };
    let dialogues = Dialogues::new(vec![config]).expect("good endpoints");
    let (inbox, mut outbox) = mpsc::channel::<FromDialogue>(16);
    let first = dialogues.open("brain", 1, &[], inbox.clone());
    let left = first.endpoint().to_owned();
    drop(first);
    for _ in 0..4 {
        let mut next = dialogues.open("brain", 2, std::slice::from_ref(&left), inbox.clone());
        assert!(next.endpoint() != left && [&one, &two].contains(&&next.endpoint().to_owned()));
        next.tell(event(1));
        assert!(matches!(outbox.recv().await, Some(FromDialogue::Asked(_))));
    }
}
