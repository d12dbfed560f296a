//! Trunks: which one a call goes over, what it says of us there, and who may call. The peers are played by hand, so that each message is
//! looked at.

use std::time::{Duration, Instant};

use tonic::Code;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{DialRequest, DrainRequest, Event, ListTrunksRequest, Outcome, SendRequest};
use trunkline::proto::dialogue::v1::{Hangup, Header};
use trunkline::sip::auth::{Authenticator, Credentials};
use trunkline::sip::message::{HeaderName, Method};

use crate::rig::{ANSWERED, GROUP, Happened, PATIENCE, Peer, Phone, Rig, SDP, Setup, ask, soon};

async fn group(trunk: &'static str, spare: &'static str) -> Rig {
    Rig::start(Setup { trunk, spare, main: GROUP, ..Setup::default() }).await
}

fn over(rig: &Rig, trunk: &str) -> DialRequest {
    DialRequest { trunk: trunk.into(), ..rig.order() }
}

/// What a call told until it was placed for the n-th time.
async fn placed(rig: &Rig, call_id: &str, times: usize) -> Vec<String> {
    let mut told = Vec::new();
    rig.find(call_id, |event| {
        match event.event.as_ref()? {
            Happened::Dialling(dialling) => told.push(format!("dialling over {}", dialling.trunk)),
            Happened::Rerouted(rerouted) => told.push(format!("{}: {}", rerouted.trunk, rerouted.reason)),
            _ => {}
        }
        let dialled = told.iter().filter(|line| line.starts_with("dialling")).count();
        (dialled == times).then(|| told.clone())
    })
    .await
}

#[tokio::test]
async fn a_trunk_that_has_no_room_is_passed_over_under_the_same_call_id() {
    let rig = group("", "[media]\ncodecs = [\"PCMU\"]").await;
    let (lab, spare) = (Peer::lab(&rig).await, Peer::spare(&rig).await);
    let call_id = rig.dial(rig.order()).await;
    let first = lab.refuses(503).await;
    let second = spare.refuses(486).await;
    assert_ne!(first.call_id(), second.call_id(), "for the trunks these are two calls");
    assert!(String::from_utf8_lossy(first.body()).contains("RTP/AVP 8 0"), "{first:?}");
    assert!(String::from_utf8_lossy(second.body()).contains("RTP/AVP 0"), "each trunk has its codecs: {second:?}");
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.trunk.as_str()), (Outcome::Linebusy, 486, "spare"));
    assert_eq!(record.sip_call_id, second.call_id().expect("one"));
    let told = placed(&rig, &call_id, 2).await;
    assert_eq!(told, ["dialling over lab", "lab: 503 By hand", "dialling over spare"]);
    assert_eq!(rig.metric_of("trunkline_calls_rerouted_total", "lab").await, 1.0);
    rig.idle().await;
    let trunks = rig.control().list_trunks(ListTrunksRequest {}).await.expect("an answer").into_inner().trunks;
    assert!(trunks.iter().all(|trunk| trunk.channels_used == 0 && trunk.up), "{trunks:?}");
}

#[tokio::test]
async fn a_trunk_that_is_silent_is_passed_over_and_told_goodbye_when_it_answers_after_all() {
    let rig = group("[limits]\nfailover_after_ms = 500", "[media]").await;
    let (lab, spare) = (Peer::lab(&rig).await, Peer::spare(&rig).await);
    let call_id = rig.dial(rig.order()).await;
    let late = lab.request(&Method::Invite).await;
    spare.takes().await;
    rig.answered(&call_id).await;
    lab.answer(&late, 200, &[], SDP).await;
    lab.request(&Method::Ack).await;
    lab.is_hung_up().await;
    rig.hang_up(&call_id).await;
    spare.is_hung_up().await;
    let record = rig.ended(&call_id).await;
    assert_eq!(
        (record.outcome(), record.trunk.as_str(), record.end_reason.as_str()),
        (Outcome::Success, "spare", "enough")
    );
    assert_eq!(placed(&rig, &call_id, 2).await[1], "lab: no answer to the INVITE");
    rig.idle().await;
}

