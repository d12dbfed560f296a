//! baresip (Debian's `baresip-core` 1.0.0) as the far end, as the demo drives it.
//!
//! What this version cannot do: PRACK (no 100rel: its 183 is unreliable, ours too then), session timers (none is agreed upon),
//! an attended transfer (no Replaces), go on with the call when its REFER was refused (it hangs up), show a header of ours but in its trace.

use tokio::sync::mpsc::UnboundedReceiver;
use trunkline::command::demo::phone::{Phone, Place, Seen};
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::{Command, Hold, SendKeys};
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome};
use trunkline::proto::dialogue::v1::{Refer, UserToUser};

use crate::rig::{Happened, Kamailio, PATIENCE, Phone as Sipp, Rig, Setup, soon};

/// 300 rings with SDP, all others are answered at once.
const ROUTES: &str = "[[inbound]]\ncallee = \"300\"\nanswer = { after_ms = 500 }\nearly_media = true\n\
                      dialogue = \"none\"\nspeech = \"none\"\n\
                      [[inbound]]\ncallee = \"*\"\ndialogue = \"none\"\nspeech = \"none\"\n";

/// The trunk to Kamailio.
const REGISTERED: &str = "called = \"to\"\n[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";

/// One that is there, and what it has seen.
struct Far {
    phone: Phone,
    seen: UnboundedReceiver<Seen>,
    folder: std::path::PathBuf,
}

impl Far {
    /// At the port of the trunk's phone, or at another one.
    async fn start(rig: &Rig, user: &str, sip: u16) -> Far {
        let (_, rtp) = rig.ports.caller();
        let folder = rig.folder().join(format!("baresip-{sip}"));
        let place = Place { folder: folder.clone(), sip, control: sip + 2, rtp, user: user.to_owned() };
        let (phone, seen) = Phone::start(place).await.expect("baresip-core is installed");
        Far { phone, seen, folder }
    }

    async fn sees(&mut self, kind: &str) {
        let search = async { while self.seen.recv().await.expect("it lives").kind != kind {} };
        assert!(tokio::time::timeout(PATIENCE, search).await.is_ok(), "baresip sees {kind}");
    }

    async fn is_told(&mut self, command: &str, params: &str) {
        self.phone.command(command, params).await.expect("it does so");
    }

    /// Lines of its trace of all messages that begin so.
    fn lines(&self, start: &str) -> usize {
        let log = std::fs::read(self.folder.join("baresip.log")).expect("its log");
        String::from_utf8_lossy(&log).lines().filter(|line| line.trim_start().starts_with(start)).count()
    }

    /// It calls a number of ours.
    async fn calls(&mut self, rig: &Rig, number: &str, port: u16) -> String {
        self.phone.dial(&format!("sip:{number}@127.0.0.1:{port}")).await.expect("it dials");
        let (call_id, incoming) = rig.incoming(0).await;
        assert_eq!(incoming.callee, number);
        self.sees("CALL_ESTABLISHED").await;
        rig.answered(&call_id).await;
        call_id
    }

    /// It is called, and answers.
    async fn takes(&mut self, rig: &Rig, order: DialRequest) -> String {
        let call_id = rig.dial(order).await;
        self.sees("CALL_INCOMING").await;
        self.phone.accept().await.expect("it answers");
        rig.answered(&call_id).await;
        call_id
    }
}

async fn stage() -> (Rig, Far) {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let far = Far::start(&rig, "100", rig.ports.phone()).await;
    (rig, far)
}

/// Through Kamailio: Trunkline is registered.
async fn proxied() -> (Rig, Kamailio, Far) {
    let trunk = format!("{REGISTERED}{ROUTES}").leak();
    let rig = Rig::start(Setup { trunk, proxied: true, ..Setup::default() }).await;
    let kamailio = Kamailio::start(&rig).await;
    let far = Far::start(&rig, "100", rig.ports.phone()).await;
    rig.registered().await;
    (rig, kamailio, far)
}

