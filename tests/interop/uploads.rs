//! Recordings on their way to a service that checks signatures, and what happens when it does not take them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use trunkline::proto::control::v1::event::RecordUploaded;
use trunkline::proto::control::v1::send_request::Command as Order;

use crate::rig::{Folder, Happened, Phone, Ports, Rig, Service, Setup, say, soon, upload_to};

/// A service, and a Trunkline that uploads to it; `more` are lines about the upload, `secret` is another one than the service's.
async fn rig(more: &str, secret: Option<&str>) -> (Rig, Service) {
    let (ports, folder) = (Ports::take(), Folder::new());
    let service = Service::start(ports.spare(), &folder.0).await;
    serve(ports, folder, service, more, secret).await
}

/// The same over TLS.
async fn rig_tls(more: &str) -> (Rig, Service) {
    let (ports, folder) = (Ports::take(), Folder::new());
    let service = Service::start_tls(ports.spare(), &folder.0).await;
    serve(ports, folder, service, more, None).await
}

async fn serve(ports: Ports, folder: Folder, service: Service, more: &str, secret: Option<&str>) -> (Rig, Service) {
    let config = Setup { record: true, ..Setup::default() }.write(&folder.0, &ports);
    let (endpoint, key, secret) = (service.endpoint(), &service.access_key, secret.unwrap_or(&service.secret_key));
    let lines = format!(
        "url = \"s3://calls/eu\"\nendpoint = \"{endpoint}\"\naccess_key = \"{key}\"\nsecret_key = \"{secret}\"\n{more}"
    );
    upload_to(&config, &lines);
    (Rig::serve(ports, folder, config).await, service)
}

/// The next thing that is told of a call's upload, from a wanted attempt on.
async fn uploaded(rig: &Rig, call_id: &str, there: bool) -> RecordUploaded {
    rig.find(call_id, |event| match &event.event {
        Some(Happened::RecordUploaded(told)) if told.reason.is_empty() == there => Some(told.clone()),
        _ => None,
    })
    .await
}

async fn call(rig: &Rig) -> String {
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Order::Say(say("hello", &["human-thank-you.wav"]))).await;
    rig.finished(&call_id, "hello").await;
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    rig.ended(&call_id).await;
    phone.done().await;
    call_id
}

fn markers(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("recordings")).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".upload")).collect()
}

#[tokio::test]
async fn a_recording_waits_for_its_bucket_and_is_there_whole_when_there_is_one() {
    let (rig, service) = rig("", None).await;
    let call_id = call(&rig).await;
    let failed = uploaded(&rig, &call_id, false).await;
    let wanted = format!(
        "{} has no bucket \"calls\"; make it, or name another one in [recording.upload] url",
        service.endpoint()
    );
    assert_eq!(failed.reason, wanted);
    assert_eq!(markers(rig.folder()), [format!(".{call_id}.upload")]);
    service.unsigned("PUT", "/calls").await;
    let told = uploaded(&rig, &call_id, true).await;
    assert!(told.attempts > 1, "{told:?}");
    let place = |ending: &str| format!("s3://calls/eu/{call_id}.{ending}");
    assert_eq!((told.wav_url, told.json_url), (place("wav"), place("json")));
    let mut bytes = 0;
    for ending in ["wav", "json"] {
        let here = fs::read(rig.folder().join(format!("recordings/{call_id}.{ending}"))).expect("here");
        let there = service.unsigned("GET", &format!("/calls/eu/{call_id}.{ending}")).await;
        assert!(here == there, "{ending}: {} and {} bytes", here.len(), there.len());
        bytes += here.len() as u64;
    }
    assert_eq!(told.bytes, bytes);
    assert!(markers(rig.folder()).is_empty());
    assert_eq!(rig.metric("trunkline_journal_uploaded_total").await, 1.0);
    assert_eq!(rig.metric("trunkline_journal_uploaded_bytes_total").await, bytes as f64);
    assert!(rig.metric("trunkline_journal_upload_failures_total").await >= 1.0);
    assert_eq!(rig.metric("trunkline_journal_upload_waiting").await, 0.0);
}