/// The last member is waited for as a trunk without company is.
#[tokio::test]
async fn a_deaf_trunk_is_left_for_one_that_answers_and_that_one_has_its_time() {
    let main = "[[group]]\nname = \"out\"\n[[group.member]]\ntrunk = \"spare\"\n\
                [[group.member]]\ntrunk = \"lab\"\npriority = 2\n";
    let limits = "[limits]\nfailover_after_ms = 500";
    let rig = Rig::start(Setup { trunk: limits, spare: limits, main, ..Setup::default() }).await;
    let deaf = Peer::spare(&rig).await;
    // It says nothing for 1 s, twice its time, and then 200.
    let phone = rig.phone(Phone::new("uas_silent_then_answers")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    deaf.request(&Method::Invite).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.trunk.as_str()), (Outcome::Success, "lab"));
    assert_eq!(placed(&rig, &call_id, 2).await[1], "spare: no answer to the INVITE");
    assert_eq!(rig.metric_of("trunkline_calls_rerouted_total", "spare").await, 1.0);
    let trace = phone.done().await;
    assert_eq!((trace.received("CANCEL"), trace.received("BYE")), (0, 1));
    rig.idle().await;
}

#[tokio::test]
async fn once_it_has_rung_there_is_no_other_way() {
    let rig = group("", "[media]").await;
    let lab = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    let invite = lab.request(&Method::Invite).await;
    lab.answer(&invite, 180, &[], "").await;
    lab.answer(&invite, 503, &[], "").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.trunk.as_str()), (Outcome::Cantbeconnected, 503, "lab"));
    assert_eq!(rig.metric("trunkline_calls_rerouted_total").await, 0.0);
}

#[tokio::test]
async fn what_is_no_failure_of_the_trunk_ends_the_call() {
    let rig = group("", "[media]").await;
    let lab = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    lab.refuses(500).await;
    assert_eq!(rig.ended(&call_id).await.sip_code, 500);
    assert_eq!(rig.metric("trunkline_calls_rerouted_total").await, 0.0);
}

#[tokio::test]
async fn when_all_fail_it_ends_as_the_last_one_did_and_says_why_there_was_no_other() {
    let rig = group("", "[limits]\nchannels = 1").await;
    let (lab, spare) = (Peer::lab(&rig).await, Peer::spare(&rig).await);
    let both = rig.dial(rig.order()).await;
    lab.refuses(503).await;
    spare.refuses(503).await;
    let record = rig.ended(&both).await;
    assert_eq!((record.sip_code, record.trunk.as_str(), record.outcome()), (503, "spare", Outcome::Cantbeconnected));
    // The second one has no channel left: the call ends as the first one refused it.
    let busy = rig.dial(over(&rig, "spare")).await;
    spare.takes().await;
    let alone = rig.dial(rig.order()).await;
    lab.refuses(503).await;
    let record = rig.ended(&alone).await;
    assert_eq!((record.sip_code, record.trunk.as_str()), (503, "lab"));
    assert_eq!(record.end_reason, "503 By hand; no other way: no_channel: trunk spare: [limits] channels = 1");
    rig.hang_up(&busy).await;
    spare.is_hung_up().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_hang_up_between_two_trunks_is_one() {
    let rig = group("[limits]\nfailover_after_ms = 500", "[media]").await;
    let (lab, spare) = (Peer::lab(&rig).await, Peer::spare(&rig).await);
    let call_id = rig.dial(rig.order()).await;
    lab.request(&Method::Invite).await;
    let invite = spare.request(&Method::Invite).await;
    spare.answer(&invite, 180, &[], "").await;
    rig.hang_up(&call_id).await;
    let cancel = spare.request(&Method::Cancel).await;
    spare.answer(&cancel, 200, &[], "").await;
    spare.answer(&invite, 487, &[], "").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.trunk.as_str()), (Outcome::Cancelled, "spare"));
    rig.idle().await;
}

