use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Sounds that it takes for a voice and others: a humming mouth that opens and closes, at all levels, and noise between.
fn sounds(seconds: usize) -> Vec<i16> {
    let mut rng = StdRng::seed_from_u64(6);
    let mut phase = 0.0f32;
    let sounds = (0..8_000 * seconds).map(|n| {
        let t = n as f32 / 8_000.0;
        phase = (phase + (140.0 + 40.0 * (2.1 * t).sin()) / 8_000.0).fract();
        let mouth = 0.5 + 0.5 * (25.0 * t).sin();
        let voice: f32 = (1..=20u8)
            .map(|k| {
                let hz = 140.0 * f32::from(k);
                let formants = [500.0 + 300.0 * mouth, 1_500.0 - 400.0 * mouth, 2_500.0];
                let gain: f32 = formants.iter().map(|formant| 1.0 / (1.0 + ((hz - formant) / 90.0).powi(2))).sum();
                gain * (std::f32::consts::TAU * f32::from(k) * phase).sin()
            })
            .sum();
        let speaks = (n / 6_000) % 3 != 2;
        let level = 0.3f32.powi((n as i32 / 18_000) % 4);
        let noise = rng.random_range(-1.0..1.0f32) * 0.02;
        (6_000.0 * level * (if speaks { voice * (0.3 + mouth) } else { 0.0 } + noise)) as i16
    });
    sounds.collect()
}

/// What the network says of each window.
fn said(sounds: &[i16], mut probability: impl FnMut(&[i16; HEARD]) -> f32) -> Vec<f32> {
    let mut heard = [0; HEARD];
    let windows = sounds.as_chunks::<WINDOW>().0.iter().map(|window| {
        heard[CONTEXT..].copy_from_slice(window);
        let said = probability(&heard);
        heard.copy_within(HEARD - CONTEXT.., 0);
        said
    });
    windows.collect()
}

#[cfg(feature = "speech")]
#[test]
fn it_says_what_the_onnx_file_says() {
    use rten::Model;
    use rten_tensor::prelude::*;
    use rten_tensor::{NdTensor, Tensor};

    let sounds = sounds(12);
    let file = Model::load(include_bytes!(concat!(env!("OUT_DIR"), "/silero.onnx")).to_vec()).expect("the file");
    let id = |name| file.node_id(name).expect(name);
    let mut state = NdTensor::<f32, 3>::zeros([2, 1, CELLS]).into_dyn();
    let theirs = said(&sounds, |heard| {
        let samples: Vec<f32> = heard.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        let input = NdTensor::from_data([1, HEARD], samples);
        let rate = Tensor::from(8_000i32);
        let inputs = vec![
            (id("input"), input.view().into()),
            (id("state"), state.view().into()),
            (id("sr"), rate.view().into()),
        ];
        let [said, after] = file.run_n(inputs, [id("output"), id("stateN")], None).expect("it runs");
        state = after.try_into().expect("floats");
        let said: Tensor<f32> = said.try_into().expect("floats");
        *said.iter().next().expect("one")
    });
    let (mut memory, mut elsewhere) = (Memory::default(), Memory::default());
    let silero = Silero::get();
    let ours = said(&sounds, |heard| silero.probability(heard, &mut memory));
    assert!(ours.iter().filter(|said| **said > 0.5).count() > 40, "not an even test: {ours:.2?}");
    assert!(ours.iter().filter(|said| **said < 0.2).count() > 40, "not an even test: {ours:.2?}");
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() < 0.000_1, "window {n}: {ours} for {theirs}");
    }
    // The one that this machine does not take.
    let plain = said(&sounds, |heard| silero.probability_by(Everywhere, &silero.spectra(heard), &mut elsewhere));
    for (n, (plain, theirs)) in plain.iter().zip(&theirs).enumerate() {
        assert!((plain - theirs).abs() < 0.000_1, "window {n}: {plain} for {theirs}");
    }
}

#[test]
fn the_weights_are_read_to_the_end() {
    let convolution = |inputs: usize, outputs: usize| inputs * outputs * TAPS + outputs;
    let encoder =
        convolution(BINS, FIRST) + convolution(FIRST, SECOND) + convolution(SECOND, THIRD) + convolution(THIRD, FOURTH);
    let floats = encoder + GATES * (FOURTH + CELLS + 2) + CELLS + 1;
    assert_eq!(include_bytes!(concat!(env!("OUT_DIR"), "/silero.bin")).len(), 4 * floats);
}
