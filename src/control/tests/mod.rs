//! A real client against the real server and journal, and a switchboard that writes down what it is asked.

mod commands;
mod watching;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::call::io::RecordedFrame;
use crate::ms::Ms;
use crate::proto::control::v1 as proto;
use crate::sip::session::ExtraHeaders;
use crate::switchboard::order::{Phase, Registered};
use proto::control_client::ControlClient;

/// Refuses what is asked of "no-such-call" and dials whom it is told to, one way or another.
#[derive(Clone, Default)]
struct Fake {
    asked: Arc<Mutex<Vec<String>>>,
    orders: Arc<Mutex<Vec<DialOrder>>>,
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.lock().expect("nobody panics with it").push(what);
    }

    fn took(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("nobody panics with it"))
    }

    fn up(&self, call_id: &str) -> Result<(), Refusal> {
        match call_id {
            "no-such-call" => Err(Refusal::NotFound(call_id.into())),
            "over" => Err(Refusal::WrongState("call over is ending".into())),
            _ => Ok(()),
        }
    }

    fn state() -> CallState {
        CallState {
            call_id: "c1".into(),
            outbound: true,
            trunk: "t".into(),
            caller: "1".into(),
            callee: "2".into(),
            phase: Phase::Talking,
            held: (false, true),
            srtp: "AEAD_AES_128_GCM",
            started_at: SystemTime::UNIX_EPOCH,
            replaces: "i;to-tag=1;from-tag=2".into(),
            remote_target: "sip:x@y".into(),
            transferred_from: Some("c0".into()),
        }
    }
}

impl Switchboard for Fake {
    async fn dial(&self, order: DialOrder) -> Result<Arc<str>, Refusal> {
        let callee = order.callee.clone();
        self.orders.lock().expect("nobody panics with it").push(order);
        match callee.as_str() {
            "slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok("c-slow".into())
            }
            "busy" => Err(Refusal::Overload("97 % of 2.0 cores in use".into())),
            "full" => Err(Refusal::Exhausted { limit: "trunk t has 30 channels".into() }),
            "late" => Err(Refusal::TooLate),
            "drain" => Err(Refusal::Draining),
            "down" => Err(Refusal::Down { trunk: "t".into(), reason: "no answer".into() }),
            "odd" => Err(Refusal::Invalid { field: "trunk", reason: "there is no trunk x".into() }),
            callee => Ok(format!("c-{callee}").into()),
        }
    }

    async fn answer(
        &self,
        call_id: &str,
        dialogue: &str,
        knobs: KnobChange,
        headers: ExtraHeaders,
    ) -> Result<(), Refusal> {
        let headers: String = headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
        self.note(format!("answer {call_id} {dialogue} {:?}{headers}", knobs.endpoint));
        self.up(call_id)
    }

    async fn decline(&self, call_id: &str, status: u16, reason: &str) -> Result<(), Refusal> {
        self.note(format!("decline {call_id} {status} {reason}"));
        self.up(call_id)
    }

    async fn send(&self, call_id: &str, request_id: &str, action: Action) -> Result<Sent, Refusal> {
        let cancelled = matches!(action, Action::Hangup { now: true, .. });
        self.note(format!("send {call_id} {request_id} {action:?}"));
        self.up(call_id).map(|()| if cancelled { Sent::Cancelled } else { Sent::Done })
    }

    async fn listen(&self, call_id: &str) -> Result<Listener, Refusal> {
        self.up(call_id)?;
        if call_id == "crowded" {
            return Err(Refusal::Listeners("8 listen in to call crowded, and no more may".into()));
        }
        let (mut ring, frames) = rtrb::RingBuffer::new(4);
        for at in [40, 60, 120] {
            let frame = RecordedFrame {
                robot_at: Ms(at),
                robot: [1; 160],
                caller_at: Some(Ms(at - 40)),
                caller: [2; 160],
                paused: false,
            };
            ring.push(frame).expect("room");
        }
        Ok(Listener::of(frames))
    }

    async fn calls(&self) -> Vec<CallState> {
        vec![Fake::state()]
    }

    async fn call(&self, call_id: &str) -> Option<CallState> {
        self.up(call_id).ok().map(|()| Fake::state())
    }

    async fn trunks(&self) -> Vec<TrunkState> {
        let trunk = |name: &str, registration| TrunkState {
            name: name.into(),
            channels_used: 2,
            channels_max: 30,
            up: !matches!(registration, Registered::Failed(_)),
            registration,
            down: (name == "d").then(|| "no answer".to_owned()),
        };
        vec![
            trunk("a", Registered::NotAsked),
            trunk("b", Registered::Trying),
            trunk("c", Registered::Up),
            trunk("d", Registered::Failed("403".into())),
        ]
    }

    async fn drain(&self) -> usize {
        7
    }
}

struct Served {
    client: ControlClient<Channel>,
    channel: Channel,
    fake: Fake,
    journal: journal::Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn serve(keep_events: usize) -> Served {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let n = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("trunkline-control-{}-{n}", std::process::id()));
    let journal = journal::start(&journal::Settings {
        folder,
        format: Default::default(),
        keep: Default::default(),
        upload: None,
        keep_events,
    })
    .expect("threads");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address: SocketAddr = listener.local_addr().expect("is bound");
    let fake = Fake::default();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(super::serve(listener, fake.clone(), journal.clone(), shutdown));
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("a good endpoint").connect_lazy();
    Served { client: ControlClient::new(channel.clone()), channel, fake, journal, stop, server }
}

#[tokio::test]
async fn health_and_reflection_tell_what_is_served() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as Alpha;

    let served = serve(10).await;
    let mut health = HealthClient::new(served.channel.clone());
    for service in ["", "trunkline.control.v1.Control"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("is known");
        assert_eq!(answer.into_inner().status, 1, "{service:?}");
    }
    let ask = |question| {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut reflection = ServerReflectionClient::new(served.channel.clone());
        async move {
            let answers = reflection.server_reflection_info(tokio_stream::once(question)).await;
            let answer: Option<ServerReflectionResponse> =
                answers.expect("is served").into_inner().message().await.expect("an answer");
            answer.expect("one").message_response.expect("is set")
        }
    };
    match ask(MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(list) => {
            let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            assert!(names.contains(&"trunkline.control.v1.Control".to_owned()), "{names:?}");
            assert!(!names.contains(&"trunkline.speech.v1.Speech".to_owned()), "it is not served here: {names:?}");
        }
        other => panic!("{other:?}"),
    }
    match ask(MessageRequest::FileContainingSymbol("trunkline.dialogue.v1.Knobs".into())).await {
        MessageResponse::FileDescriptorResponse(files) => assert!(!files.file_descriptor_proto.is_empty()),
        other => panic!("{other:?}"),
    }
    let question = tonic_reflection::pb::v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut alpha = Alpha::new(served.channel.clone());
    let answers = alpha.server_reflection_info(tokio_stream::once(question)).await;
    assert!(answers.expect("the older version too").into_inner().message().await.expect("an answer").is_some());
}