#[tokio::test]
async fn a_full_member_is_passed_over_before_anything_is_sent() {
    let rig = group("[limits]\nchannels = 1", "[limits]\nchannels = 1").await;
    let (lab, spare) = (Peer::lab(&rig).await, Peer::spare(&rig).await);
    let first = rig.dial(rig.order()).await;
    lab.takes().await;
    let second = rig.dial(rig.order()).await;
    spare.takes().await;
    let status = rig.control().dial(rig.order()).await.expect_err("both are full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "no_channel: trunk lab: [limits] channels = 1");
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "channels").await, 1.0);
    assert_eq!(placed(&rig, &second, 1).await, ["dialling over spare"]);
    for (call_id, peer) in [(&first, &lab), (&second, &spare)] {
        rig.hang_up(call_id).await;
        peer.is_hung_up().await;
        rig.ended(call_id).await;
    }
    rig.idle().await;
}

#[tokio::test]
async fn limits_of_numbers_and_of_the_rate_are_named() {
    let trunk = "[limits]\nchannels_per_caller = 1\ncalls_per_second = 1\nburst = 2";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    let first = rig.dial(rig.order()).await;
    lab.takes().await;
    let refused = async |order: DialRequest| {
        let status = rig.control().dial(order).await.expect_err("a limit");
        assert_eq!(status.code(), Code::ResourceExhausted);
        status.message().to_owned()
    };
    let used = refused(rig.order()).await;
    assert_eq!(
        used,
        "number_limit: trunk lab: [limits] channels_per_caller = 1, used up by each number that may be shown"
    );
    // Two more within a second are one too many.
    let since = Instant::now();
    let second = rig.dial(DialRequest { caller: "1".into(), ..rig.order() }).await;
    let third = rig.control().dial(DialRequest { caller: "2".into(), ..rig.order() }).await;
    match third {
        Err(status) => {
            assert_eq!(status.message(), "rate: trunk lab: [limits] calls_per_second = 1");
            assert_eq!(rig.metric_of("trunkline_calls_refused_total", "rate").await, 1.0);
        }
        Ok(_) => assert!(since.elapsed() > Duration::from_millis(500), "the machine was asleep"),
    }
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "number_limit").await, 1.0);
    lab.refuses(486).await;
    rig.ended(&second).await;
    rig.hang_up(&first).await;
    lab.is_hung_up().await;
    rig.ended(&first).await;
}

#[tokio::test]
async fn a_call_goes_out_as_its_profile_says() {
    let trunk = "display = \"Example\"\nfrom = \"account\"\nasserted = true\nremote_party_id = true\nprivacy = \"id\"\n\
                 diverted_from = \"+4930999\"\nhistory = true\nchoice = \"by_area\"\n\
                 [[callers]]\nnumber = \"+4930111\"\nareas = [\"+4930\"]\n\
                 [numbers]\ncountry = \"49\"\n\
                 [[numbers.callee]]\nmatch = \"*\"\nto = \"national\"\nadd = \"88\"\n\
                 [[numbers.caller]]\nmatch = \"+*\"\nto = \"plain\"\n\
                 [auth]\nuser = \"robot\"\npassword = \"secret\"\n";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    let call_id = rig.dial(DialRequest { callee: "+493012345".into(), ..rig.order() }).await;
    let invite = lab.refuses(486).await;
    assert_eq!(invite.uri().as_str(), "sip:8803012345@127.0.0.1");
    assert_eq!(invite.from().expect("one").uri.as_str(), "sip:robot@127.0.0.1");
    for (name, value) in [
        (HeaderName::PAssertedIdentity, "\"Example\" <sip:4930111@127.0.0.1>"),
        (HeaderName::RemotePartyId, "\"Example\" <sip:4930111@127.0.0.1>;party=calling;privacy=full;screen=yes"),
        (HeaderName::Privacy, "id"),
        (HeaderName::Diversion, "<sip:4930999@127.0.0.1>;reason=unconditional;privacy=off;screen=no"),
        (HeaderName::HistoryInfo, "<sip:4930999@127.0.0.1>;index=1, <sip:8803012345@127.0.0.1>;index=1.1;mp=1"),
    ] {
        assert_eq!(invite.text(name).as_deref(), Some(value));
    }
    let record = rig.ended(&call_id).await;
    assert_eq!(
        (record.callee.as_str(), record.caller.as_str()),
        ("+493012345", "+4930111"),
        "as the orchestrator writes them"
    );
    // What the profile writes is not written twice.
    let headers = vec![Header { name: "P-Asserted-Identity".into(), value: "<sip:1@h>".into() }];
    let status = rig.control().dial(DialRequest { headers, ..rig.order() }).await.expect_err("twice");
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "headers: P-Asserted-Identity is written by the profile of trunk lab")
    );
}

