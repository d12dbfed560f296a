//! Calls in virtual time: against a hand-made peer for the races, and back to back over a bad network.

mod callee;
mod caller;
mod early;
mod failover;
mod network;
mod prack;
mod races;
mod redirect;
mod refer;
mod referee;
mod reoffer;
mod timer;

use rand::SeedableRng;

use super::*;
use crate::ms::epoch;
use crate::sip::message::parse;

const OURS: &str = "192.0.2.1:5060";
const THEIRS: &str = "192.0.2.2:5060";
const OFFER: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";
const ANSWER: &[u8] = b"v=0\r\no=- 2 1 IN IP4 192.0.2.2\r\n";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn local(at: &str) -> Local {
    Local { contact_user: "robot".into(), contact: addr(at), user_agent: "Trunkline".into(), ways: Default::default() }
}

fn dial_to(next_hop: &str) -> Dial {
    Dial {
        request_uri: "sip:13800000000@192.0.2.2".parse().unwrap(),
        from: NameAddr::parse("\"Robot\" <sip:4000@192.0.2.1>").unwrap(),
        to: NameAddr::parse("<sip:13800000000@192.0.2.2>").unwrap(),
        next_hop: Target::Addr(addr(next_hop)),
        spares: Default::default(),
        patience: None,
        route: Vec::new(),
        credentials: Some(Credentials::new("u", "p")),
        headers: ExtraHeaders::try_from(vec![("X-Task".to_owned(), "7".to_owned())]).unwrap(),
        offer: OFFER.to_vec(),
        terms: Terms::default(),
    }
}

fn none() -> ExtraHeaders {
    ExtraHeaders::default()
}

/// One session and what it has said, with a hand-made peer at [`THEIRS`].
struct Bench {
    now: Instant,
    session: Session,
    sent: VecDeque<(Target, Message)>,
    events: VecDeque<Event>,
}

impl Bench {
    fn of(now: Instant, session: Session) -> Bench {
        let mut bench = Bench { now, session, sent: VecDeque::new(), events: VecDeque::new() };
        bench.drain();
        bench
    }

    fn caller() -> Bench {
        let now = epoch();
        let rng = StdRng::seed_from_u64(1);
        Bench::of(now, Session::dial(now, local(OURS), dial_to(THEIRS), rng))
    }

    /// A call on other terms than the usual ones.
    fn caller_on(terms: Terms, offer: &[u8]) -> Bench {
        let now = epoch();
        let dial = Dial { terms, offer: offer.to_vec(), ..dial_to(THEIRS) };
        Bench::of(now, Session::dial(now, local(OURS), dial, StdRng::seed_from_u64(1)))
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Transmit { to, payload } => {
                    let message = parse(&payload).unwrap();
                    match &message {
                        Message::Request(request) => request.check().unwrap(),
                        Message::Response(response) => response.check().unwrap(),
                    }
                    self.sent.push_back((to, message));
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }

    #[track_caller]
    fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    fn input(&mut self, input: Input) {
        self.session.handle(self.now, input);
        self.drain();
    }

    fn get(&mut self, message: Message) {
        self.input(Input::Message { message, source: addr(THEIRS) });
    }

    /// Lets time pass.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.input(Input::Timer);
        }
        self.now = end;
    }

    /// Lets time pass until nothing is scheduled; the session must then be over, if the call is.
    fn linger(&mut self) {
        self.wait(Duration::from_secs(200));
        assert_eq!(self.session.deadline(), None);
        assert!(self.session.is_over(), "{:?}", self.session);
    }

    #[track_caller]
    fn request(&mut self, method: Method) -> Request {
        match self.sent.pop_front() {
            Some((_, Message::Request(request))) if *request.method() == method => request,
            other => panic!("not {method}: {other:?}"),
        }
    }

    #[track_caller]
    fn response(&mut self, code: u16) -> Response {
        match self.sent.pop_front() {
            Some((_, Message::Response(response))) if response.code() == code => response,
            other => panic!("not {code}: {other:?}"),
        }
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        self.events.pop_front().expect("no event")
    }

    /// Nothing but this was told, and nothing sent.
    #[track_caller]
    fn quiet_but(&mut self, event: Event) {
        self.nothing_sent();
        assert_eq!(self.events.drain(..).collect::<Vec<_>>(), [event]);
    }

    #[track_caller]
    fn quiet(&self) {
        assert!(self.sent.is_empty() && self.events.is_empty(), "{:?} {:?}", self.sent, self.events);
    }
}

/// The peer's response.
fn respond(request: &Request, code: u16, tag: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
    let mut out = Writer::reply(request, addr(OURS), code, "x", Some(tag));
    if (101..300).contains(&code) && *request.method() == Method::Invite {
        out = out.named("Contact", "<sip:them@192.0.2.2:5062>");
    }
    for (name, value) in headers {
        out = out.named(name, value);
    }
    Message::Response(out.finish("application/sdp", body))
}

/// The same message with more headers.
fn with(message: Message, headers: &[(&str, &str)]) -> Message {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = String::from_utf8(message.bytes().to_vec()).unwrap();
    parse(text.replacen("\r\nCall-ID:", &format!("\r\n{lines}Call-ID:"), 1).as_bytes()).unwrap()
}

/// The peer's request within a call.
fn within(method: Method, from: &str, to: &str, call_id: &str, cseq: u32, branch: &str, body: &[u8]) -> Message {
    let uri = "sip:robot@192.0.2.1".parse().unwrap();
    let number = format!("{cseq} {method}");
    let out = Writer::request(method, &uri)
        .header(HeaderName::Via, &format!("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{branch}"))
        .header(HeaderName::MaxForwards, "70")
        .header(HeaderName::From, from)
        .header(HeaderName::To, to)
        .header(HeaderName::CallId, call_id)
        .header(HeaderName::CSeq, &number)
        .header(HeaderName::Contact, "<sip:moved@192.0.2.2:5064>");
    Message::Request(out.finish("application/sdp", body))
}
