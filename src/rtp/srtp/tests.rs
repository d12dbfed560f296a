//! The vectors of the RFCs, and what a line does to packets.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn master(suite: Suite, seed: u8) -> Master {
    let bytes: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|n| (n as u8).wrapping_mul(37) ^ seed).collect();
    Master::new(suite, &bytes).expect("as long as it has to be")
}

/// Two ends of a line: what the first sends, the second reads.
fn ends(suite: Suite) -> (Srtp, Srtp) {
    let (here, there) = (master(suite, 1), master(suite, 2));
    (Srtp::new(here.clone(), there.clone()), Srtp::new(there, here))
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 202, 0, 2, 1, 2, 3, 4, 1, 2, b'm', b'e']);
    packet
}

fn protected(srtp: &mut Srtp, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; MAX_TRAILER]].concat();
    let length = srtp.protect(&mut buffer, packet.len()).expect("it may be sent");
    buffer.truncate(length);
    buffer
}

fn protected_rtcp(srtp: &mut Srtp, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; MAX_TRAILER]].concat();
    let length = srtp.protect_rtcp(&mut buffer, packet.len()).expect("it may be sent");
    buffer.truncate(length);
    buffer
}

fn opened(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut packet = packet.to_vec();
    let length = srtp.unprotect(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

fn opened_rtcp(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut packet = packet.to_vec();
    let length = srtp.unprotect_rtcp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

/// With session keys instead of a master key.
fn session(suite: Suite, key: &str, salt: &str) -> Srtp {
    let mut long = [0; 14];
    let salt = hex(salt);
    long[..salt.len()].copy_from_slice(&salt);
    let mut srtp = Srtp::new(master(suite, 0), master(suite, 0));
    for (half, rtcp) in [(&mut srtp.ours.rtp, false), (&mut srtp.theirs.rtp, false)] {
        *half = Half::of(suite, &hex(key), &[0; 20], long, rtcp);
    }
    for half in [&mut srtp.ours.rtcp, &mut srtp.theirs.rtcp] {
        *half = Half::of(suite, &hex(key), &[0; 20], long, true);
    }
    srtp
}

/// RFC 3711 §B.2 and RFC 6188 §7.1: the key stream, of packets of zeros.
#[test]
fn the_key_streams_of_the_rfcs() {
    let cases = [
        (
            Suite::AesCm128Sha1Tag80,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0",
        ),
        (
            Suite::AesCm256Sha1Tag80,
            "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
        ),
    ];
    for (suite, key, stream) in cases {
        let mut srtp = session(suite, key, "f0f1f2f3f4f5f6f7f8f9fafbfcfd");
        // SSRC, rollover counter and sequence number are zero there, and so is the header here.
        let packet = protected(&mut srtp, &rtp(0, 0, &[0; 48]));
        assert_eq!(&packet[12..60], hex(stream));
    }
}

/// RFC 3711 §B.3 and RFC 6188 §7.2 to §7.3, by the packets that the derived keys make: those of libsrtp's own validation.
#[test]
fn packets_of_derived_keys() {
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let cases = [
        (
            Suite::AesCm128Sha1Tag80,
            "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AesCm256Sha1Tag80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b",
        ),
    ];
    for (suite, key, expected) in cases {
        let key = Master::new(suite, &hex(key)).expect("long enough");
        let mut srtp = Srtp::new(key.clone(), key);
        assert_eq!(protected(&mut srtp, &plain), hex(expected));
        assert_eq!(opened(&mut srtp, &hex(expected)).as_deref(), Ok(&plain[..]));
    }
}

const QUID: &str = "517569642070726f2071756f";
const KEYS: [(Suite, &str); 2] = [
    (Suite::AesGcm128, "000102030405060708090a0b0c0d0e0f"),
    (Suite::AesGcm256, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
];

/// RFC 7714 §16.1.1, §16.1.2, §16.2.1, §16.2.2.
#[test]
fn gcm_of_the_rfc() {
    let plain = [&hex("8040f17b8041f8d35501a0b2")[..], b"Gallia est omnis divisa in partes tres"].concat();
    let sealed = [
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
         899d7f27beb16a9152cf765ee4390cce",
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
         7aa3db36dfffd6b0f9bb7878d7a76c13",
    ];
    for ((suite, key), sealed) in KEYS.into_iter().zip(sealed) {
        let mut srtp = session(suite, key, QUID);
        assert_eq!(protected(&mut srtp, &plain), hex(sealed));
        assert_eq!(opened(&mut srtp, &hex(sealed)).as_deref(), Ok(&plain[..]));
    }
}

/// RFC 7714 §17.1, §17.2; and §17.3, which nobody agrees to without UNENCRYPTED_SRTCP.
#[test]
fn gcm_reports_of_the_rfc() {
    let plain =
        hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    let sealed = [
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b
         c84aa45896cf4d2fc5abf87245d9eade800005d4",
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad
         1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    ];
    for ((suite, key), sealed) in KEYS.into_iter().zip(sealed) {
        let mut srtp = session(suite, key, QUID);
        srtp.ours.rtcp_index = 0x5d4;
        assert_eq!(protected_rtcp(&mut srtp, &plain), hex(sealed));
        assert_eq!(opened_rtcp(&mut srtp, &hex(sealed)).as_deref(), Ok(&plain[..]));
    }
    let clear = [&plain[..], &hex("841dd9683dd78ec92ae58790125f62b3000005d4")].concat();
    let mut srtp = session(KEYS[0].0, KEYS[0].1, QUID);
    assert_eq!(opened_rtcp(&mut srtp, &clear), Err(Rejected::Malformed));
}

#[test]
fn every_suite_goes_both_ways_and_hides_what_is_said() {
    for suite in Suite::ALL {
        let (mut here, mut there) = ends(suite);
        let plain = rtp(7, 100, &[0xd5; 160]);
        let sealed = protected(&mut here, &plain);
        assert!(sealed.len() > plain.len() && sealed.len() <= plain.len() + MAX_TRAILER, "{suite:?}");
        assert_eq!(sealed[..12], plain[..12], "the header stays");
        assert!(!sealed[12..].windows(4).any(|four| four == [0xd5; 4]), "{suite:?}");
        assert_eq!(opened(&mut there, &sealed), Ok(plain), "{suite:?}");
        let report = rtcp(7);
        let sealed = protected_rtcp(&mut there, &report);
        assert!(sealed.len() <= report.len() + MAX_TRAILER, "{suite:?}");
        assert_eq!(opened_rtcp(&mut here, &sealed), Ok(report), "{suite:?}");
        // Whoever has the wrong key, or none, is not believed.
        let (_, mut stranger) = ends(suite);
        assert_eq!(opened(&mut stranger, &rtp(7, 101, &[0xd5; 160])), Err(Rejected::Unauthentic));
        assert_eq!(opened_rtcp(&mut here, &protected_rtcp(&mut stranger, &rtcp(7))), Err(Rejected::Replayed));
    }
}

#[test]
fn sources_and_an_extension_stay_in_the_clear() {
    for suite in Suite::ALL {
        let (mut here, mut there) = ends(suite);
        let mut plain = rtp(7, 1, &[]);
        plain[0] = 0x91;
        plain.extend([9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 0, 0, 0, 1, 2, 3]);
        let sealed = protected(&mut here, &plain);
        assert_eq!(sealed[..24], plain[..24]);
        assert_ne!(sealed[24..27], plain[24..]);
        assert_eq!(opened(&mut there, &sealed), Ok(plain));
    }
}

#[test]
fn the_rollover_counter_follows_the_wrap_in_any_order() {
    for suite in Suite::ALL {
        let (mut here, mut there) = ends(suite);
        let mut sealed: Vec<_> = (65_500..=65_535).map(|n| protected(&mut here, &rtp(7, n, &[1]))).collect();
        sealed.extend((0..100u16).map(|n| protected(&mut here, &rtp(7, n, &[2]))));
        // The last before the wrap come among the first after it.
        sealed.swap(34, 38);
        sealed.swap(35, 60);
        for (n, packet) in sealed.iter().enumerate() {
            assert!(opened(&mut there, packet).is_ok(), "{suite:?}: the {n}th");
        }
        assert_eq!(here.ours.index, Some((1 << 16) + 99));
        // And once more around.
        (1..7u16).for_each(|n| {
            let packet = protected(&mut here, &rtp(7, n * 10_000, &[3]));
            assert!(opened(&mut there, &packet).is_ok(), "{suite:?}");
        });
        let packet = protected(&mut here, &rtp(7, 5, &[4]));
        assert!(opened(&mut there, &packet).is_ok(), "{suite:?}");
        assert_eq!(here.ours.index, Some((2 << 16) + 5));
    }
}

#[test]
fn who_joins_after_the_first_wrap_still_understands() {
    for suite in Suite::ALL {
        let (mut here, mut there) = ends(suite);
        // What comes before the wrap is lost.
        (65_530..=65_535).for_each(|n| drop(protected(&mut here, &rtp(7, n, &[1]))));
        let late = protected(&mut here, &rtp(7, 0, &[1]));
        assert!(opened(&mut there, &late).is_ok(), "{suite:?}");
        let next = protected(&mut here, &rtp(7, 1, &[1]));
        assert!(opened(&mut there, &next).is_ok(), "{suite:?}");
    }
}

#[test]
fn what_has_come_does_not_come_again() {
    let (mut here, mut there) = ends(Suite::AesCm128Sha1Tag80);
    let sealed: Vec<_> = (0..300).map(|n| protected(&mut here, &rtp(7, n, &[1]))).collect();
    assert!(opened(&mut there, &sealed[200]).is_ok());
    assert_eq!(opened(&mut there, &sealed[200]), Err(Rejected::Replayed));
    assert!(opened(&mut there, &sealed[73]).is_ok(), "late, and within the window");
    assert_eq!(opened(&mut there, &sealed[73]), Err(Rejected::Replayed));
    assert_eq!(opened(&mut there, &sealed[72]), Err(Rejected::Replayed), "too old to tell");
    assert!(opened(&mut there, &sealed[299]).is_ok());
    assert!(opened(&mut there, &sealed[201]).is_ok());
    let report = protected_rtcp(&mut here, &rtcp(7));
    assert!(opened_rtcp(&mut there, &report).is_ok());
    assert_eq!(opened_rtcp(&mut there, &report), Err(Rejected::Replayed));
}

#[test]
fn a_changed_bit_anywhere_is_found_and_changes_nothing_here() {
    for suite in Suite::ALL {
        let (mut here, mut there) = ends(suite);
        for round in 0..2 {
            let plain = rtp(7, 100 + round, &[5; 20]);
            let sealed = protected(&mut here, &plain);
            for bit in 0..sealed.len() * 8 {
                let mut wrong = sealed.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(opened(&mut there, &wrong).is_err(), "{suite:?}: bit {bit}");
            }
            for length in 0..sealed.len() {
                assert!(opened(&mut there, &sealed[..length]).is_err(), "{suite:?}: {length} bytes");
            }
            assert_eq!(opened(&mut there, &sealed), Ok(plain));
            let report = protected_rtcp(&mut here, &rtcp(7));
            for bit in 0..report.len() * 8 {
                let mut wrong = report.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(opened_rtcp(&mut there, &wrong).is_err(), "{suite:?}: bit {bit}");
            }
            assert!(opened_rtcp(&mut there, &report).is_ok());
        }
    }
}

#[test]
fn several_sources_of_one_key_are_told_apart() {
    let (mut here, mut there) = ends(Suite::AesGcm128);
    let of_three: Vec<_> = (1..=3).map(|ssrc| protected(&mut here, &rtp(ssrc, 100 + ssrc as u16, &[1]))).collect();
    of_three.iter().for_each(|packet| assert!(opened(&mut there, packet).is_ok()));
    of_three.iter().for_each(|packet| assert_eq!(opened(&mut there, packet), Err(Rejected::Replayed)));
}

#[test]
fn an_index_is_used_once() {
    let (mut here, _) = ends(Suite::AesCm128Sha1Tag80);
    protected(&mut here, &rtp(7, 100, &[1]));
    let mut buffer = [rtp(7, 100, &[2]), vec![0; MAX_TRAILER]].concat();
    assert_eq!(here.protect(&mut buffer, 13), None, "the key stream would be the same");
    assert_eq!(here.protect(&mut buffer[..20], 13), None, "no room");
    here.ours.index = Some(LAST_INDEX);
    let mut buffer = [rtp(7, 0, &[2]), vec![0; MAX_TRAILER]].concat();
    assert_eq!(here.protect(&mut buffer, 13), None, "the key is used up");
    here.ours.rtcp_index = 1 << 31;
    let mut buffer = [rtcp(7), vec![0; MAX_TRAILER]].concat();
    assert_eq!(here.protect_rtcp(&mut buffer, 20), None, "the key is used up");
}

#[test]
fn a_direction_whose_key_is_the_same_goes_on() {
    let suite = Suite::AesCm128Sha1Tag80;
    let (mut here, mut there) = ends(suite);
    let first = protected(&mut here, &rtp(7, 65_535, &[1]));
    assert!(opened(&mut there, &first).is_ok());
    // Nothing is new: the counters go on.
    here.renew(&mut Srtp::new(master(suite, 1), master(suite, 2)));
    there.renew(&mut Srtp::new(master(suite, 2), master(suite, 1)));
    let second = protected(&mut here, &rtp(7, 0, &[1]));
    assert_eq!(here.ours.index, Some(1 << 16));
    assert!(opened(&mut there, &second).is_ok());
    assert_eq!(opened(&mut there, &first), Err(Rejected::Replayed));
    // Our key is new, in another suite.
    let new = Suite::AesGcm256;
    here.renew(&mut Srtp::new(master(new, 9), master(suite, 2)));
    let third = protected(&mut here, &rtp(7, 1, &[1]));
    assert_eq!(opened(&mut there, &third), Err(Rejected::Unauthentic));
    there.renew(&mut Srtp::new(master(suite, 2), master(new, 9)));
    assert!(opened(&mut there, &third).is_ok());
}

#[test]
fn keys_have_one_length_and_are_not_shown() {
    for suite in Suite::ALL {
        let length = suite.key_len() + suite.salt_len();
        assert!(
            Master::new(suite, &vec![0x41; length - 1]).is_none()
                && Master::new(suite, &vec![0x41; length + 1]).is_none()
        );
        let key = Master::new(suite, &vec![0x41; length]).expect("right");
        let shown = format!("{key:?} {:?}", Srtp::new(key.clone(), key.clone()));
        assert!(!shown.contains("65") && !shown.contains("41") && !shown.contains("AAA"), "{shown}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_harm(suite in 0usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..1_600),
                                          header: bool) {
        let (mut here, mut there) = ends(Suite::ALL[suite]);
        let mut bytes = bytes;
        if header && let Some(first) = bytes.first_mut() { *first = *first & 0x3f | 0x80; }
        prop_assert!(there.unprotect(&mut bytes.clone()).is_err());
        prop_assert!(there.unprotect_rtcp(&mut bytes.clone()).is_err());
        // Whatever the caller wants to send: it fits, or is refused.
        let length = bytes.len();
        let mut room = [&bytes[..], &[0; MAX_TRAILER]].concat();
        if let Some(total) = here.protect(&mut room, length) {
            prop_assert!(total > length);
            prop_assert_eq!(opened(&mut there, &room[..total]).ok(), (total <= MAX_PACKET).then_some(bytes.clone()));
        }
        let mut room = [&bytes[..], &[0; MAX_TRAILER]].concat();
        if let Some(total) = here.protect_rtcp(&mut room, length) {
            prop_assert_eq!(opened_rtcp(&mut there, &room[..total]), Ok(bytes));
        }
    }

    #[test]
    fn packets_come_through_any_order_within_the_window(suite in 0usize..6, first: u16, order in Just((0u16..100).collect::<Vec<_>>()).prop_shuffle()) {
        let (mut here, mut there) = ends(Suite::ALL[suite]);
        let sealed: Vec<_> = (0..100).map(|n| protected(&mut here, &rtp(7, first.wrapping_add(n), &[n as u8; 4]))).collect();
        // Who has heard the first one knows which side of the wrap it is on.
        prop_assert!(opened(&mut there, &sealed[0]).is_ok());
        for n in order.into_iter().filter(|n| *n != 0) {
            let plain = opened(&mut there, &sealed[usize::from(n)]);
            prop_assert_eq!(plain.map(|plain| plain[12..].to_vec()), Ok(vec![n as u8; 4]));
        }
    }
}
