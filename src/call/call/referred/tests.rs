//! REFERs of the far end in virtual time: what is said to it, to the target, and to the world.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::call::action::{Action, Asked as FromThem, Farewell};
use crate::call::conversation::Rules;
use crate::call::io::{FromDialogue, Input, ToDialogue};
use crate::call::knobs::Knobs;
use crate::call::leg::{Command, LegEvent};
use crate::call::line::Parties;
use crate::call::quality::LineRules;
use crate::call::record::{CallRecord, Outcome};
use crate::call::transfer::{self, Inbound};
use crate::ms::epoch;
use crate::sdp::AudioFormat;
use crate::sip::message::{HeaderName, Message, Method, NameAddr, Request, Target, Writer, parse};
use crate::sip::session::{Dial, ExtraHeaders, Terms};
use crate::sip::{Local, Ways};

const FAR_END: &str = "192.0.2.2:5060";
const TARGET: &str = "192.0.2.7:5060";
/// Whom a REFER names unless it says otherwise: a host of the trunk.
const TO: &str = "<sip:9@192.0.2.2>";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn sdp(host: &str, payload_type: u8) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 5000 RTP/AVP {payload_type}\r\na=sendrecv\r\n"
    )
}

fn dial(user: &str, next_hop: &str) -> Dial {
    Dial {
        request_uri: format!("sip:{user}@192.0.2.2").parse().expect("a URI"),
        from: NameAddr::parse("<sip:1@192.0.2.1>").expect("an address"),
        to: NameAddr::parse(&format!("<sip:{user}@192.0.2.2>")).expect("an address"),
        next_hop: Target::Addr(at(next_hop)),
        spares: Default::default(),
        patience: None,
        route: Vec::new(),
        credentials: None,
        headers: ExtraHeaders::default(),
        offer: Vec::new(),
        terms: Terms::default(),
    }
}

fn local() -> Local {
    Local { contact_user: "r".into(), contact: at("192.0.2.1:5060"), user_agent: "t".into(), ways: Ways::default() }
}

fn rules(way: Way) -> transfer::Rules {
    let inbound =
        Inbound { way, home: vec!["192.0.2.2".into()], hosts: vec!["pbx.example".into()], ..Inbound::default() };
    transfer::Rules { inbound, ..transfer::Rules::bare() }
}

fn route() -> Box<Route> {
    Box::new(Route {
        trunk: "one".to_owned(),
        local: local(),
        dial: dial("9", TARGET),
        local_media: None,
        ring_timeout: Duration::from_secs(20),
        setup_timeout: Duration::from_secs(8),
        longest: None,
        formats: vec![AudioFormat::Pcma, AudioFormat::Pcmu],
        line: LineRules::default(),
        srtp: None,
        failover: Vec::new(),
        transfer: Arc::new(rules(Way::Follow)),
    })
}

fn plan(way: Way) -> Plan {
    Plan {
        call_id: "c".into(),
        trunk: "one".into(),
        parties: Parties { caller: "1".into(), callee: "2".into(), ..Parties::default() },
        failover: Vec::new(),
        setup_timeout: Duration::from_secs(32),
        longest: None,
        request_id: String::new(),
        correlation: String::new(),
        variables: Vec::new(),
        pass_headers: Vec::new(),
        knobs: Knobs::default(),
        background: None,
        rules: Rules {
            dialogue_timeout: Duration::from_secs(3_600),
            final_timeout: Duration::from_secs(3),
            fallback_prompt: None,
            dialogue: true,
            recogniser: false,
            recorded: false,
            dialogue_resumes: 0,
            dead_air: Duration::ZERO,
            waiting_sound: None,
        },
        transfer: Arc::new(rules(way)),
        early_media: false,
        early_media_asr: false,
        transferred_from: None,
        answerer_early: false,
        record_early: false,
        announcements: None,
        hang_up_on_announcement: true,
        rtp_timeout: Duration::from_secs(30),
        inband_keys: Default::default(),
        tones: None,
        answerer: None,
        hang_up_on_tone: true,
        local_media: at("192.0.2.1:4000"),
        formats: vec![AudioFormat::Pcma, AudioFormat::Pcmu],
        line: LineRules::default(),
        srtp: None,
    }
}

