//! Handing over by a second leg: the agent is a SIPp or a peer by hand on a trunk of his own, `spare`.

use std::time::Duration;

use tokio::net::UdpSocket;
use trunkline::codec::g711::Law;
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{CallRecord, DialRequest};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::{File, Hangup, Refer, Segment, Transfer, UserToUser, segment};
use trunkline::sip::message::Method;

use crate::rig::{Brain, Engine, Happened, Hearing, Peer, Phone, Rig, Setup, Speaking, Trace, say, sdp, soon};

/// What the agent gets to know.
const CONTEXT: &str = "sessionId=7;transType=1;transValue=8001;transIntent=Rechnung prüfen;transAddr=8001@127.0.0.1";
/// The same in base64.
const WRITTEN: &str = "c2Vzc2lvbklkPTc7dHJhbnNUeXBlPTE7dHJhbnNWYWx1ZT04MDAxO3RyYW5zSW50ZW50PVJlY2hudW5nIHByw7xmZW47dHJhbnNBZGRyPTgwMDFAMTI3LjAuMC4x";

/// Calls that come in get the dialogue.
const ROUTES: &str =
    "[[inbound]]\ncallee = \"*\"\ndialogue = \"brain\"\nspeech = \"none\"\n[transfer]\ntrunk = \"spare\"";

fn setup() -> Setup {
    Setup { spare: "[limits]\nchannels = 4", trunk: ROUTES, ..Setup::default() }
}

/// A call to the caller's phone.
fn order(rig: &Rig) -> DialRequest {
    DialRequest { trunk: "lab".into(), ..rig.order() }
}

fn transfer() -> Transfer {
    Transfer { target: "8001@127.0.0.1:5999".into(), user_to_user: CONTEXT.into(), ..Default::default() }
}

/// The id of the agent's call, and all that was told until there was a result.
async fn result(rig: &Rig, call_id: &str) -> (String, Vec<(Stage, u32)>) {
    let mut told = Vec::new();
    rig.find(call_id, |event| {
        let Some(Happened::Transfer(transfer)) = &event.event else { return None };
        told.push((transfer.stage(), transfer.sip_code));
        let over = matches!(transfer.stage(), Stage::Answered | Stage::Failed);
        over.then(|| (transfer.call_id.clone(), std::mem::take(&mut told)))
    })
    .await
}

/// Both records, of the caller's call and of the agent's; nothing is left behind.
async fn both(rig: &Rig, call_id: &str, agent: &str) -> (CallRecord, CallRecord) {
    let (first, second) = tokio::join!(rig.ended(call_id), rig.ended(agent));
    rig.idle().await;
    assert_eq!(
        (first.transfers.last().map(|t| t.call_id.as_str()), second.transferred_from.as_str()),
        (Some(agent), call_id)
    );
    assert_eq!((first.transferred_from.as_str(), second.transfers.len(), second.wav.as_str()), ("", 0, ""));
    (first, second)
}

/// Dials a caller, hands him over to an agent; what was told, the records, and what the agent saw.
async fn handed_over(
    caller: Phone,
    agent: Phone,
    transfer: Transfer,
) -> (Vec<(Stage, u32)>, CallRecord, CallRecord, Trace) {
    let rig = Rig::start(setup()).await;
    let phone = rig.phone(caller).await;
    let agent = rig.agent(agent).await;
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Transfer(transfer)).await;
    let (agent_call, told) = result(&rig, &call_id).await;
    if told.last().is_some_and(|(stage, _)| *stage == Stage::Failed) {
        // The call goes on.
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.hang_up(&call_id).await;
    }
    let (first, second) = both(&rig, &call_id, &agent_call).await;
    let outcome = &first.transfers[0].outcome;
    assert_eq!(rig.metric_of("trunkline_transfers_total", outcome).await, 1.0, "{outcome}");
    let trace = agent.done().await;
    phone.done().await;
    (told, first, second, trace)
}