#[tokio::test]
async fn a_wrong_key_is_told_with_key_and_bucket_and_the_recording_stays() {
    let (rig, service) = rig("delete_after_upload = true\n", Some("a-wrong-secret")).await;
    service.unsigned("PUT", "/calls").await;
    let call_id = call(&rig).await;
    let reason = uploaded(&rig, &call_id, false).await.reason;
    let wanted = format!("does not let access key {:?} write into bucket \"calls\"", service.access_key);
    assert!(reason.contains(&wanted) && reason.contains("SignatureDoesNotMatch"), "{reason}");
    let log = rig.log();
    assert!(log.contains("uploads fail") && log.contains("SignatureDoesNotMatch"), "{log}");
    assert!(!log.contains("a-wrong-secret"), "no secret is shown");
    assert!(rig.folder().join(format!("recordings/{call_id}.wav")).exists());
    assert_eq!(markers(rig.folder()).len(), 1);
}

#[tokio::test]
async fn killed_before_the_upload_it_goes_on_after_the_next_start() {
    let (mut rig, service) = rig("delete_after_upload = true\n", None).await;
    let ended = call(&rig).await;
    uploaded(&rig, &ended, false).await;
    let _phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let killed = rig.dial(rig.order()).await;
    rig.answered(&killed).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    rig.kill().await;
    assert_eq!(markers(rig.folder()).len(), 2, "one of the call that is over, one of the one that was up");
    service.unsigned("PUT", "/calls").await;
    let rig = rig.again().await;
    for (call_id, record) in [(&ended, true), (&killed, false)] {
        let told = uploaded(&rig, call_id, true).await;
        assert_eq!(told.wav_url, format!("s3://calls/eu/{call_id}.wav"));
        assert_eq!(!told.json_url.is_empty(), record, "{told:?}");
        let there = service.unsigned("GET", &format!("/calls/eu/{call_id}.wav")).await;
        assert_eq!(&there[..4], b"RIFF");
    }
    let left = || fs::read_dir(rig.folder().join("recordings")).map(Iterator::count);
    soon("what is there is here no more", Duration::from_secs(5), async || left().is_ok_and(|n| n == 0)).await;
}

#[tokio::test]
async fn a_service_that_is_down_harms_no_call() {
    let (rig, service) = rig("", None).await;
    drop(service);
    for _ in 0..2 {
        let call_id = call(&rig).await;
        let reason = uploaded(&rig, &call_id, false).await.reason;
        assert!(reason.contains("cannot be reached") && reason.contains("refused"), "{reason}");
    }
    assert_eq!(rig.metric("trunkline_journal_upload_waiting").await, 2.0);
    assert_eq!(rig.metric("trunkline_journal_frames_missing_total").await, 0.0);
    assert_eq!(rig.metric("trunkline_journal_frames_lost_total").await, 0.0);
}

#[tokio::test]
async fn over_tls_it_goes_to_a_service_whose_authority_is_named() {
    let (rig, service) = rig_tls("ca = \"ca.pem\"\n").await;
    service.unsigned("PUT", "/calls").await;
    let call_id = call(&rig).await;
    let told = uploaded(&rig, &call_id, true).await;
    assert_eq!(told.wav_url, format!("s3://calls/eu/{call_id}.wav"));
    let here = fs::read(rig.folder().join(format!("recordings/{call_id}.wav"))).expect("here");
    let there = service.unsigned("GET", &format!("/calls/eu/{call_id}.wav")).await;
    assert!(here == there, "{} and {} bytes", here.len(), there.len());
    assert!(markers(rig.folder()).is_empty());
}

#[tokio::test]
async fn nothing_goes_to_a_service_for_whom_nobody_vouches() {
    let (rig, service) = rig_tls("").await;
    service.unsigned("PUT", "/calls").await;
    let call_id = call(&rig).await;
    let reason = uploaded(&rig, &call_id, false).await.reason;
    assert!(reason.contains("invalid peer certificate: UnknownIssuer"), "{reason}");
    assert!(reason.ends_with("name who vouches for it in [recording.upload] ca"), "{reason}");
    assert_eq!(markers(rig.folder()).len(), 1, "it waits");
    assert!(rig.folder().join(format!("recordings/{call_id}.wav")).exists());
}