/// Waits until it has been heard for a second.
async fn heard(rig: &Rig) {
    soon("it is heard", PATIENCE, async || rig.metric("trunkline_media_packets_received_total").await > 50.0).await;
}

async fn ended(rig: &Rig, call_id: &str, by: &str) -> CallRecord {
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.hung_up_by.as_str()), (Outcome::Success, 200, by));
    let quality = record.quality.as_ref().expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
    record
}

/// It holds and resumes, is held and resumed.
async fn holds_all_ways(rig: &Rig, far: &mut Far, call_id: &str) {
    far.is_told("hold", "").await;
    assert_eq!(rig.held(call_id, 0).await, (false, true));
    far.is_told("resume", "").await;
    assert_eq!(rig.held(call_id, 1).await, (false, false));
    rig.send(call_id, Command::Hold(Hold { on: true })).await;
    assert_eq!(rig.held(call_id, 2).await, (true, false));
    rig.send(call_id, Command::Hold(Hold { on: false })).await;
    assert_eq!(rig.held(call_id, 3).await, (false, false));
}

/// It wants to transfer us; that is refused, and then it hangs up by itself.
async fn refers_in_vain(rig: &Rig, far: &mut Far, call_id: &str) {
    far.is_told("transfer", "sip:900@127.0.0.1").await;
    let refused = rig.find(call_id, |event| match &event.event {
        Some(Happened::ReferRefused(refused)) => Some((refused.target.clone(), refused.sip_code)),
        _ => None,
    });
    assert_eq!(refused.await, ("sip:900@127.0.0.1".to_owned(), 603));
}

