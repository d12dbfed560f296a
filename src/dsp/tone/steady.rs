//! Whether a frame is nothing but one or two steady tones, as ringing is: each sample of such a sound follows from the four before it,
//! `x[n] + x[n-4] = a (x[n-1] + x[n-3]) + b x[n-2]`. The two unknowns are fitted; what the fit leaves unexplained is little of a tone through G.711,
//! and more of a voice.

use super::FRAME;

/// Of the energy, what may stay unexplained.
const UNEXPLAINED: f64 = 0.001;

/// Silence is no tone.
pub fn is_steady(frame: &[i16; FRAME]) -> bool {
    let (mut uu, mut uv, mut vv, mut uy, mut vy, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for x in frame.windows(5) {
        let x: [f64; 5] = std::array::from_fn(|n| f64::from(x[n]));
        let (u, v, y) = (x[1] + x[3], x[2], x[0] + x[4]);
        (uu, uv, vv) = (uu + u * u, uv + u * v, vv + v * v);
        (uy, vy, yy) = (uy + u * y, vy + v * y, yy + y * y);
    }
    if vv < 1e4 * FRAME as f64 / 4.0 {
        return false;
    }
    let determinant = uu * vv - uv * uv;
    // One tone alone: both say the same, and one unknown suffices.
    let (a, b) = match determinant > 1e-9 * uu * vv {
        true => ((uy * vv - vy * uv) / determinant, (vy * uu - uy * uv) / determinant),
        false => (0.0, vy / vv),
    };
    yy - a * uy - b * vy < UNEXPLAINED * 4.0 * vv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::Law;
    use crate::dsp::tone::pair::Pair;

    fn steady(tones: [(f32, f32); 2]) -> usize {
        let mut pair = Pair::new(tones, 8_000);
        let line = (0..45).map(|_| {
            let (mut frame, mut coded) = ([0; FRAME], [0; FRAME]);
            pair.add_to(&mut frame);
            Law::A.encode(&frame, &mut coded);
            Law::A.decode(&coded, &mut frame);
            is_steady(&frame)
        });
        line.filter(|steady| *steady).count()
    }

    #[test]
    fn ringing_is_steady_and_a_voice_is_not() {
        for tones in
            [[(440.0, -19.0), (480.0, -19.0)], [(400.0, -15.0), (450.0, -15.0)], [(425.0, -15.0), (0.0, -100.0)]]
        {
            assert!(steady(tones) >= 43, "{tones:?}: {} of 45", steady(tones));
        }
        for recording in ["answer-human-hello", "answer-machine-english", "human-password"] {
            let path = format!("{}/test-audio/{recording}.wav", env!("CARGO_MANIFEST_DIR"));
            let samples: Vec<i16> = hound::WavReader::open(path)
                .expect("it is there")
                .into_samples()
                .map(|s| s.expect("16 bits"))
                .collect();
            // Up to the beep.
            let frames: Vec<&[i16; FRAME]> =
                samples.chunks_exact(FRAME).filter_map(|frame| frame.try_into().ok()).take(150).collect();
            let steady = frames.iter().filter(|frame| is_steady(frame)).count();
            assert!(20 * steady <= frames.len(), "{recording}: {steady} of {}", frames.len());
        }
        assert!(!is_steady(&[0; FRAME]));
    }
}
