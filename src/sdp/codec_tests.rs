//! Which encoding, under which number, with which packet time and events.

use super::*;

const ALL: [AudioFormat; 6] = [
    AudioFormat::Opus,
    AudioFormat::G722,
    AudioFormat::Pcma,
    AudioFormat::Pcmu,
    AudioFormat::L16Wide,
    AudioFormat::L16,
];

fn with(formats: &[AudioFormat]) -> Negotiator {
    let capabilities = Capabilities { formats: formats.to_vec(), ..Capabilities::default() };
    Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), capabilities)
}

fn theirs(lines: &[&str]) -> Vec<u8> {
    let head = ["v=0", "o=- 1 1 IN IP4 198.51.100.1", "s=-", "c=IN IP4 198.51.100.1", "t=0 0"];
    head.iter().chain(lines).map(|line| format!("{line}\r\n")).collect::<String>().into_bytes()
}

/// An `m=` line and attributes, as one text with blanks for line ends.
fn described(text: &str) -> Vec<u8> {
    theirs(&text.split(" | ").collect::<Vec<_>>())
}

#[test]
fn our_offer_of_everything() {
    let sdp = String::from_utf8(with(&ALL).offer(Direction::SendRecv)).unwrap();
    assert!(
        sdp.ends_with(
            "m=audio 4000 RTP/AVP 111 9 8 0 112 114 101 110 113\r\n\
             a=rtpmap:111 opus/48000/2\r\n\
             a=fmtp:111 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1\r\n\
             a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:112 L16/16000\r\n\
             a=rtpmap:114 L16/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-16\r\n\
             a=rtpmap:113 telephone-event/16000\r\na=fmtp:113 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        ),
        "{sdp}"
    );
}

#[test]
fn an_offer_is_answered_with_its_first_encoding_that_we_have_under_its_number() {
    use AudioFormat::*;
    // What is offered, what is agreed on, its number, the event's number and clock, the m= line of the answer.
    for (offered, codec, number, event, clock, answer) in [
        ("m=audio 5000 RTP/AVP 9 8", G722, 9, None, 8_000, "9"),
        ("m=audio 5000 RTP/AVP 0 9", Pcmu, 0, None, 8_000, "0"),
        ("m=audio 5000 RTP/AVP 18 120 0 | a=rtpmap:120 g722/8000/1", G722, 120, None, 8_000, "120"),
        (
            "m=audio 5000 RTP/AVP 96 9 101 100 | a=rtpmap:96 OPUS/48000/2 | a=rtpmap:101 telephone-event/8000 | a=rtpmap:100 telephone-event/48000",
            Opus,
            96,
            Some(100),
            48_000,
            "96 100",
        ),
        // Phones that have events of one clock only send them beside Opus all the same.
        (
            "m=audio 5000 RTP/AVP 101 97 | a=rtpmap:101 opus/48000/2 | a=rtpmap:97 telephone-event/8000",
            Opus,
            101,
            Some(97),
            8_000,
            "101 97",
        ),
        ("m=audio 5000 RTP/AVP 98 | a=rtpmap:98 L16/16000", L16Wide, 98, None, 8_000, "98"),
        ("m=audio 5000 RTP/AVP 99 | a=rtpmap:99 L16/8000/1", L16, 99, None, 8_000, "99"),
        (
            "m=audio 5000 RTP/AVP 98 97 | a=rtpmap:98 L16/16000 | a=rtpmap:97 telephone-event/16000",
            L16Wide,
            98,
            Some(97),
            16_000,
            "98 97",
        ),
        // Two channels, or another rate, are not ours.
        ("m=audio 5000 RTP/AVP 98 99 8 | a=rtpmap:98 L16/16000/2 | a=rtpmap:99 L16/44100", Pcma, 8, None, 8_000, "8"),
        // Events of another clock than the encoding's are not.
        ("m=audio 5000 RTP/AVP 9 97 | a=rtpmap:97 telephone-event/48000", G722, 9, None, 8_000, "9"),
        // A static number that is said to be something else is that.
        ("m=audio 5000 RTP/AVP 9 0 | a=rtpmap:9 G726-32/8000", Pcmu, 0, None, 8_000, "0"),
    ] {
        let (sdp, agreed) = with(&ALL).answer(&described(offered)).expect(offered);
        let sdp = parse(&sdp).unwrap();
        assert_eq!((agreed.codec, agreed.payload_type, agreed.payload_type_in), (codec, number, number), "{offered}");
        assert_eq!((agreed.telephone_event, agreed.telephone_event_in), (event, event), "{offered}");
        assert_eq!(agreed.event_clock, clock, "{offered}");
        assert_eq!(sdp.media[0].formats.join(" "), answer, "{offered}");
        assert_eq!(AudioFormat::of(&sdp.media[0], number), Some(codec), "{offered}: the answer says what it is");
    }
    assert_eq!(
        with(&[Pcma]).answer(&described("m=audio 5000 RTP/AVP 9 0")).unwrap_err(),
        NegotiationError::NoCommonFormat
    );
}

#[test]
fn an_answer_may_have_numbers_of_its_own() {
    let mut ours = with(&ALL);
    ours.offer(Direction::SendRecv);
    let agreed = ours
        .accept(&described(
            "m=audio 5000 RTP/AVP 96 97 | a=rtpmap:96 opus/48000/2 | a=rtpmap:97 telephone-event/48000 | a=fmtp:97 0-15",
        ))
        .unwrap();
    assert_eq!((agreed.payload_type, agreed.payload_type_in), (96, 111), "RFC 3264 §6.1: each side sends the other's");
    assert_eq!((agreed.telephone_event, agreed.telephone_event_in, agreed.event_clock), (Some(97), Some(110), 48_000));
}

#[test]
fn a_number_means_the_same_for_the_whole_call() {
    let mut ours = with(&ALL);
    // Their Opus has our number of L16, their events that of Opus.
    let offered = "m=audio 5000 RTP/AVP 112 111 | a=rtpmap:112 opus/48000/2 | a=rtpmap:111 telephone-event/48000";
    ours.answer(&described(offered)).unwrap();
    let again = parse(&ours.offer(Direction::SendRecv)).unwrap();
    let media = &again.media[0];
    assert_eq!(AudioFormat::of(media, 112), Some(AudioFormat::Opus));
    assert_eq!(media.rtpmap(111), Some(("telephone-event", 48_000)));
    let mut numbers = media.formats.clone();
    assert_eq!(numbers.len(), ALL.len() + 3, "{numbers:?}");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), ALL.len() + 3, "each its own: {:?}", media.formats);
    for format in ALL {
        let found = numbers.iter().filter(|n| AudioFormat::of(media, n.parse().unwrap()) == Some(format));
        assert_eq!(found.count(), 1, "{format:?}");
    }
}

