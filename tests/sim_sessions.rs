//! How calls are set up and kept up: early and delayed offers, PRACK, session timers, each side's own terms.

mod sim;

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use sim::network::Weather;
use sim::phone::Act;
use sim::services::talks;
use sim::world::{self, World};
use sim::{PHONE, ROBOT, Scenario, Seen, Way};
use trunkline::call::call::{Answering, Call};
use trunkline::call::event::What;
use trunkline::call::io::{Input, Output};
use trunkline::call::line::HungUpBy;
use trunkline::call::record::Outcome;
use trunkline::sip::message::{HeaderName, Message, Method, Writer, parse};
use trunkline::sip::session::{Event, Refresher, Reliability, Terms, TimerTerms};

fn rings(scenario: Scenario) -> Scenario {
    let way = match scenario.way {
        Way::Inbound(_) => Way::Inbound(Answering::After(Duration::from_secs(2))),
        out => out,
    };
    Scenario { way, dialogue: talks("Hello.", &[]), talk: vec![(9_000, Act::HangUp)], ..scenario }
}

/// The robot has spoken, both have heard each other, and the phone has hung up.
fn talked(seen: &Seen) {
    let record = seen.record();
    assert_eq!((record.outcome, record.sip_code, record.hung_up_by), (Outcome::Success, 200, HungUpBy::Caller));
    assert_eq!(seen.talk(), ["robot: Hello."]);
    assert!(seen.arrived.len() > 100 && record.quality.received > 100, "{record:?}");
}

fn count(seen: &Seen, start: &str) -> usize {
    seen.sip.iter().filter(|(_, line)| line.starts_with(start)).count()
}

#[test]
fn offers_come_early_or_late_from_either_side_over_any_network() {
    let delayed = Terms { delayed_offer: true, ..Terms::default() };
    for reliable in [Reliability::Supported, Reliability::Off] {
        for weather in [Weather::CLEAN, Weather::LOSSY] {
            for seed in 0..4 {
                let poor = |scenario: Scenario| Scenario { sip: weather, ..rings(scenario) };
                let phone_terms = Terms { reliable, ..Terms::default() };
                let out = poor(Scenario { terms: delayed, phone_terms, ..Scenario::outbound() }).run(seed);
                talked(&out);
                let phone_terms = Terms { reliable, ..delayed };
                for early_media in [false, true] {
                    talked(&poor(Scenario { early_media, phone_terms, ..Scenario::inbound() }).run(seed));
                }
            }
        }
    }
}

#[test]
fn a_route_may_describe_its_media_while_it_rings() {
    for (reliable, pracks) in [(Reliability::Supported, true), (Reliability::Off, false), (Reliability::Required, true)]
    {
        let phone_terms = Terms { reliable, ..Terms::default() };
        let seen = rings(Scenario { early_media: true, phone_terms, ..Scenario::inbound() }).run(1);
        talked(&seen);
        let early = |event: &&Event| matches!(event, Event::Ringing { code: 183, sdp: Some(_) });
        assert_eq!(seen.phone_events.iter().filter(early).count(), 1, "{:?}", seen.phone_events);
        // The 200s are those to PRACK, INVITE and BYE.
        assert_eq!(count(&seen, "SIP/2.0 200"), 2 + usize::from(pracks));
    }
}

#[test]
fn the_robot_acknowledges_what_rings_reliably() {
    for (terms, pracks) in [
        (Terms::default(), 1),
        (Terms { reliable: Reliability::Required, ..Terms::default() }, 1),
        (Terms { reliable: Reliability::Off, ..Terms::default() }, 0),
    ] {
        let seen = rings(Scenario { terms, ..Scenario::outbound() }).run(1);
        talked(&seen);
        assert_eq!(count(&seen, "PRACK"), pracks);
        assert!(seen.told.iter().any(|(_, _, what)| matches!(what, What::Ringing { sip_code: 180, .. })));
    }
}

