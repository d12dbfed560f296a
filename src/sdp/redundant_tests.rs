//! RFC 2198 in offers and answers.

use super::*;

const HEAD: [&str; 5] = ["v=0", "o=- 1 1 IN IP4 198.51.100.1", "s=-", "c=IN IP4 198.51.100.1", "t=0 0"];

fn text(lines: &[&str]) -> Vec<u8> {
    HEAD.iter().chain(lines).map(|line| format!("{line}\r\n")).collect::<String>().into_bytes()
}

fn negotiator(formats: &[AudioFormat]) -> Negotiator {
    let capabilities = Capabilities { formats: formats.to_vec(), ..Capabilities::default() };
    Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), capabilities)
}

fn answered(lines: &[&str]) -> (Description, Negotiated) {
    let mut negotiator = negotiator(&[AudioFormat::Pcma, AudioFormat::Pcmu, AudioFormat::Opus]);
    let (answer, agreed) = negotiator.answer(&text(lines)).unwrap();
    (parse(&answer).unwrap(), agreed)
}

const EVENTS: &str = "a=rtpmap:101 telephone-event/8000";

#[test]
fn what_is_offered_is_taken_as_far_as_its_formats_were_agreed_on() {
    let (answer, agreed) =
        answered(&["m=audio 5000 RTP/AVP 8 18 101 121", EVENTS, "a=rtpmap:121 RED/8000", "a=fmtp:121 101/101/8/18"]);
    assert_eq!(agreed.redundancy, Some(121));
    assert_eq!(answer.media[0].formats, ["8", "101", "121"]);
    assert_eq!(answer.media[0].rtpmap(121), Some(("red", 8_000)));
    assert_eq!(answer.media[0].fmtp(121), Some("101/101/8"), "G.729 was not");
}

#[test]
fn beside_opus_it_has_its_clock() {
    let opus = ["m=audio 5000 RTP/AVP 111 63", "a=rtpmap:111 opus/48000/2"];
    let offer = |lines: [&'static str; 2]| [opus, lines].concat();
    let (answer, agreed) = answered(&offer(["a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111"]));
    assert_eq!((agreed.codec, agreed.redundancy), (AudioFormat::Opus, Some(63)));
    assert_eq!(answer.media[0].attribute("rtpmap"), Some("111 opus/48000/2"));
    assert_eq!(answer.media[0].channels(63), 2);
    assert_eq!(answered(&offer(["a=rtpmap:63 red/8000", "a=fmtp:63 111/111"])).1.redundancy, None);
}

#[test]
fn what_does_not_say_what_it_holds_or_holds_nothing_of_ours_is_not_taken() {
    for fmtp in ["a=x", "a=fmtp:121 ", "a=fmtp:121 18/18", "a=fmtp:121 no"] {
        let (answer, agreed) = answered(&["m=audio 5000 RTP/AVP 8 101 121", EVENTS, "a=rtpmap:121 red/8000", fmtp]);
        assert_eq!((agreed.redundancy, answer.media[0].formats.len()), (None, 2), "{fmtp:?}");
    }
}

#[test]
fn we_offer_none_and_an_answer_cannot_bring_it_in() {
    let mut ours = negotiator(&[AudioFormat::Pcma]);
    let offer = ours.offer(Direction::SendRecv);
    assert!(!String::from_utf8(offer).unwrap().contains("red/"));
    let answer = text(&["m=audio 5000 RTP/AVP 8 121", "a=rtpmap:121 red/8000", "a=fmtp:121 8/8"]);
    assert_eq!(ours.accept(&answer).unwrap().redundancy, None);
}

#[test]
fn agreed_on_once_it_is_in_our_next_offer_under_a_number_that_is_nobody_elses() {
    let mut ours = negotiator(&[AudioFormat::Pcma, AudioFormat::Opus]);
    // 111 is what we would offer Opus under.
    let first = text(&["m=audio 5000 RTP/AVP 8 111", "a=rtpmap:111 red/8000", "a=fmtp:111 8/8"]);
    assert_eq!(ours.answer(&first).unwrap().1.redundancy, Some(111));
    let again = parse(&ours.offer(Direction::SendRecv)).unwrap();
    assert_eq!(again.media[0].rtpmap(111), Some(("red", 8_000)));
    let opus: Vec<u8> = again.media[0].formats.iter().map(|number| number.parse().unwrap()).collect();
    let opus: Vec<_> =
        opus.into_iter().filter(|number| again.media[0].rtpmap(*number) == Some(("opus", 48_000))).collect();
    assert!(opus.len() == 1 && opus[0] != 111, "{again:?}");
    let keeps = text(&["m=audio 5000 RTP/AVP 8 111", "a=rtpmap:111 red/8000", "a=fmtp:111 8/8"]);
    assert_eq!(ours.accept(&keeps).unwrap().redundancy, Some(111));
    assert_eq!(ours.accept(&text(&["m=audio 5000 RTP/AVP 8"])).unwrap().redundancy, None, "it may be left out");
}
