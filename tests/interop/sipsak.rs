//! sipsak (Debian's `sipsak`): what operators ask with whether somebody is there; and its modes that send many, and nonsense.

use tokio::process::Command;

use crate::rig::{ANSWERED, PATIENCE, Phone, Rig, Setup};

/// Runs it; whether it is satisfied, and what it said.
async fn sipsak(rig: &Rig, args: &[&str]) -> (bool, String) {
    let uri = format!("sip:100@127.0.0.1:{}", rig.ports.sip());
    let run = Command::new("sipsak").args(args).args(["-s", &uri]).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("it ends in time");
    let output = output.unwrap_or_else(|error| panic!("sipsak: {error}; Debian has it in the package sipsak"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn sipsak_is_answered_and_its_flood_and_its_nonsense_begin_no_call_and_end_none() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let (satisfied, said) = sipsak(&rig, &["-vv"]).await;
    assert!(satisfied && said.contains("SIP/2.0 200 OK") && said.contains("Allow: INVITE"), "{said}");
    let phone = rig.phone(Phone::new("uac_plain_call").pause_ms(6_000)).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    // 2,000 OPTIONS as fast as they can be sent, whose answers are for nobody.
    let (satisfied, said) = sipsak(&rig, &["-F", "-e", "2000"]).await;
    assert!(satisfied, "{said}");
    // Requests of which one byte after the other is spoilt, until one is no request any more.
    let random = tokio::join!(sipsak(&rig, &["-R", "-v"]), sipsak(&rig, &["-R", "-v"]), sipsak(&rig, &["-R", "-v"]));
    assert!([random.0, random.1, random.2].iter().all(|(_, said)| !said.is_empty()));
    assert!(rig.metric("trunkline_sip_datagrams_received_total").await > 100.0);
    // It is there as before, and the call that was up has noticed nothing.
    assert!(sipsak(&rig, &[]).await.0);
    phone.done().await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.hung_up_by, "caller", "{record:?}");
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 1.0);
    rig.idle().await;
}
