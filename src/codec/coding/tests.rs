//! Each coding there and back.

use super::*;

const TERMS: opus::Terms = opus::Terms { narrow: false, max_bitrate: None, constant_bitrate: false, fec: false };

/// What a far end of today may choose.
const ALL: [Coding; 6] = [
    Coding::G711(Law::A),
    Coding::G711(Law::Mu),
    Coding::G722,
    Coding::L16(Band::Narrow),
    Coding::L16(Band::Wide),
    Coding::Opus(TERMS),
];

fn tone(hz: f64, rate: usize, n: usize) -> i16 {
    (8_000.0 * (std::f64::consts::TAU * hz * n as f64 / rate as f64).sin()) as i16
}

/// A second in packets of `ptime`, through encoder and decoder; their payloads too.
fn through(coding: Coding, ptime: Ms, sound: impl Fn(usize) -> i16) -> (Vec<i16>, Vec<Vec<u8>>) {
    let packet = ptime.0 as usize * coding.band().per_ms();
    let (mut encoder, mut decoder) = (Encoder::new(coding).unwrap(), Decoder::new(coding).unwrap());
    let (mut heard, mut sent) = (Vec::new(), Vec::new());
    for n in 0..(1_000 / ptime.0 as usize) {
        let samples: Vec<i16> = (n * packet..(n + 1) * packet).map(&sound).collect();
        let mut payload = [0; 1_280];
        let length = encoder.encode(&samples, &mut payload);
        let mut out = [0; 1_920];
        let made = decoder.decode(&payload[..length], &mut out);
        assert_eq!(made, packet, "{coding:?}, {ptime}");
        assert_eq!(coding.samples(coding.units(&payload[..length])), packet, "{coding:?}, {ptime}: by its length");
        assert_eq!(coding.units_of(packet), coding.units(&payload[..length]), "{coding:?}, {ptime}");
        heard.extend_from_slice(&out[..made]);
        sent.push(payload[..length].to_vec());
    }
    (heard, sent)
}

/// Error against the tone, at the delay at which it is least, in dB below the tone.
fn noise_db(heard: &[i16], sound: impl Fn(usize) -> i16) -> f64 {
    let energy = |f: &dyn Fn(usize) -> f64| (2_000..6_000).map(|n| f(n).powi(2)).sum::<f64>();
    let signal = energy(&|n| f64::from(sound(n)));
    let errors = (0..200).map(|late| energy(&|n| f64::from(heard[n]) - f64::from(sound(n - late))));
    10.0 * (errors.fold(f64::INFINITY, f64::min) / signal).log10()
}

#[test]
fn a_tone_comes_through_each_coding_in_packets_of_every_length() {
    for coding in ALL {
        let rate = coding.band().per_ms() * 1_000;
        // Speech's own pitch, and for wide lines what a narrow one cannot carry.
        let pitches: &[f64] = if coding.band() == Band::Wide { &[440.0, 6_000.0] } else { &[440.0, 3_000.0] };
        for ptime in [10, 20, 30, 40, 50, 60].map(Ms).map(|asked| coding.packet(asked)) {
            for hz in pitches {
                let sound = |n| tone(*hz, rate, n);
                let (heard, _) = through(coding, ptime, sound);
                let noise = noise_db(&heard, sound);
                // The upper band of G.722 has two bits a sample, and Opus makes noise of what lies high.
                let most = match (coding, *hz > 4_000.0) {
                    (Coding::L16(_), _) => -80.0,
                    (Coding::G722, true) => -12.0,
                    (Coding::Opus(_), true) => -6.0,
                    (Coding::Opus(_), false) => -15.0,
                    _ => -30.0,
                };
                assert!(noise < most, "{coding:?} in {ptime}, {hz} Hz: {noise:.1} dB");
            }
        }
    }
}

#[test]
fn packets_are_as_long_as_asked_where_the_coding_can() {
    let lengths = |coding: Coding| [1, 10, 20, 30, 40, 50, 60, 200].map(|asked| coding.packet(Ms(asked)).0);
    for coding in [Coding::G711(Law::A), Coding::G722, Coding::L16(Band::Narrow)] {
        assert_eq!(lengths(coding), [10, 10, 20, 30, 40, 50, 60, 60], "{coding:?}");
    }
    assert_eq!(lengths(Coding::L16(Band::Wide)), [10, 10, 20, 30, 40, 40, 40, 40]);
    assert_eq!(lengths(Coding::Opus(TERMS)), [10, 10, 20, 20, 40, 40, 60, 60]);
}