/// A call that is up, its far end and its target.
struct Bench {
    now: Instant,
    call: Call,
    out: VecDeque<Output>,
    /// The INVITE that began it, and the CSeq of its far end.
    invite: Request,
    cseq: u32,
}

impl Bench {
    fn up(way: Way) -> Bench {
        let now = epoch();
        let rng = rand::rngs::StdRng::seed_from_u64(3);
        let ring = Duration::from_secs(60);
        let mut call = Call::dial(now, SystemTime::UNIX_EPOCH, plan(way), ring, local(), dial("2", FAR_END), rng);
        let out: VecDeque<_> = std::iter::from_fn(|| call.poll()).collect();
        let invite = last(&out, "INVITE").expect("an INVITE");
        let mut bench = Bench { now, call, out, invite, cseq: 10 };
        let ok = bench.response(&bench.invite.clone(), 200, &sdp("192.0.2.2", 8));
        bench.give_from(FAR_END, ok);
        assert_eq!(bench.call.phase(), crate::call::call::Phase::Talking);
        bench.out.clear();
        bench
    }

    /// One that has been asked, told what it was asked, and told that the way is there.
    fn calling(way: Way) -> Bench {
        let mut b = Bench::up(way);
        b.refer(TO, "");
        b.give(Input::Followed(Ok(route())));
        b
    }

    fn give(&mut self, input: Input) {
        self.call.handle(self.now, input);
        self.out.extend(std::iter::from_fn(|| self.call.poll()));
    }