#[tokio::test]
async fn an_agent_who_answers_gets_the_call_and_its_context_and_hangs_up_first() {
    let caller = Phone::new("uas_answers_after_180");
    let agent = Phone::new("uas_hangs_up_after_a_while").pause_ms(1_500);
    let (told, first, second, trace) = handed_over(caller, agent, transfer()).await;
    assert_eq!((told.first(), told.last()), (Some(&(Stage::Started, 0)), Some(&(Stage::Answered, 200))));
    let [transfer] = &first.transfers[..] else { panic!("{first:?}") };
    assert_eq!((transfer.kind.as_str(), transfer.result, transfer.outcome.as_str()), ("bridge", 1, "transferred"));
    assert_eq!((first.hung_up_by.as_str(), second.hung_up_by.as_str()), ("agent", "agent"));
    assert_eq!((first.trunk.as_str(), second.trunk.as_str()), ("lab", "spare"));
    assert_eq!((second.caller.as_str(), second.callee.as_str()), ("100", "8001"));
    let quality = second.quality.expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 50, "{quality:?}");
    let invite = trace.all_received()[0];
    assert!(invite.starts_with("INVITE sip:8001@127.0.0.1:5999 SIP/2.0"), "{invite}");
    assert!(
        invite.contains(&format!("User-to-User: {WRITTEN}\r\n"))
            || invite.contains(&format!("User-to-User: {WRITTEN}\n")),
        "{invite}"
    );
    let from = invite.lines().find(|line| line.starts_with("From:")).expect("a From");
    assert!(from.contains("sip:100@"), "the far end's number: {from}");
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_the_agents_call_too() {
    let caller = Phone::new("uas_hangs_up_after_a_while").pause_ms(4_000);
    let (_, first, second, trace) = handed_over(caller, Phone::new("uas_answers_after_180"), transfer()).await;
    assert_eq!((first.hung_up_by.as_str(), second.hung_up_by.as_str()), ("caller", "caller"));
    assert_eq!((first.transfers[0].result, trace.received("BYE")), (1, 1));
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_it_rings_cancels_it() {
    let caller = Phone::new("uas_hangs_up_after_a_while").pause_ms(2_000);
    let rig = Rig::start(setup()).await;
    let phone = rig.phone(caller).await;
    let agent = rig.agent(Phone::new("uas_never_answers_cancelled")).await;
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Transfer(transfer())).await;
    let (agent_call, told) = result(&rig, &call_id).await;
    assert_eq!(told.last(), Some(&(Stage::Failed, 0)));
    let (first, second) = both(&rig, &call_id, &agent_call).await;
    assert_eq!((first.transfers[0].outcome.as_str(), first.hung_up_by.as_str()), ("call_ended", "caller"));
    assert_eq!((second.hung_up_by.as_str(), second.answered_at), ("caller", None));
    assert_eq!(agent.done().await.received("CANCEL"), 1);
    phone.done().await;
}

#[tokio::test]
async fn after_an_agent_who_does_not_answer_the_call_goes_on() {
    let rings_out = Transfer { timeout_ms: 1_500, ..transfer() };
    for (scenario, order, code, outcome) in
        [("uas_busy_486", transfer(), 486, "failed"), ("uas_never_answers_cancelled", rings_out, 408, "timed_out")]
    {
        let (told, first, second, _) =
            handed_over(Phone::new("uas_answers_after_180"), Phone::new(scenario), order).await;
        assert_eq!(told.last(), Some(&(Stage::Failed, code)), "{scenario}");
        let transfer = &first.transfers[0];
        assert_eq!((transfer.result, transfer.sip_code, transfer.outcome.as_str()), (-1, code, outcome));
        assert_eq!((first.end_reason.as_str(), second.answered_at), ("enough", None));
    }
}

#[tokio::test]
async fn a_leg_that_cannot_be_placed_is_told_with_the_reason() {
    let rig = Rig::start(Setup { spare: "[limits]\nchannels = 1", ..setup() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let agent = rig.agent(Phone::new("uas_answers_after_180")).await;
    // The agents' one channel is somebody else's.
    let other = rig.dial(DialRequest { trunk: "spare".into(), ..rig.order() }).await;
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Transfer(transfer())).await;
    assert_eq!(result(&rig, &call_id).await, (String::new(), vec![(Stage::Failed, 0)]));
    rig.send(&call_id, Command::Transfer(Transfer { trunk: "nope".into(), ..transfer() })).await;
    rig.find(&call_id, |event| match &event.event {
        Some(Happened::Transfer(transfer)) if transfer.reason.contains("nope") => Some(()),
        _ => None,
    })
    .await;
    rig.answered(&other).await;
    rig.hang_up(&other).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    let reasons: Vec<_> = record.transfers.iter().map(|t| (t.outcome.as_str(), t.reason.as_str())).collect();
    let channels = "no_channel: trunk spare: [limits] channels = 1";
    assert_eq!(reasons, [("refused", channels), ("refused", "trunk: \"nope\" is none of: lab, spare")]);
    phone.done().await;
    agent.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn what_an_exchange_hands_over_to_the_robot_is_told_to_its_dialogue() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { dialogue: brain.endpoint(), ..setup() }).await;
    let phone = rig.phone(Phone::new("uac_user_to_user").pause_ms(1_000)).await;
    let (line, begin) = brain.begun().await;
    assert_eq!(begin.user_to_user, "01;encoding=hex, \"a,b\", c2Vzc2lvbklkPTc7dHJhbnNUeXBlPTE=");
    let [hex, _, context] = &begin.user_to_user_values[..] else { panic!("{begin:?}") };
    assert_eq!(hex.bytes, [1]);
    assert_eq!(context.hand_over.as_ref().map(|context| context.session_id.as_str()), Some("7"));
    phone.done().await;
    drop(line);
    rig.idle().await;
}

