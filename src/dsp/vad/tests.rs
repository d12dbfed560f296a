//! Silence, noise and something like a voice; how right the detector is on human speech, `benches/vad_accuracy.rs` counts.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use earshot::Detector;

use super::*;

/// Noise of a level in dBFS, uniformly distributed.
fn noise(db: f32, frames: usize, seed: u64) -> Vec<[i16; FRAME]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let peak = (32_768.0 * 10f32.powf(db / 20.0) * 3f32.sqrt()) as i16;
    (0..frames).map(|_| std::array::from_fn(|_| rng.random_range(-peak..=peak))).collect()
}

/// Something like a voice: a 120 Hz pulse train through two formants, four syllables a second.
fn babble(frames: usize) -> Vec<[i16; FRAME]> {
    let (mut y1, mut y2, mut z1, mut z2) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
    let mut sample = 0u32;
    let mut next = || {
        let time = sample as f32 / 8000.0;
        let pitch = 66 + (6.0 * (time * 9.0).sin()) as u32;
        let pulse = if sample.is_multiple_of(pitch) { 6000.0 } else { 0.0 };
        sample += 1;
        let formant = |hz: f32| 2.0 * 0.97 * (std::f32::consts::TAU * hz / 8000.0).cos();
        let y = pulse + formant(600.0 + 150.0 * (time * 25.0).sin()) * y1 - 0.9409 * y2;
        (y2, y1) = (y1, y);
        let z = y * 0.1 + formant(1700.0 + 400.0 * (time * 25.0).cos()) * z1 - 0.9409 * z2;
        (z2, z1) = (z1, z);
        let syllable = (time * 25.0).sin().max(0.0);
        (z * syllable).clamp(-20_000.0, 20_000.0) as i16
    };
    (0..frames).map(|_| std::array::from_fn(|_| next())).collect()
}

#[test]
fn silence_and_noise_are_not_voice() {
    let mut vad = Vad::default();
    for frame in [[0; FRAME]; 100] {
        assert_eq!(vad.push(&frame), Verdict { voiced: false, heard: false, gate: false, score: 0.0 });
    }
    let voiced = noise(-30.0, 1500, 1).iter().filter(|frame| vad.push(frame).voiced).count();
    assert!(voiced < 15, "{voiced} of 1500 frames of noise");
}

#[test]
fn syllables_are_voice_and_the_gate_stays_open_between_them() {
    let mut vad = Vad::default();
    let verdicts: Vec<_> = babble(300).iter().map(|frame| vad.push(frame)).collect();
    let voiced = verdicts.iter().filter(|verdict| verdict.voiced).count();
    assert!(voiced > 100, "{voiced} of 300");
    let opened = verdicts.iter().position(|verdict| verdict.gate).unwrap();
    assert!(opened < 5 && verdicts[opened..].iter().all(|verdict| verdict.gate));
    assert!(verdicts.iter().all(|verdict| (0.0..=1.0).contains(&verdict.score)));
    let after: Vec<_> = (0..30).map(|_| vad.push(&[0; FRAME])).collect();
    assert!(after[10].gate && !after[29].gate, "the hang-over ends");
    assert!(!after[20].voiced);
}

#[test]
fn what_is_said_of_a_frame_before_its_turn_is_what_is_said_of_it_then() {
    let (mut vad, frames) = (Vad::default(), babble(300));
    assert!(vad.ahead().is_none(), "the gate is closed");
    let mut said = [0; 2];
    for (n, frame) in frames.iter().enumerate() {
        vad.push(frame);
        let Some(mut ahead) = vad.ahead() else { continue };
        let mut then = Vad { second: Second::Awake(ahead.judge.clone()), open_for: vad.open_for, ..Vad::default() };
        // The gate would close after the last of these, whatever comes.
        let open = usize::from(vad.open_for).saturating_sub(1);
        for frame in frames[n + 1..].iter().take(open.min(5)) {
            let voiced = ahead.voiced(frame);
            said[usize::from(voiced)] += 1;
            assert_eq!(voiced, then.push(frame).voiced, "frame {n}");
        }
    }
    assert!(said[0] > 100 && said[1] > 100, "{said:?}");
}