    fn give_from(&mut self, source: &str, message: Message) {
        self.give(Input::Sip { message, source: at(source) });
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.call.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.call.tick(at);
            self.out.extend(std::iter::from_fn(|| self.call.poll()));
        }
        self.now = end;
    }

    fn response(&self, request: &Request, code: u16, body: &str) -> Message {
        let out = Writer::reply(request, at("192.0.2.1:5060"), code, "Said so", Some("them"));
        let out = out.header(HeaderName::Contact, "<sip:them@192.0.2.2>");
        Message::Response(out.finish("application/sdp", body.as_bytes()))
    }

    /// A request of the far end within the call.
    fn says(&mut self, method: &str, more: &str) {
        self.cseq += 1;
        let (from, to) = (self.invite.to().expect("one"), self.invite.from().expect("one"));
        let (call_id, cseq) = (self.invite.call_id().expect("one"), self.cseq);
        let text = format!(
            "{method} sip:r@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
             From: {from};tag=them\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
        );
        self.give_from(FAR_END, parse(text.as_bytes()).expect("a message"));
    }

    fn refer(&mut self, to: &str, more: &str) {
        self.says("REFER", &format!("Refer-To: {to}\r\n{more}"));
    }

    /// The target answers our INVITE.
    fn target(&mut self, code: u16, body: &str) {
        let invite = self.last("INVITE");
        let response = self.response(&invite, code, body);
        self.give_from(TARGET, response);
    }

    #[track_caller]
    fn last(&self, method: &str) -> Request {
        last(&self.out, method).unwrap_or_else(|| panic!("no {method}: {:?}", self.out))
    }

    /// Answers our last request of a method.
    fn ok(&mut self, method: &str) {
        let request = self.last(method);
        let response = self.response(&request, 200, "");
        self.give_from(FAR_END, response);
    }

    /// What NOTIFYs said, each once.
    fn notified(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for message in sent(&self.out) {
            if let Message::Request(request) = message
                && *request.method() == Method::Notify
            {
                let body = String::from_utf8_lossy(request.body()).trim_end().to_owned();
                said.push(body);
            }
        }
        said.dedup();
        said
    }

    /// The codes that the far end was answered with.
    fn answered(&self) -> Vec<u16> {
        let code = |message: Message| match message {
            Message::Response(response) => Some(response.code()),
            Message::Request(_) => None,
        };
        sent(&self.out).filter_map(code).collect()
    }

    fn told(&self) -> Vec<String> {
        let one = |output: &Output| match output {
            Output::Tell { what: What::Referred { stage, sip_code, .. }, .. } => Some(format!("{stage:?} {sip_code}")),
            Output::Tell { what: What::ReferRefused { sip_code, why, .. }, .. } => Some(format!("{why} {sip_code}")),
            Output::Tell { what: What::ReferAsked(asked), .. } => Some(format!("asked {}", asked.target)),
            _ => None,
        };
        self.out.iter().filter_map(one).collect()
    }

    /// What the dialogue heard of it.
    fn heard(&self) -> Vec<String> {
        let one = |output: &Output| match output {
            Output::Dialogue(ToDialogue::Tell(event)) => match &event.what {
                Line::Referred { result, sip_code, .. } => Some(format!("{result} {sip_code}")),
                Line::ReferAsked(asked) => Some(format!("asked {}", asked.target)),
                Line::Fault(Fault::Action { reason, .. }) => Some(reason.clone()),
                Line::Hold { by_us, by_far_end } => Some(format!("hold {by_us} {by_far_end}")),
                _ => None,
            },
            _ => None,
        };
        self.out.iter().filter_map(one).collect()
    }

    /// Where media goes, of each change.
    fn media(&self) -> Vec<leg::Media> {
        let one = |output: &Output| match output {
            Output::Leg(Command::Media(media, ..)) => Some(*media),
            _ => None,
        };
        self.out.iter().filter_map(one).collect()
    }

    fn decides(&mut self, decision: Decision) {
        let action = Ok(Action::ReferAnswer(decision));
        let asked = FromThem { action_id: "a".to_owned(), answers: 0, even_if_stale: false, action };
        self.give(Input::Dialogue(FromDialogue::Asked(asked)));
    }

    fn hangs_up(&mut self) {
        let hangup = Action::Hangup { now: true, reason: "enough".to_owned(), farewell: Farewell::default() };
        self.give(Input::Command(hangup));
    }

    /// Ends the call, as far as it has not ended, and gives its record.
    fn record(&mut self) -> CallRecord {
        self.hangs_up();
        self.give(Input::LegClosed(Box::default()));
        let over = |output: &Output| match output {
            Output::Over(record) => Some((**record).clone()),
            _ => None,
        };
        self.out.iter().find_map(over).expect("it is over")
    }

    /// The transfer that the record tells of.
    fn entry(&mut self) -> (&'static str, i8, u16, Handed) {
        let record = self.record();
        let [transfer] = &record.transfers[..] else { panic!("{:?}", record.transfers) };
        (transfer.kind, transfer.result, transfer.sip_code, transfer.outcome)
    }
}

fn sent(out: &VecDeque<Output>) -> impl DoubleEndedIterator<Item = Message> {
    out.iter().filter_map(|output| match output {
        Output::Transmit { payload, .. } => Some(parse(payload).expect("a message")),
        _ => None,
    })
}

fn last(out: &VecDeque<Output>, method: &str) -> Option<Request> {
    sent(out).rev().find_map(|message| match message {
        Message::Request(request) if request.method().as_str() == method => Some(request),
        _ => None,
    })
}