#[tokio::test]
async fn a_baresip_whose_transfer_is_followed_leaves_us_to_its_target() {
    let trunk =
        format!("[transfer]\ninbound_refer = \"follow\"\ninbound_refer_hosts = [\"127.0.0.2\"]\n{ROUTES}").leak();
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let mut far = Far::start(&rig, "100", rig.ports.phone()).await;
    let target = rig.phone(Sipp::new("uas_answers_after_180").at("127.0.0.2")).await;
    let call_id = far.calls(&rig, "100", rig.ports.sip()).await;
    heard(&rig).await;
    far.is_told("transfer", &format!("sip:900@127.0.0.2:{}", rig.ports.phone())).await;
    let mut told = Vec::new();
    rig.find(&call_id, |event| {
        let Some(Happened::Referred(referred)) = &event.event else { return None };
        told.push((referred.stage(), referred.sip_code));
        matches!(referred.stage(), Stage::Answered | Stage::Failed).then_some(())
    })
    .await;
    assert_eq!((told[0], told.last()), ((Stage::Started, 0), Some(&(Stage::Answered, 200))));
    far.sees("CALL_CLOSED").await;
    soon("it has heard how that went", PATIENCE, async || far.lines("SIP/2.0 200 OK") > 0).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.transfers[0].kind.as_str(), record.transfers[0].result), ("refer_in", 1));
    assert_eq!((record.direction, record.caller.as_str()), (2, "100"), "it is the call that came in");
    target.done().await;
    rig.idle().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn a_baresip_that_calls_is_heard_presses_keys_holds_and_refers_in_vain() {
    let (rig, mut far) = stage().await;
    let call_id = far.calls(&rig, "100", rig.ports.sip()).await;
    heard(&rig).await;
    far.phone.press("5#").await.expect("it has keys");
    rig.keys(&call_id, 2).await;
    holds_all_ways(&rig, &mut far, &call_id).await;
    refers_in_vain(&rig, &mut far, &call_id).await;
    assert_eq!(ended(&rig, &call_id, "caller").await.keys, "5#");
    rig.idle().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn a_baresip_without_100rel_hears_our_early_media_and_is_hung_up() {
    let (rig, mut far) = stage().await;
    let call_id = far.calls(&rig, "300", rig.ports.sip()).await;
    assert_eq!((far.lines("SIP/2.0 183 "), far.lines("PRACK "), far.lines("RSeq")), (1, 0, 0));
    heard(&rig).await;
    rig.hang_up(&call_id).await;
    far.sees("CALL_CLOSED").await;
    ended(&rig, &call_id, "operator").await;
    rig.idle().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn a_baresip_is_called_with_user_to_user_hears_our_keys_holds_and_hangs_up() {
    let (rig, mut far) = stage().await;
    let uui = vec![UserToUser { bytes: vec![4, 0x68], ..Default::default() }];
    let order = DialRequest { user_to_user_values: uui, ..rig.order() };
    let call_id = far.takes(&rig, order).await;
    soon("it sees the header", PATIENCE, async || far.lines("User-to-User: 0468;encoding=hex") == 1).await;
    heard(&rig).await;
    rig.send(&call_id, Command::SendKeys(SendKeys { keys: "7".into() })).await;
    far.sees("CALL_DTMF_START").await;
    holds_all_ways(&rig, &mut far, &call_id).await;
    far.phone.hang_up().await.expect("it hangs up");
    ended(&rig, &call_id, "caller").await;
    rig.idle().await;
    far.phone.quit().await;
}

/// How often the line is told, and what is offered beside the audio.
const MEASURED: &str = "[media]\nquality_every_s = 1\nrtcp_xr = \"always\"\n";

/// Waits until the call has measured its round trip, and the far end has said how it hears us.
async fn measured(rig: &Rig, call_id: &str) {
    rig.find(call_id, |event| match &event.event {
        Some(Happened::Quality(quality)) => {
            let so_far = quality.so_far.as_ref().expect("it is told");
            so_far.round_trip_ms.and(so_far.peer_lost)
        }
        _ => None,
    })
    .await;
}

/// A call each way, measured, through a hold. What goes by which port is seen by tshark, and what it thinks of our reports.
async fn reports(mux: &str, shared: bool) {
    let rig = Rig::start(Setup { trunk: format!("{MEASURED}rtcp_mux = {mux:?}\n{ROUTES}").leak(), ..Setup::default() });
    let rig = rig.await;
    let mut far = Far::start(&rig, "100", rig.ports.phone()).await;
    let file = rig.folder().join("reports.pcapng");
    let tshark = crate::wire::capture(&rig, &file).await;
    for ours in [true, false] {
        let call_id = if ours {
            let order = rig.order();
            far.takes(&rig, order).await
        } else {
            far.calls(&rig, "100", rig.ports.sip()).await
        };
        measured(&rig, &call_id).await;
        rig.send(&call_id, Command::Hold(Hold { on: true })).await;
        assert_eq!(rig.held(&call_id, 0).await, (true, false));
        rig.send(&call_id, Command::Hold(Hold { on: false })).await;
        assert_eq!(rig.held(&call_id, 1).await, (false, false));
        rig.hang_up(&call_id).await;
        far.sees("CALL_CLOSED").await;
        let quality = ended(&rig, &call_id, "operator").await.quality.expect("how the line was");
        let heard = quality.heard.expect("it was heard");
        // How late a busy machine serves the two is no matter of this test.
        assert!(quality.round_trip_ms.is_some() && heard.round_trip_ms == quality.round_trip_ms, "{quality:?}");
        assert_eq!((quality.lost, heard.loss_rate), (0, 0.0), "{quality:?}");
        assert!(heard.mos_lq.is_some() && heard.r_factor.is_some() && heard.mos_cq.is_some(), "{quality:?}");
        assert_eq!(quality.peer_heard, None, "this one sends no extended reports");
        rig.idle().await;
    }
    assert!(rig.metric("trunkline_line_round_trip_seconds_count").await >= 2.0);
    far.phone.quit().await;
    let Some(tshark) = tshark else { return };
    crate::wire::captured(tshark).await;
    let (first, last) = rig.ports.media().into_inner();
    let of_us = format!("rtcp && udp.srcport >= {first} && udp.srcport <= {last}");
    let sent = crate::wire::fields(&file, &of_us, &["udp.srcport", "rtcp.pt", "rtcp.xr.bt"]).await;
    assert!(sent.len() >= 4, "{sent:?}");
    for compound in &sent {
        let columns: Vec<_> = compound.split('\t').collect();
        let [port, kinds, blocks] = columns[..] else { panic!("{compound}") };
        let port: u16 = port.parse().expect("a port");
        assert_eq!(port.is_multiple_of(2), shared, "the audio's is even: {compound}");
        assert!(kinds.starts_with("200,202") || kinds.starts_with("201,202"), "{compound}");
        assert!(blocks.is_empty() || kinds.contains("207"), "{compound}");
    }
    assert!(sent.iter().any(|compound| compound.ends_with('7')), "VoIP metrics: {sent:?}");
    assert!(sent.iter().any(|compound| compound.contains("203")), "BYE: {sent:?}");
    let of_it = format!("rtcp && udp.dstport >= {first} && udp.dstport <= {last}");
    let came = crate::wire::fields(&file, &of_it, &["udp.dstport"]).await;
    assert!(
        !came.is_empty()
            && came.iter().all(|port| port.parse::<u16>().is_ok_and(|port| port.is_multiple_of(2) == shared))
    );
    let wrong = crate::wire::fields(
        &file,
        &format!("{of_us} && (_ws.malformed || _ws.expert.severity == \"Error\")"),
        &["frame.number"],
    )
    .await;
    assert_eq!(wrong, [""; 0], "tshark finds nothing wrong");
}

#[tokio::test]
async fn reports_go_by_the_audios_port_where_both_sides_say_so() {
    reports("offer", true).await;
}

#[tokio::test]
async fn reports_go_by_a_port_of_their_own_where_one_side_will_not_share() {
    reports("off", false).await;
}

#[tokio::test]
async fn a_baresip_declines() {
    let (rig, mut far) = stage().await;
    let call_id = rig.dial(rig.order()).await;
    far.sees("CALL_INCOMING").await;
    far.phone.hang_up().await.expect("it declines");
    let record = rig.ended(&call_id).await;
    assert_eq!((record.sip_code, record.outcome()), (486, Outcome::Linebusy));
    rig.idle().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn a_baresip_that_is_referred_calls_another_one() {
    let (rig, mut far) = stage().await;
    let (port, _) = rig.ports.caller();
    // Its TLS and control ports stand above, and so do those of the first one.
    let mut other = Far::start(&rig, "300", port + 10).await;
    let order = rig.order();
    let call_id = far.takes(&rig, order).await;
    heard(&rig).await;
    let refer = Refer { target: format!("300@127.0.0.1:{}", port + 10), ..Default::default() };
    rig.send(&call_id, Command::Refer(refer)).await;
    other.sees("CALL_INCOMING").await;
    other.phone.accept().await.expect("it answers");
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    assert_eq!(ended(&rig, &call_id, "operator").await.transfers[0].outcome, "transferred");
    rig.idle().await;
    other.phone.quit().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn through_kamailio_a_baresip_calls_holds_and_is_held() {
    let (rig, _kamailio, mut far) = proxied().await;
    let call_id = far.calls(&rig, "100", rig.ports.proxy()).await;
    heard(&rig).await;
    holds_all_ways(&rig, &mut far, &call_id).await;
    rig.hang_up(&call_id).await;
    far.sees("CALL_CLOSED").await;
    ended(&rig, &call_id, "operator").await;
    rig.idle().await;
    far.phone.quit().await;
}

#[tokio::test]
async fn through_kamailio_a_baresip_is_called_holds_and_refers_in_vain() {
    let (rig, _kamailio, mut far) = proxied().await;
    let order = rig.order();
    let call_id = far.takes(&rig, order).await;
    heard(&rig).await;
    holds_all_ways(&rig, &mut far, &call_id).await;
    refers_in_vain(&rig, &mut far, &call_id).await;
    ended(&rig, &call_id, "caller").await;
    rig.idle().await;
    far.phone.quit().await;
}