#[tokio::test]
async fn a_trunk_that_flaps_is_told_and_the_other_one_does_not_notice() {
    const PINGED: &str = "ping_s = 5\nping_down_after = 1";
    let setup = Setup { peer: PINGED.into(), spare: "[media]", main: GROUP, ..Setup::default() };
    let rig = Rig::start(setup).await;
    // Nobody is there yet: the network says so at once.
    let down = rig.stood("lab", 0).await;
    assert_eq!((down.up, down.registration.as_str()), (false, "none"));
    assert!(down.reason.ends_with(": it could not be sent: connection refused"), "{down:?}");
    let refused = rig.control().dial(over(&rig, "lab")).await.expect_err("it is down");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let spare = Peer::spare(&rig).await;
    let call_id = rig.dial(over(&rig, "spare")).await;
    spare.takes().await;
    rig.answered(&call_id).await;

    let lab = Peer::lab(&rig).await;
    let ping = lab.request(&Method::Options).await;
    lab.answer(&ping, 200, &[], "").await;
    let up = rig.stood("lab", 1).await;
    assert_eq!((up.up, up.reason.as_str()), (true, ""), "{up:?}");
    let over_lab = rig.dial(over(&rig, "lab")).await;
    lab.refuses(486).await;
    assert_eq!(rig.ended(&over_lab).await.outcome(), Outcome::Linebusy);

    // Another answer is no news; another silence is.
    let ping = lab.request(&Method::Options).await;
    lab.answer(&ping, 200, &[], "").await;
    drop(lab);
    let down = rig.stood("lab", 2).await;
    assert!(!down.up && !down.reason.is_empty(), "{down:?}");

    rig.hang_up(&call_id).await;
    spare.is_hung_up().await;
    assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
    let mut seen = Vec::new();
    let ended = |event: &Event| event.call_id == call_id && matches!(event.event, Some(Happened::Ended(_)));
    rig.find("", |event| {
        seen.push(event.clone());
        ended(event).then_some(())
    })
    .await;
    let numbers: Vec<_> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>(), "one numbering, without gaps");
    let stood = seen.iter().filter(|event| matches!(event.event, Some(Happened::Trunk(_)))).count();
    assert_eq!(stood, 3, "only what changed is told: {seen:?}");
    // Who watches the call hears of the call.
    rig.find(&call_id, |event| {
        assert_eq!(event.call_id, call_id);
        ended(event).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_fails_and_recovers_is_told_once_each() {
    let trunk = "[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let stood = async |n| {
        let stood = rig.stood("lab", n).await;
        (stood.up, stood.registration, stood.reason)
    };
    let failed = |reason: &str| (false, "failed".to_owned(), reason.to_owned());
    // Nobody is there yet: the network says so at once.
    let unsent = format!("127.0.0.1:{}: it could not be sent: connection refused", rig.ports.phone());
    assert_eq!(stood(0).await, failed(&unsent));
    let lab = Peer::lab(&rig).await;
    // Refused twice for the same reason: one event.
    for code in [403, 403, 200] {
        let register = lab.request(&Method::Register).await;
        lab.answer(&register, code, &[("Expires", "3600")], "").await;
    }
    assert_eq!(stood(1).await, failed("403 By hand"));
    assert_eq!(rig.metric_of("trunkline_registrations_failed_total", "reason=\"403\"").await, 2.0);
    assert_eq!(stood(2).await, (true, "registered".to_owned(), String::new()));
}

#[tokio::test]
async fn who_calls_and_for_whom_is_read_as_the_profile_says() {
    let trunk = "[numbers]\ncountry = \"49\"\n[[numbers.callee_in]]\nmatch = \"*\"\nto = \"e164\"\n\
                 [[numbers.caller_in]]\nmatch = \"*\"\nto = \"e164\"\n\
                 [[inbound]]\ncallee = \"+4930*\"\nanswer = \"wait\"\ndialogue = \"none\"\nspeech = \"none\"\n";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let peer = Peer::bind(&rig, "127.0.0.1", 0).await;
    let headers = "P-Asserted-Identity: \"Bea\" <sip:030111@op>\r\nPrivacy: id\r\n\
                   Diversion: <sip:030222@op>;reason=user-busy\r\nFrom: <sip:anonymous@anonymous.invalid>;tag=t\r\n";
    peer.calls("03012345", 1, headers).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!((incoming.caller.as_str(), incoming.callee.as_str()), ("+4930111", "+493012345"));
    assert_eq!((incoming.caller_name.as_str(), incoming.withheld), ("Bea", true));
    assert_eq!((incoming.diverted_from.as_str(), incoming.diversion_reason.as_str()), ("+4930222", "user-busy"));
    soon("it waits", PATIENCE, async || {
        let request = SendRequest {
            call_id: call_id.clone(),
            command: Some(Command::Hangup(Hangup::default())),
            ..Default::default()
        };
        rig.control().send(request).await.is_ok()
    })
    .await;
    assert_eq!(peer.response().await.code(), 480);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.caller.as_str(), record.callee.as_str()), ("+4930111", "+493012345"));
}