#[test]
fn the_robot_calls_the_target_and_goes_on_with_it() {
    let mut b = Bench::up(Way::Follow);
    b.refer("<sip:9@192.0.2.2;method=INVITE?X-Task=7&User-to-User=6869>", "Referred-By: <sip:2@192.0.2.2>\r\n");
    let follow = b.out.iter().find_map(|output| match output {
        Output::Follow(follow) => Some((**follow).clone()),
        _ => None,
    });
    let follow = follow.expect("a way is asked for");
    assert_eq!((follow.target.as_str(), follow.caller.as_str(), follow.direct), ("sip:9@192.0.2.2", "1", false));
    let headers: Vec<_> = follow.headers.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(headers, ["X-Task", "User-to-User", "Referred-By"]);
    b.give(Input::Followed(Ok(route())));
    let second = b.last("INVITE");
    assert_ne!(second.call_id(), b.invite.call_id());
    let known = b.out.iter().position(|output| {
        matches!(output, Output::Known { sip_call_id, direct: false } if Ok(sip_call_id.as_str()) == second.call_id())
    });
    let invited = b
        .out
        .iter()
        .position(|output| matches!(output, Output::Transmit { payload, .. } if payload.starts_with(b"INVITE ")));
    assert!(known.is_some() && known < invited, "whose the answer is has to be known before the question");
    b.ok("NOTIFY");
    b.target(180, "");
    b.ok("NOTIFY");
    b.target(200, &sdp("192.0.2.7", 0));
    assert_eq!(b.notified(), ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]);
    assert_eq!(b.last("ACK").call_id(), second.call_id());
    // Media: to the target, by its codec, on the same leg.
    let media = b.media();
    assert_eq!((media.len(), media[0].remote, media[0].sends), (1, at("192.0.2.7:5000"), true));
    assert!(!b.out.iter().any(|output| matches!(output, Output::OpenLeg(_) | Output::CloseLeg)));
    // The old dialog lives on outside, for the answer to the last NOTIFY and for its BYE.
    let moved = b.out.iter_mut().find_map(|output| match output {
        Output::Moved { left, sip_call_id } => Some((left, sip_call_id.clone())),
        _ => None,
    });
    let (left, now_known) = moved.expect("it moves");
    assert_eq!((Ok(left.call_id()), Ok(now_known.as_str())), (b.invite.call_id(), second.call_id()));
    left.handle(b.now + Duration::from_secs(4), session::Input::Timer);
    let bye = std::iter::from_fn(|| left.poll()).any(|output| match output {
        session::Output::Transmit { payload, .. } => payload.starts_with(b"BYE sip:them@192.0.2.2"),
        session::Output::Event(_) => false,
    });
    assert!(bye, "and the old far end is said goodbye to");
    assert_eq!(b.told(), ["Started 0", "Progress 180", "Answered(Transferred) 200"]);
    assert_eq!(b.heard(), ["0 0", "1 200"]);
    assert_eq!(b.call.sip_call_id(), now_known);
    // What the target says now is said in the call.
    b.hangs_up();
    assert_eq!(b.last("BYE").call_id(), second.call_id());
    let record = b.record();
    assert_eq!((record.direction, record.outcome), ("outbound", Outcome::Success));
    assert_eq!(Ok(record.sip_call_id.as_str()), b.invite.call_id(), "the operator's own records name the first one");
    assert_eq!(b.entry(), ("refer_in", 1, 200, Handed::Transferred));
}