#[test]
fn a_long_call_is_refreshed_and_not_torn_down() {
    let timer = |refresher| TimerTerms { expires: 90, min_se: 90, refresher };
    let terms = |refresher| Terms { timer: Some(timer(refresher)), ..Terms::default() };
    let off = Terms { timer: None, ..Terms::default() };
    for (inbound, ours, theirs, by_us) in [
        (false, terms(Refresher::Us), terms(Refresher::Us), true),
        (false, terms(Refresher::Peer), terms(Refresher::Us), false),
        (true, terms(Refresher::Us), terms(Refresher::Us), false),
        (true, terms(Refresher::Us), terms(Refresher::Any), true),
        (true, terms(Refresher::Us), off, true),
        (false, terms(Refresher::Us), off, false),
    ] {
        let base = if inbound { Scenario::inbound() } else { Scenario::outbound() };
        let mut scenario = Scenario { terms: ours, phone_terms: theirs, ..rings(base) };
        scenario.talk = vec![(300_000, Act::HangUp)];
        scenario.rules.dialogue_timeout = Duration::from_secs(600);
        scenario.dialogue = Box::new(|_| Vec::new());
        let seen = scenario.run(1);
        let record = seen.record();
        assert_eq!((record.outcome, record.hung_up_by), (Outcome::Success, HungUpBy::Caller), "{ours:?} {theirs:?}");
        assert_eq!(count(&seen, "UPDATE"), if by_us { 6 } else { 0 }, "{ours:?} {theirs:?}");
    }
}

/// One callee of a fork changes the media before the answer, another one answers: to the first offer, which it got.
#[test]
fn of_a_fork_the_one_that_answers_is_taken_at_its_word() {
    let now = Instant::now();
    let dial = world::dial("1", Terms::default());
    let plan = World::new(Scenario::outbound(), 1).plan();
    let rng = StdRng::seed_from_u64(1);
    let mut call = Call::dial(now, World::wall(), plan, Duration::from_secs(30), world::local(), dial, rng);
    let mut sent = Vec::new();
    let mut told = Vec::new();
    let mut drain = |call: &mut Call, sent: &mut Vec<Message>| {
        while let Some(output) = call.poll() {
            match output {
                Output::Transmit { payload, .. } => sent.push(parse(&payload).expect("SIP")),
                Output::Tell { what, .. } => told.push(what),
                _ => {}
            }
        }
    };
    drain(&mut call, &mut sent);
    let Some(Message::Request(invite)) = sent.pop() else { panic!("no INVITE") };
    let sdp = |port: u16, version: u32| {
        format!(
            "v=0\r\no=- {port} {version} IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8\r\n"
        )
    };
    let respond = |code: u16, tag: &str, reliable: bool, sdp: &str| {
        let out = Writer::reply(&invite, ROBOT, code, "x", Some(tag)).header(HeaderName::Contact, "<sip:p@192.0.2.2>");
        let out = match reliable {
            true => out.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, "1"),
            false => out,
        };
        Message::Response(out.finish("application/sdp", sdp.as_bytes()))
    };
    let hear = |call: &mut Call, message| call.handle(now, Input::Sip { message, source: PHONE });
    hear(&mut call, respond(183, "a", true, &sdp(5000, 1)));
    let text = |name| invite.text(name).expect("it is there").into_owned();
    let update = Writer::request(Method::Update, &"sip:robot@192.0.2.1".parse().expect("a URI"))
        .header(HeaderName::Via, "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKupdate")
        .header(HeaderName::From, &format!("{};tag=a", text(HeaderName::To)))
        .header(HeaderName::To, &text(HeaderName::From))
        .header(HeaderName::CallId, &text(HeaderName::CallId))
        .header(HeaderName::CSeq, "1 UPDATE")
        .finish("application/sdp", sdp(5002, 2).as_bytes());
    hear(&mut call, Message::Request(update));
    hear(&mut call, respond(200, "b", false, &sdp(6000, 1)));
    drain(&mut call, &mut sent);
    let answered = told.iter().find_map(|what| match what {
        What::Answered { remote_media, .. } => Some(remote_media.port()),
        _ => None,
    });
    assert_eq!(answered, Some(6000), "{told:?}");
    let codes = |code: u16| sent.iter().any(|m| matches!(m, Message::Response(r) if r.code() == code));
    assert!(codes(200), "the UPDATE was taken");
    assert!(!sent.iter().any(|m| matches!(m, Message::Request(r) if *r.method() == Method::Bye)));
}
