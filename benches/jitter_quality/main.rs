//! What the jitter buffer makes of a bad line, beside a fixed buffer and NetEQ: the table of docs/jitter.md.
//!
//! Not a race against the clock but a count, so it is a plain program: `cargo bench --bench jitter_quality`. Speech of `test-audio` goes as
//! G.711 over lines whose faults come from fixed seeds, in virtual time. How each figure is taken is told in docs/jitter.md.
//! `-- WORD …` takes only the lines whose name has one of the words; `--only ours` one receiver; `--wav FOLDER` keeps what was heard.

mod clock;
mod receivers;
mod score;
mod trace;

use std::path::{Path, PathBuf};

use receivers::Heard;
use trace::Trace;

type Receiver = fn(&Trace, &[i16]) -> Heard;

/// Samples of a frame: 20 ms at 8 kHz.
const FRAME: usize = 160;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut words, mut folder, mut only) = (Vec::new(), None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next(),
            "--wav" => folder = arguments.next().map(PathBuf::from),
            _ => words.push(argument),
        }
    }
    let speech = speech();
    let traces: Vec<Trace> = trace::all(speech.len() / FRAME)
        .into_iter()
        .filter(|trace| words.is_empty() || words.iter().any(|word| trace.name.contains(word.as_str())))
        .collect();
    let kept = folder.is_some();
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("jitter-quality-{}", std::process::id())));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));

    let mut receivers: Vec<(&str, Receiver)> =
        vec![("ours", receivers::ours), ("fixed 60 ms", receivers::fixed), ("neteq 0.9", receivers::neteq)];
    receivers.retain(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only.as_str())));
    let mut rows = Vec::new();
    let mut jobs = Vec::new();
    for trace in &traces {
        let mut row = Vec::new();
        for (name, receiver) in &receivers {
            let heard = receiver(trace, &speech);
            let judged = score::judge(&speech, trace, &heard);
            let file = folder.join(format!("{}.{name}.wav", trace.name).replace([' ', ','], "-"));
            write(&file, &heard.samples);
            jobs.push((file, judged.delay_ms));
            row.push((heard, judged));
        }
        rows.push(row);
    }
    let reference = folder.join("reference.wav");
    write(&reference, &speech);
    let pesq = score::pesq(&reference, &jobs);

    print!("{:<26}", "");
    receivers.iter().for_each(|(name, _)| print!("|{name:^35}"));
    print!("\n{:<26}", "line");
    for _ in &receivers {
        print!("|{:>6} {:>6} {:>6} {:>6} {:>6} ", "delay", "conc%", "late%", "dist", "PESQ");
    }
    println!();
    let mut sums = vec![[0.0; 5]; receivers.len()];
    for (n, (trace, row)) in traces.iter().zip(&rows).enumerate() {
        print!("{:<26}", trace.name);
        for (m, (heard, judged)) in row.iter().enumerate() {
            let score = pesq.as_ref().map_or(f64::NAN, |pesq| pesq[n * receivers.len() + m]);
            let figures = [judged.delay_ms, heard.concealed, heard.late, judged.distance, score];
            figures.iter().zip(&mut sums[m]).for_each(|(figure, sum)| *sum += figure);
            print_figures(&figures);
        }
        println!();
    }
    print!("{:<26}", "mean");
    for sum in sums {
        print_figures(&sum.map(|sum| sum / traces.len() as f64));
    }
    println!();
    if !kept {
        let _ = std::fs::remove_dir_all(&folder);
    }
}

fn print_figures([delay, concealed, late, distance, pesq]: &[f64; 5]) {
    print!("|{delay:>6.0} {concealed:>6.1} {late:>6.1} {distance:>6.2} ");
    if pesq.is_nan() { print!("{:>6} ", "-") } else { print!("{pesq:>6.2} ") }
}

/// All that people and callers say in `test-audio`, as it comes out of A-law, over the soft noise of a line.
fn speech() -> Vec<i16> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file of ours").path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".wav") && (name.starts_with("human-") || name.starts_with("caller-"))
    });
    // By name they would begin with all of the synthetic ones.
    files.sort_by_key(|file| file.file_name().map(|name| name.to_string_lossy().chars().rev().collect::<String>()));
    let mut samples = Vec::new();
    for file in files {
        let wav = hound::WavReader::open(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        samples.extend(wav.into_samples::<i16>().map(|sample| sample.expect("16-bit PCM")));
        samples.extend([0; 2400]);
    }
    let hiss = trace::noise(samples.len(), 8);
    for (sample, hiss) in samples.iter_mut().zip(hiss) {
        use trunkline::codec::g711::Law;
        *sample = Law::A.decode_one(Law::A.encode_one(sample.saturating_add(hiss)));
    }
    samples.truncate(samples.len() / FRAME * FRAME);
    samples
}

fn write(file: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let written = hound::WavWriter::create(file, spec).and_then(|mut wav| {
        samples.iter().try_for_each(|sample| wav.write_sample(*sample))?;
        wav.finalize()
    });
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