#[test]
fn a_judge_that_wakes_agrees_with_one_that_never_slept() {
    let frames = [vec![[0; FRAME]; 50], babble(100)].concat();
    let (mut sleepy, mut awake) = (Vad::default(), Vad::default());
    let (mut first, mut voiced) = ([None; 2], [0u32; 2]);
    for (n, frame) in frames.iter().enumerate() {
        awake.open_for = awake.open_for.max(2);
        for (who, verdict) in [sleepy.push(frame), awake.push(frame)].iter().enumerate() {
            if verdict.voiced {
                first[who] = first[who].or(Some(n));
                voiced[who] += 1;
            }
        }
    }
    let [Some(sleepy_first), Some(awake_first)] = first else { panic!("{first:?}") };
    assert!(sleepy_first <= awake_first + 1, "the sleeper is late: frame {sleepy_first} instead of {awake_first}");
    assert!(voiced[0] + 20 > voiced[1], "{voiced:?}");
}

/// The gate tires of what does not change, and the judge alone would call this voice: so the gate is asked all the time.
#[test]
fn a_ringing_tone_is_not_voice() {
    let mut vad = Vad::default();
    let tone = |n: usize| (4_000.0 * (std::f32::consts::TAU * 425.0 * n as f32 / 8_000.0).sin()) as i16;
    let frames: Vec<[i16; FRAME]> = (0..500).map(|f| std::array::from_fn(|n| tone(f * FRAME + n))).collect();
    let voiced = frames.iter().filter(|frame| vad.push(frame).voiced).count();
    assert!(voiced < 25, "{voiced} of 500");
}

/// Twice the sample rate, the samples in between as weak as the judge takes them to be: what `earshot` is to be given.
fn doubled(samples: &[i16]) -> Vec<i16> {
    const REACH: isize = 24;
    let between = |n: usize| -> f64 {
        let weight = |away: f64| (std::f64::consts::PI * away / (REACH as f64 + 1.0)).cos() + 1.0;
        (1 - REACH..=REACH)
            .filter_map(|k| Some((k as f64 - 0.5, f64::from(*samples.get(n.checked_add_signed(k)?)?))))
            .map(|(away, sample)| {
                sample * weight(away) / 2.0 * (std::f64::consts::PI * away).sin() / (std::f64::consts::PI * away)
            })
            .sum()
    };
    (0..samples.len()).flat_map(|n| [samples[n], (judge::IMAGE * between(n)) as i16]).collect()
}

/// What people and machines say on the telephone.
const RECORDINGS: [&[u8]; 21] = [
    include_bytes!("../../../test-audio/caller-afternoon.wav"),
    include_bytes!("../../../test-audio/caller-friday.wav"),
    include_bytes!("../../../test-audio/caller-no.wav"),
    include_bytes!("../../../test-audio/caller-stop-2.wav"),
    include_bytes!("../../../test-audio/caller-stop.wav"),
    include_bytes!("../../../test-audio/caller-when-2.wav"),
    include_bytes!("../../../test-audio/caller-when.wav"),
    include_bytes!("../../../test-audio/caller-yes-2.wav"),
    include_bytes!("../../../test-audio/caller-yes.wav"),
    include_bytes!("../../../test-audio/fallback.wav"),
    include_bytes!("../../../test-audio/greeting.wav"),
    include_bytes!("../../../test-audio/human-goodbye.wav"),
    include_bytes!("../../../test-audio/human-hello.wav"),
    include_bytes!("../../../test-audio/human-nobody-available.wav"),
    include_bytes!("../../../test-audio/human-not-understood.wav"),
    include_bytes!("../../../test-audio/human-one-moment.wav"),
    include_bytes!("../../../test-audio/human-password.wav"),
    include_bytes!("../../../test-audio/human-seven.wav"),
    include_bytes!("../../../test-audio/human-thank-you.wav"),
    include_bytes!("../../../test-audio/noise-30dbfs.wav"),
    include_bytes!("../../../test-audio/silence.wav"),
];