#[tokio::test]
async fn whoever_calls_a_guarded_trunk_shows_a_password() {
    const TRUNK: &str = "[inbound_auth]\nuser = \"pbx\"\npassword = \"secret\"\nrealm = \"robot\"\n\
                         [[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
    let rig =
        Rig::start(Setup { trunk: TRUNK, limits: "strangers_per_second = 5\ndrain_s = 0", ..Setup::default() }).await;
    let peer = Peer::bind(&rig, "127.0.0.1", 0).await;
    let mut rng = rand::SeedableRng::seed_from_u64(1);
    let mut credentials = async |password: &str, cseq: u32| {
        peer.calls("100", cseq, "").await;
        let asked = peer.response().await;
        assert_eq!(asked.code(), 401);
        let challenges: Vec<_> = asked.list(HeaderName::WwwAuthenticate).collect();
        assert!(challenges.iter().any(|c| c.contains("realm=\"robot\"")), "{challenges:?}");
        let mut auth = Authenticator::new(Some(Credentials::new("pbx", password)));
        auth.challenged(&asked, false).expect("it can be answered");
        let headers = auth.headers(&Method::Invite, "sip:100@127.0.0.1", &mut rng);
        assert!(headers[0].1.contains("algorithm=SHA-256"), "{headers:?}");
        format!("Authorization: {}\r\n", headers[0].1)
    };
    let wrong = credentials("guess", 1).await;
    let right = credentials("secret", 2).await;
    peer.calls("100", 3, &wrong).await;
    assert_eq!(peer.response().await.code(), 401);
    // Who guesses on is not heard any more, however right he may be.
    for cseq in 4..40 {
        peer.calls("100", cseq, &wrong).await;
    }
    soon("it is cut off", PATIENCE, async || {
        rig.metric_of("trunkline_sip_datagrams_dropped_total", "rate").await > 10.0
    })
    .await;
    let guessed = rig.metric_of("trunkline_sip_authentications_total", "wrong").await;
    assert!((1.0..20.0).contains(&guessed), "{guessed}");
    // A moment later it is: the password counts, and from then on there is no limit.
    let other = Peer::bind(&rig, "127.0.0.1", 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    other.calls("100", 50, &right).await;
    let answer = other.response().await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(rig.metric_of("trunkline_sip_authentications_total", "passed").await, 1.0);
    let (call_id, _) = rig.incoming(0).await;
    let to = answer.to().expect("one").to_string();
    let at = other.socket.local_addr().expect("it is bound");
    for method in ["ACK", "BYE"] {
        let cseq = if method == "ACK" { 50 } else { 51 };
        let request = format!(
            "{method} sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}\r\nFrom: <sip:200@h>;tag=t\r\nTo: {to}\r\n\
             Call-ID: hand-{}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            at.port()
        );
        other.send(request.as_bytes()).await;
    }
    assert_eq!(rig.ended(&call_id).await.hung_up_by, "caller", "within a call nobody is asked again");
    // The same credentials do not begin a second call.
    let thief = Peer::bind(&rig, "127.0.0.1", 0).await;
    thief.calls("100", 60, &right).await;
    let answer = thief.response().await;
    assert_eq!(answer.code(), 401);
    assert!(answer.text(HeaderName::WwwAuthenticate).expect("one").contains("stale=true"), "{answer:?}");
    assert_eq!(rig.metric_of("trunkline_sip_authentications_total", "replayed").await, 1.0);
    rig.idle().await;
}

#[tokio::test]
async fn a_flood_of_strangers_is_not_read_and_keeps_nobody_out() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let stranger = Peer::bind(&rig, "127.0.0.9", 0).await;
    for cseq in 1..200 {
        stranger.calls("100", cseq, "").await;
    }
    soon("the flood is counted", PATIENCE, async || rig.metric("trunkline_sip_datagrams_dropped_total").await >= 199.0)
        .await;
    let read = rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await;
    assert!((40.0..100.0).contains(&read), "{read}");
    let (answer, caller) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(stranger.socket.try_recv(&mut [0; 1]).is_err(), "the stranger has an answer");
    drop(caller);
}