#[tokio::test]
async fn a_dialogue_hands_over_a_caller_to_music_and_leaves() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { dialogue: brain.endpoint(), ..setup() }).await;
    let agent = rig.agent(Phone::new("uas_answers_after_180")).await;
    let phone = rig.phone(Phone::new("uac_callee_hangs_up")).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("p", &["~300"]))).await;
    let file = segment::Segment::File(File { path: "human-hello.wav".into() });
    let waiting = vec![Segment { segment: Some(file), mark: String::new() }];
    let context = UserToUser { written: "04ff;encoding=hex".into(), ..Default::default() };
    line.act(Act::Transfer(Transfer { waiting, user_to_user_values: vec![context], ..transfer() })).await;
    let told = |event: &Event| match event {
        Event::TransferResult(result) => Some((result.result, result.sip_code)),
        _ => None,
    };
    assert_eq!(line.find(told).await, (1, 200));
    let end = |event: &Event| match event {
        Event::End(end) => Some((end.by.clone(), end.reason.clone())),
        _ => None,
    };
    assert_eq!(line.find(end).await, ("robot".to_owned(), "handed over to sip:8001@127.0.0.1:5999".to_owned()));
    assert!(line.next().await.is_none(), "nothing more is told");
    let (call_id, incoming) = rig.incoming(0).await;
    let (agent_call, _) = result(&rig, &call_id).await;
    rig.hang_up(&call_id).await;
    let (first, second) = both(&rig, &call_id, &agent_call).await;
    assert_eq!((first.hung_up_by.as_str(), second.caller.as_str()), ("operator", incoming.caller.as_str()));
    assert!(first.turns.iter().any(|turn| turn.text == "[human-hello.wav]"), "{:?}", first.turns);
    let trace = agent.done().await;
    let invite = trace.all_received()[0];
    let uui: Vec<_> = invite.lines().filter_map(|line| line.strip_prefix("User-to-User: ")).map(str::trim).collect();
    assert_eq!(uui, ["04ff;encoding=hex", WRITTEN]);
    phone.done().await;
}