#[test]
fn silence_is_what_g722_gateways_fill_their_pauses_with() {
    let (_, sent) = through(Coding::G722, Ms(20), |_| 0);
    assert_eq!(sent.concat()[1..4], [0xfa; 3]);
    // The high band steps by its smallest.
    assert!(sent.concat().iter().all(|byte| matches!(byte >> 6, 1 | 3)));
}

#[test]
fn opus_keeps_to_what_the_far_end_asks() {
    let speech = |n: usize| tone(180.0 + (n / 4_000) as f64 * 30.0, 16_000, n) / 2 + tone(2_300.0, 16_000, n) / 4;
    let size = |terms| {
        let (_, sent) = through(Coding::Opus(terms), Ms(20), speech);
        sent.iter().map(Vec::len).collect::<Vec<_>>()
    };
    let constant = size(opus::Terms { constant_bitrate: true, max_bitrate: Some(16_000), ..TERMS });
    assert_eq!(constant, vec![40; 50], "16 kbit/s");
    let usual: usize = size(TERMS).iter().sum();
    assert!(usual < 4_000, "32 kbit/s: {usual}");
    // Configurations 0 to 3 of RFC 6716 section 3.1 are of 4 kHz.
    let (_, sent) = through(Coding::Opus(opus::Terms { narrow: true, ..TERMS }), Ms(20), speech);
    assert!(sent.iter().skip(1).all(|payload| payload[0] >> 3 < 4 || (16..20).contains(&(payload[0] >> 3))));
}

#[test]
fn opus_fills_a_loss_from_the_packet_after_it() {
    // A voice whose pitch moves, so that what was before does not tell what comes.
    let sound = |n: usize| {
        let t = n as f64 / 16_000.0;
        let phase = std::f64::consts::TAU * (120.0 * t + 150.0 * t * t);
        (1..12).map(|k| (phase * f64::from(k)).sin() * 5_000.0 / f64::from(k)).sum::<f64>() as i16
    };
    let fec = Coding::Opus(opus::Terms { fec: true, ..TERMS });
    let (whole, sent) = through(fec, Ms(20), sound);
    let error = |copy: bool| {
        let mut decoder = Decoder::new(fec).unwrap();
        let mut error = 0.0;
        for (n, payload) in sent.iter().enumerate() {
            let mut out = [0; 320];
            if n % 6 == 5 {
                let next = sent.get(n + 1).filter(|_| copy).map(Vec::as_slice);
                assert!(decoder.conceal(next, &mut out));
                error += out.iter().zip(&whole[n * 320..]).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            } else {
                assert_eq!(decoder.decode(payload, &mut out), 320);
            }
        }
        error
    };
    let (guessed, copied) = (error(false), error(true));
    assert!(copied < guessed / 2.0, "of the copy {copied:e}, of a guess {guessed:e}");
}

#[test]
fn what_is_no_opus_is_nothing_and_harms_nothing() {
    let (mut decoder, mut out) = (Decoder::new(Coding::Opus(TERMS)).unwrap(), [0; 1_920]);
    assert_eq!(decoder.decode(&[], &mut out), 0);
    // A count of frames that makes more than 120 ms, or none (RFC 6716 section 3.2.5).
    for payload in [&[0x03, 0x3f][..], &[0x03, 0x00], &[0x03]] {
        assert_eq!((opus::duration(payload), decoder.decode(payload, &mut out)), (0, 0), "{payload:x?}");
    }
    let mut seed = 1u32;
    for n in 0..20_000 {
        let payload: Vec<u8> = (0..n % 200)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        let made = decoder.decode(&payload, &mut out);
        assert!(made == 0 || made == Coding::Opus(TERMS).samples(opus::duration(&payload)), "{payload:x?}: {made}");
        decoder.conceal(Some(&payload), &mut out[..320]);
    }
}

#[test]
fn silence_that_is_not_sent_is_a_packet_without_sound() {
    // RFC 7587 section 3.1.3: a packet of its first byte alone; the decoder makes noise of what it remembers.
    let mut decoder = Decoder::new(Coding::Opus(TERMS)).unwrap();
    let (_, sent) = through(Coding::Opus(TERMS), Ms(20), |n| tone(440.0, 16_000, n));
    let mut out = [0; 320];
    sent.iter().for_each(|payload| assert_eq!(decoder.decode(payload, &mut out), 320));
    assert_eq!(decoder.decode(&sent[0][..1], &mut out), 320);
}