#[tokio::test]
async fn of_a_peer_that_is_a_name_who_answers_a_call_may_end_it() {
    let rig = Rig::start(Setup { host: "localhost", ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    let invite = lab.takes().await;
    rig.answered(&call_id).await;
    let from = invite.from().expect("one");
    let bye = format!(
        "BYE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKbye\r\nFrom: <sip:100@localhost>;tag=hand\r\n\
         To: {from}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        lab.socket.local_addr().expect("it is bound"),
        invite.call_id().expect("one"),
    );
    let stranger = Peer::bind(&rig, "127.0.0.9", 0).await;
    stranger.send(bye.as_bytes()).await;
    soon("it is counted", PATIENCE, async || {
        rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await == 1.0
    })
    .await;
    lab.send(bye.as_bytes()).await;
    assert_eq!(lab.response().await.code(), 200);
    assert_eq!(rig.ended(&call_id).await.hung_up_by, "caller");
}

#[tokio::test]
async fn calls_pass_the_proxies_that_profile_and_registrar_name_and_a_drain_takes_the_registration_back() {
    const TRUNK: &str = "[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";
    let rig = Rig::start(Setup { trunk: TRUNK, ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    let register = lab.request(&Method::Register).await;
    lab.answer(&register, 200, &[("Service-Route", "<sip:home.example;lr>")], "").await;
    rig.registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = lab.takes().await;
    assert_eq!(invite.list(HeaderName::Route).collect::<Vec<_>>(), ["<sip:home.example;lr>"]);
    rig.answered(&call_id).await;
    assert_eq!(rig.control().drain(DrainRequest {}).await.expect("an answer").into_inner().calls, 1);
    let gone = lab.request(&Method::Register).await;
    assert_eq!(gone.text(HeaderName::Expires).as_deref(), Some("0"));
    lab.answer(&gone, 200, &[], "").await;
    // The call goes on.
    rig.hang_up(&call_id).await;
    let bye = lab.is_hung_up().await;
    assert_eq!(bye.list(HeaderName::Route).count(), 0, "the route set of a dialog is what Record-Route said");
    assert_eq!(rig.ended(&call_id).await.end_reason, "enough");
}

#[tokio::test]
async fn a_call_ends_when_it_has_lasted_long_enough() {
    let rig = Rig::start(Setup { trunk: "[limits]\nmax_call_s = 1", ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    lab.takes().await;
    lab.is_hung_up().await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.hung_up_by.as_str(), record.end_reason.as_str()), ("network", "max_call_s is over"));
    assert!((1_000..3_000).contains(&record.talk_ms), "{record:?}");
    rig.idle().await;
}