#[tokio::test]
async fn a_refer_that_is_declined_is_bridged_instead() {
    let rig = Rig::start(setup()).await;
    let phone = rig.phone(Phone::new("uas_refer_declined_603")).await;
    let agent = rig.agent(Phone::new("uas_hangs_up_after_a_while").pause_ms(1_000)).await;
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    let refer = Refer { target: "8001".into(), bridge_on_refusal: true, ..Default::default() };
    rig.send(&call_id, Command::Refer(refer)).await;
    let record = rig.ended(&call_id).await;
    let kinds: Vec<_> = record.transfers.iter().map(|t| (t.kind.as_str(), t.result, t.sip_code)).collect();
    assert_eq!(kinds, [("refer", -1, 603), ("bridge", 1, 200)]);
    assert_eq!(record.hung_up_by, "agent");
    agent.done().await;
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn both_hear_each_other_and_the_recording_hears_both() {
    let rig = Rig::start(Setup { record: true, ..setup() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let agent = Peer::spare(&rig).await;
    let media = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Transfer(transfer())).await;
    let invite = agent.request(&Method::Invite).await;
    agent.answer(&invite, 180, &[], "").await;
    agent.answer(&invite, 200, &[], &sdp(&media)).await;
    agent.request(&Method::Ack).await;
    // The agent hears the caller's speech, and says one loud value all the time.
    const LOUD: u8 = 0x2a;
    let (mut buffer, mut heard, mut from) = ([0; 1_500], Vec::new(), None);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for n in 0..150u16 {
        ticks.tick().await;
        while let Ok((length, peer)) = media.try_recv_from(&mut buffer) {
            from = Some(peer);
            heard.extend_from_slice(&buffer[12..length]);
        }
        if let Some(to) = from {
            let mut packet = vec![0x80, 8];
            packet.extend(n.to_be_bytes());
            packet.extend((u32::from(n) * 160).to_be_bytes());
            packet.extend(7u32.to_be_bytes());
            packet.extend([LOUD; 160]);
            media.send_to(&packet, to).await.expect("it is sent");
        }
    }
    let loud = |law_bytes: &[u8]| {
        let mut samples = vec![0; law_bytes.len()];
        Law::A.decode(law_bytes, &mut samples);
        samples.iter().filter(|sample| sample.unsigned_abs() > 500).count()
    };
    assert!(loud(&heard) > 2_000, "the caller's speech: {} of {}", loud(&heard), heard.len());
    agent.back(&invite, "BYE", 2).await;
    let (agent_call, _) = result(&rig, &call_id).await;
    let (first, second) = both(&rig, &call_id, &agent_call).await;
    assert_eq!((first.hung_up_by.as_str(), second.hung_up_by.as_str()), ("agent", "agent"));
    let mut value = [0];
    Law::A.decode(&[LOUD], &mut value);
    let samples: Vec<i16> =
        hound::WavReader::open(&first.wav).expect("the recording").into_samples().map(|s| s.expect("16 bit")).collect();
    let of = |side: usize| samples.iter().skip(side).step_by(2);
    assert!(of(0).filter(|sample| sample.unsigned_abs() > 500).count() > 2_000, "left, the caller");
    let agents = of(1).filter(|sample| **sample == value[0]).count();
    assert!(agents > 12_000, "right, the agent: {agents} samples");
    phone.done().await;
}

#[tokio::test]
async fn a_shutdown_ends_both() {
    let mut rig = Rig::start(setup()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let agent = rig.agent(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(order(&rig)).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Transfer(transfer())).await;
    let (agent_call, _) = result(&rig, &call_id).await;
    soon("both are up", Duration::from_secs(10), async || rig.metric("trunkline_media_legs").await == 2.0).await;
    let state = rig.control().get_call(trunkline::proto::control::v1::GetCallRequest { call_id: agent_call }).await;
    let state = state.expect("it is up").into_inner().call.expect("a call");
    assert_eq!(state.transferred_from, call_id);
    rig.terminate().await;
    assert!(rig.exited().await.success());
    phone.done().await;
    agent.done().await;
}

#[tokio::test]
async fn an_orchestrator_hangs_up_either_and_both_end() {
    for first_one in [true, false] {
        let rig = Rig::start(setup()).await;
        let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
        let agent = rig.agent(Phone::new("uas_answers_after_180")).await;
        let call_id = rig.dial(order(&rig)).await;
        rig.answered(&call_id).await;
        rig.send(&call_id, Command::Transfer(transfer())).await;
        let (agent_call, _) = result(&rig, &call_id).await;
        let hangup = Hangup { now: true, reason: "enough".into(), ..Default::default() };
        rig.send(if first_one { &call_id } else { &agent_call }, Command::Hangup(hangup)).await;
        let (first, second) = both(&rig, &call_id, &agent_call).await;
        assert_eq!((first.hung_up_by.as_str(), second.hung_up_by.as_str()), ("operator", "operator"));
        assert_eq!((first.end_reason.as_str(), second.end_reason.as_str()), ("enough", "enough"));
        phone.done().await;
        agent.done().await;
    }
}

#[tokio::test]
async fn a_transcript_is_told_of_both() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Tone).await;
    for transcript in [true, false] {
        // SIPp speaks without a pause.
        let knobs = "barge_in = \"never\"\nmax_utterance_ms = 1000";
        let rig = Rig::start(Setup { speech: engine.endpoint(), knobs, ..setup() }).await;
        let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
        let agent = rig.agent(Phone::new("uas_answers_after_180")).await;
        let call_id = rig.dial(DialRequest { speech: "local".into(), ..order(&rig) }).await;
        rig.answered(&call_id).await;
        rig.send(&call_id, Command::Transfer(Transfer { transcript, now: true, ..transfer() })).await;
        let (agent_call, _) = result(&rig, &call_id).await;
        let bridged_at = rig.find(&call_id, |event| match &event.event {
            Some(Happened::Transfer(transfer)) if transfer.stage() == Stage::Answered => Some(event.at_ms),
            _ => None,
        });
        let bridged_at = bridged_at.await;
        if transcript {
            for (call, from) in [(&call_id, bridged_at), (&agent_call, 0)] {
                rig.find(call, |event| match &event.event {
                    Some(Happened::Utterance(said)) if said.r#final => {
                        let utterance = said.utterance.as_ref().expect("it has one");
                        (utterance.start_ms >= from && utterance.text.starts_with("utterance ")).then_some(())
                    }
                    _ => None,
                })
                .await;
            }
        } else {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        rig.hang_up(&call_id).await;
        let (first, second) = both(&rig, &call_id, &agent_call).await;
        assert!(first.faults.is_empty() && second.faults.is_empty(), "{first:?} {second:?}");
        if !transcript {
            assert!(first.turns.iter().all(|turn| turn.start_ms <= bridged_at), "{:?}", first.turns);
            assert!(second.turns.is_empty(), "{:?}", second.turns);
        }
        // A recogniser that has been let go has missed nothing.
        assert_eq!(rig.metric_of("trunkline_media_dropped_total", "reason=\"recogniser\"").await, 0.0);
        phone.done().await;
        agent.done().await;
    }
}