/// Before their beep these have soft and deep sounds only: what is left of their high bands is a ten-millionth of the rest.
const STEEP: [&[u8]; 3] = [
    include_bytes!("../../../test-audio/answer-machine-chinese.wav"),
    include_bytes!("../../../test-audio/answer-machine-english.wav"),
    include_bytes!("../../../test-audio/answer-machine-german.wav"),
];

/// The judge remembers a word for some 100 ms: what nobody says any more is no voice all the same.
#[test]
fn a_voice_ends_where_its_sound_ends() {
    let energy = |frame: &[i16; FRAME]| frame.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>();
    let voices = RECORDINGS.len() - 2;
    let (mut late, mut ends) = (0, 0);
    for file in &RECORDINGS[..voices] {
        let wav = hound::WavReader::new(*file).expect("a WAV file");
        let samples: Vec<i16> = wav.into_samples().map(Result::unwrap).collect();
        let mut frames = samples.as_chunks::<FRAME>().0.to_vec();
        let loudest = frames.iter().map(energy).fold(0.0, f32::max);
        let end = frames.iter().rposition(|frame| energy(frame) * 316.0 > loudest).expect("it can be heard");
        frames.resize(end + 41, [0; FRAME]);
        frames[end + 1..].fill([0; FRAME]);
        let mut vad = Vad::default();
        let last = frames.iter().enumerate().filter(|(_, frame)| vad.push(frame).heard).map(|(n, _)| n).last();
        ends += 1;
        late += u32::from(last.expect("somebody speaks") > end);
    }
    assert_eq!((late, ends), (0, 19));
}

/// A voice after a bang, or after a louder one, is heard although it is softer: what was loud is soon forgotten.
#[test]
fn a_soft_voice_after_a_loud_one_is_heard() {
    let frames = |file: &[u8]| -> Vec<[i16; FRAME]> {
        let wav = hound::WavReader::new(file).expect("a WAV file");
        wav.into_samples().map(Result::unwrap).collect::<Vec<i16>>().as_chunks().0.to_vec()
    };
    let voices = &RECORDINGS[..RECORDINGS.len() - 2];
    let heard = |vad: &mut Vad, said: &[[i16; FRAME]]| said.iter().filter(|frame| vad.push(frame).heard).count();
    let (mut after, mut alone) = (0, 0);
    for file in voices {
        let loud = frames(file);
        let soft: Vec<_> = loud.iter().map(|frame| frame.map(|sample| sample / 8)).collect();
        let mut vad = Vad::default();
        heard(&mut vad, &loud);
        after += heard(&mut vad, &soft);
        alone += heard(&mut Vad::default(), &soft);
    }
    assert!(alone > 500 && after * 10 > alone * 9, "{after} of the {alone} that are heard alone");
}

#[test]
fn the_judge_says_what_earshot_says() {
    let (mut blocks, mut apart, mut others, mut worst) = (0, 0.0, 0, 0.0f32);
    let mut voiced = 0;
    for file in RECORDINGS.into_iter().chain(STEEP) {
        let wav = hound::WavReader::new(file).expect("a WAV file");
        let samples: Vec<i16> = wav.into_samples().map(Result::unwrap).collect();
        let (mut ours, mut theirs) = (Judge::default(), Detector::default_boxed());
        for (block, double) in samples.as_chunks::<128>().0.iter().zip(doubled(&samples).as_chunks::<256>().0) {
            let scores = [ours.hear(block), theirs.predict_i16(double)];
            let differ = (scores[0] - scores[1]).abs();
            blocks += 1;
            apart += differ;
            voiced += u32::from(scores[1] >= VOICE);
            others += u32::from((scores[0] >= VOICE) != (scores[1] >= VOICE));
            worst = worst.max(differ);
        }
    }
    let mean = apart / blocks as f32;
    assert!(blocks > 1_000 && voiced > 400, "{blocks} blocks, {voiced} voiced");
    assert!(
        mean < 0.01 && others * 100 < blocks,
        "of {blocks}: {mean} apart, {worst} at worst, {others} other verdicts"
    );
}