#[test]
fn the_call_goes_over_to_another_encoding() {
    let mut ours = with(&ALL);
    ours.answer(&described("m=audio 5000 RTP/AVP 9 | a=ptime:20")).unwrap();
    let (sdp, agreed) = ours
        .answer(&described(
            "m=audio 5000 RTP/AVP 96 0 | a=rtpmap:96 opus/48000/2 | a=fmtp:96 useinbandfec=1 | a=ptime:40",
        ))
        .unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.ptime_ms), (AudioFormat::Opus, 96, 40));
    assert!(agreed.opus.inband_fec);
    assert_eq!(parse(&sdp).unwrap().origin.version, "2");
    let (_, agreed) = ours.answer(&described("m=audio 5000 RTP/AVP 0 | a=ptime:10")).unwrap();
    assert_eq!((agreed.codec, agreed.ptime_ms), (AudioFormat::Pcmu, 10));
}

#[test]
fn packets_are_as_long_as_the_far_side_likes_them() {
    for (said, ptime) in [
        ("", 20),
        (" | a=ptime:30", 30),
        (" | a=ptime:60 | a=maxptime:40", 40),
        (" | a=maxptime:10", 10),
        (" | a=maxptime:150", 20),
        (" | a=ptime:0", 20),
        (" | a=ptime:soon", 20),
        (" | a=ptime:5000", 20),
    ] {
        let (_, agreed) = with(&ALL).answer(&described(&format!("m=audio 5000 RTP/AVP 8{said}"))).unwrap();
        assert_eq!(agreed.ptime_ms, ptime, "{said}");
    }
    let asks = |formats: &[AudioFormat], ptime_ms| {
        let capabilities = Capabilities { formats: formats.to_vec(), ptime_ms, ..Capabilities::default() };
        let mut ours = Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), capabilities);
        parse(&ours.offer(Direction::SendRecv)).unwrap().media[0].attribute("ptime").map(str::to_owned)
    };
    assert_eq!(asks(&[AudioFormat::Pcma], 60).as_deref(), Some("60"));
    assert_eq!(asks(&[AudioFormat::L16Wide], 60).as_deref(), Some("40"), "more would not fit into a datagram");
}

#[test]
fn what_is_asked_of_opus() {
    let asked = |fmtp: &str| {
        let offered = format!("m=audio 5000 RTP/AVP 96 | a=rtpmap:96 opus/48000/2 | a=fmtp:96 {fmtp}");
        with(&ALL).answer(&described(&offered)).unwrap().1.opus
    };
    assert_eq!(asked("stereo=1;sprop-stereo=1"), OpusWishes::default());
    assert_eq!(
        asked("maxplaybackrate=8000; maxaveragebitrate=12000; cbr=1; useinbandfec=1; usedtx=1"),
        OpusWishes {
            max_playback_rate: 8_000,
            max_bitrate: Some(12_000),
            constant_bitrate: true,
            inband_fec: true,
            discontinuous: true
        }
    );
    assert_eq!(asked("maxplaybackrate=7;maxaveragebitrate=9999999;cbr=yes;;=;useinbandfec"), OpusWishes::default());
}