#[test]
fn a_target_that_cannot_be_had_changes_nothing() {
    // What comes of the INVITE; what is told of that, with the outcome.
    type Failure = (&'static str, fn(&mut Bench), u16, Handed);
    let cases: [Failure; 6] = [
        ("busy", |b| b.target(486, ""), 486, Handed::Failed),
        ("moved", |b| b.target(302, ""), 302, Handed::Failed),
        (
            "rings out",
            |b| {
                b.target(180, "");
                b.wait(Duration::from_secs(20))
            },
            408,
            Handed::TimedOut,
        ),
        ("silent", |b| b.wait(Duration::from_secs(8)), 408, Handed::TimedOut),
        ("unreachable", |b| b.give(Input::Unsent { to: Target::Addr(at(TARGET)) }), 503, Handed::Failed),
        ("no media", |b| b.target(200, &sdp("192.0.2.7", 18)), 488, Handed::Failed),
    ];
    for (what, happens, code, outcome) in cases {
        let mut b = Bench::calling(Way::Follow);
        b.ok("NOTIFY");
        happens(&mut b);
        while b.notified().last().is_some_and(|said| said.contains(" 180 ")) {
            b.ok("NOTIFY");
        }
        let last = b.notified().pop().unwrap_or_default();
        assert!(last.starts_with(&format!("SIP/2.0 {code} ")), "{what}: {last}");
        assert_eq!(b.told().pop(), Some(format!("Failed({outcome:?}) {code}")), "{what}");
        assert_eq!(b.heard(), ["0 0".to_owned(), format!("-1 {code}")], "{what}");
        assert!(b.out.iter().any(|output| matches!(output, Output::Left(Some(_)))), "{what}");
        assert_eq!(Ok(b.call.sip_call_id()), b.invite.call_id(), "{what}");
        assert!(b.media().is_empty(), "{what}: the leg is left alone");
        // Whom we rang is cancelled, who answered for nothing is hung up.
        if what == "rings out" {
            b.last("CANCEL");
        }
        assert_eq!(last_bye(&b).is_some(), what == "no media", "{what}");
        assert_eq!(b.entry(), ("refer_in", -1, code, outcome), "{what}");
    }
}

fn last_bye(b: &Bench) -> Option<Request> {
    last(&b.out, "BYE")
}

#[test]
fn no_way_to_the_target_is_told_as_such() {
    let mut b = Bench::up(Way::Follow);
    b.refer(TO, "");
    b.give(Input::Followed(Err("trunk one: [limits] channels = 1".to_owned())));
    b.ok("NOTIFY");
    assert_eq!(b.notified().pop().as_deref(), Some("SIP/2.0 503 Service Unavailable"));
    assert!(b.out.iter().any(|output| matches!(output, Output::Left(None))), "nothing is kept for it");
    assert_eq!(b.entry(), ("refer_in", -1, 503, Handed::Failed));
}

#[test]
fn only_hosts_of_the_trunk_and_of_the_list_are_called() {
    for (to, direct) in [("<sip:9@192.0.2.2:5070>", false), ("<tel:+49301>", false), ("<sip:9@PBX.example>", true)] {
        let mut b = Bench::up(Way::Follow);
        b.refer(to, "");
        assert!(b.out.iter().any(|output| matches!(output, Output::Follow(f) if f.direct == direct)), "{to}");
    }
    for to in ["<sip:9@evil.example>", "<sip:9@192.0.2.2;maddr=198.51.100.1>", "<sip:192.0.2.2@evil.example>"] {
        let mut b = Bench::up(Way::Follow);
        b.refer(to, "");
        assert_eq!((b.answered(), b.told()), (vec![403], vec!["target 403".to_owned()]), "{to}");
        assert!(b.record().transfers.is_empty());
    }
}

#[test]
fn it_is_refused_unless_the_profile_wants_it() {
    let mut b = Bench::up(Way::Refuse);
    b.refer(TO, "");
    assert_eq!((b.answered(), b.told()), (vec![603], vec!["policy 603".to_owned()]));
}

#[test]
fn one_at_a_time_and_five_in_a_call() {
    let mut b = Bench::calling(Way::Follow);
    b.refer(TO, "");
    assert_eq!(b.told().pop().as_deref(), Some("busy 491"));
    for _ in 1..MOST {
        b.target(486, "");
        while !b.notified().pop().is_some_and(|said| said.contains(" 486 ")) {
            b.ok("NOTIFY");
        }
        b.ok("NOTIFY");
        b.out.clear();
        b.refer(TO, "");
        b.give(Input::Followed(Ok(route())));
    }
    b.target(486, "");
    b.ok("NOTIFY");
    b.ok("NOTIFY");
    b.refer(TO, "");
    assert_eq!(b.told().pop().as_deref(), Some("limit 603"));
    assert_eq!(b.record().transfers.len(), MOST);
}

#[test]
fn the_dialogue_decides_where_it_is_asked() {
    let mut b = Bench::up(Way::Tell);
    b.refer(TO, "");
    assert_eq!(
        (b.told(), b.heard()),
        (vec!["asked sip:9@192.0.2.2".to_owned()], vec!["asked sip:9@192.0.2.2".to_owned()])
    );
    assert!(b.answered().is_empty());
    b.wait(Duration::from_millis(4_999));
    b.decides(Decision::Accept);
    assert_eq!(b.answered(), [202]);
    // A second word is one too many.
    b.decides(Decision::Decline(480));
    assert_eq!(b.heard().pop().as_deref(), Some("refer_answer: no REFER of the far end waits for it"));
    b.give(Input::Followed(Ok(route())));
    b.target(200, &sdp("192.0.2.7", 8));
    assert_eq!(b.told().pop().as_deref(), Some("Answered(Transferred) 200"));

    let mut b = Bench::up(Way::Tell);
    b.refer(TO, "");
    b.decides(Decision::Decline(480));
    assert_eq!((b.answered(), b.told().pop().as_deref()), (vec![480], Some("declined 480")));
    assert!(!b.out.iter().any(|output| matches!(output, Output::Follow(_))));

    let mut b = Bench::up(Way::Tell);
    b.refer(TO, "");
    b.wait(Duration::from_secs(5));
    assert_eq!((b.answered(), b.told().pop().as_deref()), (vec![603], Some("no_decision 603")));
    assert!(b.record().transfers.is_empty());
}

#[test]
fn the_orchestrator_decides_too() {
    let mut b = Bench::up(Way::Tell);
    b.give(Input::Command(Action::ReferAnswer(Decision::Accept)));
    assert_eq!(b.told(), ["Failed(Refused) 481"]);
    b.refer(TO, "");
    b.give(Input::Command(Action::ReferAnswer(Decision::Accept)));
    assert_eq!((b.answered(), b.told().pop().as_deref()), (vec![202], Some("Started 0")));
}

#[test]
fn who_does_not_want_to_be_told_is_not_and_is_hung_up_at_once() {
    let mut b = Bench::up(Way::Follow);
    b.refer(TO, "Refer-Sub: false\r\n");
    b.give(Input::Followed(Ok(route())));
    b.refer(TO, "Refer-Sub: false\r\n");
    assert_eq!(b.told().pop().as_deref(), Some("busy 491"));
    b.target(180, "");
    b.target(200, &sdp("192.0.2.7", 8));
    assert!(b.notified().is_empty());
    assert_eq!(last_bye(&b).expect("a BYE").call_id(), b.invite.call_id());
    assert_eq!(b.entry(), ("refer_in", 1, 200, Handed::Transferred));
}

/// What most exchanges do in a blind transfer.
#[test]
fn a_far_end_that_hangs_up_meanwhile_leaves_us_to_the_target() {
    let mut b = Bench::calling(Way::Follow);
    b.ok("NOTIFY");
    b.says("BYE", "");
    assert_eq!(b.call.phase(), crate::call::call::Phase::Talking);
    let media = b.media();
    assert_eq!(media.last().map(|media| (media.sends, media.receives)), Some((false, false)), "nobody is there");
    assert_eq!(b.heard().pop().as_deref(), Some("hold true false"));
    // Its silence ends nothing.
    b.give(Input::Leg(LegEvent::LineDead { at: Ms(0) }));
    b.target(200, &sdp("192.0.2.7", 8));
    assert_eq!(b.media().last().map(|media| (media.remote, media.sends)), Some((at("192.0.2.7:5000"), true)));
    assert_eq!(b.heard()[2..], ["hold false false", "1 200"]);
    assert!(last_bye(&b).is_none(), "who has hung up is not hung up");
    assert_eq!(b.notified().pop().as_deref(), Some("SIP/2.0 200 OK"));
    let record = b.record();
    assert_eq!((record.end_reason.as_str(), record.transfers[0].result), ("enough", 1));
}

#[test]
fn when_both_are_gone_the_call_is_over() {
    let mut b = Bench::calling(Way::Follow);
    b.ok("NOTIFY");
    b.says("BYE", "");
    b.target(486, "");
    let record = b.record();
    assert_eq!(record.hung_up_by, HungUpBy::Caller);
    assert_eq!(record.end_reason, "BYE; whom it referred us to could not be reached: 486 Said so");

    // And so it is when we have had enough.
    let mut b = Bench::calling(Way::Follow);
    b.says("BYE", "");
    b.target(180, "");
    b.hangs_up();
    assert_eq!(b.last("CANCEL").call_id(), b.last("INVITE").call_id());
    assert_eq!(b.entry(), ("refer_in", -1, 487, Handed::CallEnded));
}

#[test]
fn a_far_end_that_hangs_up_before_it_is_answered_ends_the_call() {
    let mut b = Bench::up(Way::Tell);
    b.refer(TO, "");
    b.says("BYE", "");
    assert_eq!((b.answered(), b.told().pop().as_deref()), (vec![487, 200], Some("call_ended 487")));
    let record = b.record();
    assert_eq!((record.hung_up_by, record.transfers.len()), (HungUpBy::Caller, 0));
}

#[test]
fn our_hang_up_takes_both_calls_back() {
    let mut b = Bench::calling(Way::Follow);
    b.ok("NOTIFY");
    b.target(180, "");
    b.ok("NOTIFY");
    b.hangs_up();
    assert_eq!(b.last("CANCEL").call_id(), b.last("INVITE").call_id());
    assert_eq!(b.last("BYE").call_id(), b.invite.call_id());
    assert_eq!(b.notified().pop().as_deref(), Some("SIP/2.0 487 Request Terminated"));
    assert!(b.out.iter().any(|output| matches!(output, Output::Left(Some(_)))));
    assert_eq!(b.entry(), ("refer_in", -1, 487, Handed::CallEnded));

    // Before there is a way: what was kept for it is given back when it comes.
    let mut b = Bench::up(Way::Follow);
    b.refer(TO, "");
    b.hangs_up();
    b.out.clear();
    b.give(Input::Followed(Ok(route())));
    assert!(b.out.iter().any(|output| matches!(output, Output::Left(None))) && last(&b.out, "INVITE").is_none());
}

#[test]
fn a_notify_that_is_not_taken_stops_nothing() {
    let mut b = Bench::calling(Way::Follow);
    let notify = b.last("NOTIFY");
    let refused = b.response(&notify, 481, "");
    b.give_from(FAR_END, refused);
    b.target(200, &sdp("192.0.2.7", 8));
    assert_eq!(b.told(), ["Started 0", "Progress 0", "Answered(Transferred) 200"]);
    assert_eq!(last_bye(&b).expect("a BYE").call_id(), b.invite.call_id());
    assert_eq!(b.notified(), ["SIP/2.0 100 Trying"]);
}

#[test]
fn a_transfer_of_ours_waits_for_theirs() {
    let mut b = Bench::calling(Way::Follow);
    let refer = transfer::Refer {
        target: crate::sip::refer::ReferTarget::parse("8001").expect("a number"),
        user_to_user: Vec::new(),
        target_headers: ExtraHeaders::default(),
        replaces: None,
        referred_by: None,
        subscription: None,
        headers: ExtraHeaders::default(),
        patience: None,
        bridge_on_refusal: false,
        now: true,
    };
    b.give(Input::Command(Action::Refer(Box::new(refer))));
    let refused = b.out.iter().any(|output| match output {
        Output::Tell { what: What::Transfer { stage: Stage::Failed(Handed::Refused), reason, .. }, .. } => {
            reason == "a REFER of the far end is being followed"
        }
        _ => false,
    });
    assert!(refused && last(&b.out, "REFER").is_none());
}
