//! Recognition with Moonshine (tiny, English): audio to text in pure Rust, through the ONNX runtime `rten`.
//!
//! Moonshine (arXiv 2410.15608) takes raw samples at 16 kHz, no spectrogram: a small convolution stem and an encoder
//! give one vector per 24 ms; a decoder writes the text token by token over them, greedily, with its keys and values
//! kept between the steps. Its cost grows with the audio's length (there is no padding to 30 s), which is what makes
//! decoding again and again while the caller speaks affordable.
//!
//! The decoder file is two graphs under one `If`: without past (first step, which also yields the keys and values
//! over the encoder's output) and with past. The latter's encoder keys are placeholders and are not carried over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rten::{Model, NodeId, RunError, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView, Tensor};

use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::Weights;

/// The only rate the model hears.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// The model's own training limit; longer audio is cut by the caller (`stream` does so at a pause).
pub const MAX_SECONDS: usize = 30;

/// Shortest input. The stem's strides swallow less than this, and a clipped "yes" gains from some silence around it.
const MIN_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 2;

/// Speech does not run faster than this; a decoder that goes on has begun to repeat itself (the authors' bound).
const TOKENS_PER_SECOND: f32 = 6.5;
/// So that one short word is never cut.
const TOKENS_AT_LEAST: usize = 6;

const LAYERS: usize = 6;
const HEADS: usize = 8;
const HEAD_SIZE: usize = 36;
/// How sure the decoder has to be, at the first step, that there are no words at all. The small model is too quick
/// with that when there is silence around one short word: measured on telephone audio, its probability was 0.44–0.78
/// for such words and 0.93 or more for beeps, silence, noise and animals.
const NO_WORDS: f32 = 0.85;

const START_TOKEN: i32 = 1;
const END_TOKEN: i32 = 2;

/// Why audio could not be recognised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoonshineError {
    /// A model file could not be loaded.
    #[error("{}: {reason}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the runtime said.
        reason: String,
    },
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vocabulary is not one.
    #[error("{}: {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: TokenizerError,
    },
    /// The graph failed on this audio.
    #[error("the model failed: {0}")]
    Run(#[from] RunError),
    /// The graph gave something of another form than a Moonshine model does.
    #[error("the model's output `{0}` is not what Moonshine tiny gives")]
    Output(&'static str),
    /// More audio than the model can take.
    #[error("{0} samples at 16 kHz are over the limit of {MAX_SECONDS} s: cut the audio at a pause")]
    TooLong(usize),
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// The text, with the model's own capitals and punctuation; empty when it heard no words.
    pub text: String,
    /// Geometric mean of the tokens' probabilities, 0 to 1; 0 when there are none.
    pub confidence: f32,
}

/// The loaded model. One serves every stream: it is never changed, share it in an [`Arc`].
pub struct Moonshine {
    encoder: Model,
    decoder: Model,
    nodes: Nodes,
    tokenizer: Tokenizer,
    threads: Arc<ThreadPool>,
}

/// The graph's inputs and outputs by number, looked up once.
struct Nodes {
    audio: NodeId,
    hidden: NodeId,
    token: NodeId,
    encoded: NodeId,
    with_past: NodeId,
    /// Per layer: decoder key, decoder value, encoder key, encoder value.
    past: Vec<NodeId>,
    /// `logits`, then the counterpart of `past`.
    outputs: Vec<NodeId>,
}

impl Moonshine {
    /// Loads the checked weights, to be run on `threads` threads (1 or more) of its own, however many decodes are asked for
    /// at once. More threads than cores are of no use. Takes about 0.1 s and 130 MB.
    ///
    /// # Errors
    /// [`MoonshineError::Load`], [`MoonshineError::Io`] or [`MoonshineError::Tokenizer`] with the file.
    pub fn load(weights: &Weights, threads: usize) -> Result<Self, MoonshineError> {
        let encoder = load_model(&weights.encoder())?;
        let decoder = load_model(&weights.decoder())?;
        let path = weights.tokenizer();
        let bytes = fs::read(&path).map_err(|source| MoonshineError::Io { path: path.clone(), source })?;
        let tokenizer = Tokenizer::parse(&bytes).map_err(|source| MoonshineError::Tokenizer { path, source })?;
        let nodes = Nodes::find(&encoder, &decoder)?;
        let threads = Arc::new(ThreadPool::with_num_threads(threads.max(1)));
        Ok(Self { encoder, decoder, nodes, tokenizer, threads })
    }

    /// The text of `audio`: mono, 16 kHz, −1 to 1, at most [`MAX_SECONDS`]. Blocks for about 3 % of the audio's length.
    ///
    /// # Errors
    /// [`MoonshineError::TooLong`], or what the runtime says.
    pub fn transcribe(&self, audio: &[f32]) -> Result<Transcript, MoonshineError> {
        if audio.len() > MAX_SECONDS * SAMPLE_RATE_HZ as usize {
            return Err(MoonshineError::TooLong(audio.len()));
        }
        if audio.is_empty() {
            return Ok(Transcript::default());
        }
        let encoded = self.encode(audio)?;
        let seconds = audio.len() as f32 / SAMPLE_RATE_HZ as f32;
        self.decode(encoded, TOKENS_AT_LEAST + (seconds * TOKENS_PER_SECOND) as usize)
    }

    fn encode(&self, audio: &[f32]) -> Result<Value, MoonshineError> {
        let mut padded;
        let audio = if audio.len() < MIN_SAMPLES {
            padded = audio.to_vec();
            padded.resize(MIN_SAMPLES, 0.0);
            &padded[..]
        } else {
            audio
        };
        let input = NdTensorView::from_data([1, audio.len()], audio);
        let [encoded] =
            self.encoder.run_n(vec![(self.nodes.audio, input.into())], [self.nodes.hidden], self.options())?;
        Ok(encoded)
    }

    fn decode(&self, encoded: Value, limit: usize) -> Result<Transcript, MoonshineError> {
        let empty = || Value::from(Tensor::<f32>::zeros(&[1, HEADS, 0, HEAD_SIZE]));
        let mut past: Vec<Value> = self.nodes.past.iter().map(|_| empty()).collect();
        let mut tokens: Vec<i32> = Vec::with_capacity(limit);
        let mut log_probability = 0.0;
        let mut token = START_TOKEN;
        for step in 0..limit {
            let with_past = step > 0;
            let mut inputs: Vec<(NodeId, ValueOrView)> = Vec::with_capacity(self.nodes.past.len() + 3);
            inputs.push((self.nodes.token, NdTensor::from_data([1, 1], vec![token]).into()));
            inputs.push((self.nodes.with_past, NdTensor::from_data([1], vec![i32::from(with_past)]).into()));
            inputs.push((self.nodes.encoded, (&encoded).into()));
            for (index, (&node, value)) in self.nodes.past.iter().zip(&mut past).enumerate() {
                // The decoder's own keys and values are handed over, so that the graph may grow them in place.
                let owned = is_decoder(index) && with_past;
                let input = if owned { std::mem::replace(value, empty()).into() } else { (&*value).into() };
                inputs.push((node, input));
            }
            let mut outputs = self.decoder.run(inputs, &self.nodes.outputs, self.options())?.into_iter();
            let logits = outputs.next().ok_or(MoonshineError::Output("logits"))?;
            for (index, (value, present)) in past.iter_mut().zip(outputs).enumerate() {
                if is_decoder(index) || !with_past {
                    *value = present;
                }
            }
            let choice = Choice::of(&logits)?;
            if choice.end >= if with_past { choice.probability } else { NO_WORDS } {
                break;
            }
            let Choice { token: best, probability, .. } = choice;
            tokens.push(best);
            log_probability += probability.ln();
            token = best;
            if let Some(keep) = looping(&tokens) {
                tokens.truncate(keep);
                break;
            }
        }
        let confidence = if tokens.is_empty() { 0.0 } else { (log_probability / tokens.len() as f32).exp().min(1.0) };
        Ok(Transcript { text: self.tokenizer.text(&tokens), confidence })
    }

    fn options(&self) -> Option<RunOptions> {
        Some(RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads))))
    }
}

impl Nodes {
    fn find(encoder: &Model, decoder: &Model) -> Result<Self, MoonshineError> {
        let parts = ["decoder.key", "decoder.value", "encoder.key", "encoder.value"];
        let names = |prefix: &str| -> Vec<String> {
            (0..LAYERS).flat_map(|layer| parts.map(|part| format!("{prefix}.{layer}.{part}"))).collect()
        };
        let all = |names: Vec<String>| names.iter().map(|name| decoder.node_id(name)).collect::<Result<Vec<_>, _>>();
        let mut outputs = vec![decoder.node_id("logits")?];
        outputs.extend(all(names("present"))?);
        Ok(Self {
            audio: encoder.node_id("input_values")?,
            hidden: encoder.node_id("last_hidden_state")?,
            token: decoder.node_id("input_ids")?,
            encoded: decoder.node_id("encoder_hidden_states")?,
            with_past: decoder.node_id("use_cache_branch")?,
            past: all(names("past_key_values"))?,
            outputs,
        })
    }
}

fn load_model(path: &Path) -> Result<Model, MoonshineError> {
    Model::load_file(path).map_err(|error| MoonshineError::Load { path: path.to_owned(), reason: error.to_string() })
}

/// Whether the `index`-th of the four-a-layer values is of the decoder's self-attention.
fn is_decoder(index: usize) -> bool {
    index % 4 < 2
}

/// What the decoder would write next.
struct Choice {
    /// The most likely token that is not the end.
    token: i32,
    /// Its probability.
    probability: f32,
    /// The probability that the text ends here.
    end: f32,
}

impl Choice {
    /// Reads the logits of the last position.
    fn of(logits: &Value) -> Result<Self, MoonshineError> {
        const WRONG: MoonshineError = MoonshineError::Output("logits");
        let view = logits.as_tensor_view::<f32>().ok_or(WRONG)?;
        let vocabulary = *view.shape().last().ok_or(WRONG)?;
        let data = view.to_contiguous();
        let data = data.data();
        let last = data.len().checked_sub(vocabulary).and_then(|from| data.get(from..)).ok_or(WRONG)?;
        let words = last.iter().enumerate().filter(|(token, _)| *token != END_TOKEN as usize);
        let (token, &top) = words.max_by(|a, b| a.1.total_cmp(b.1)).ok_or(WRONG)?;
        let end = *last.get(END_TOKEN as usize).ok_or(WRONG)?;
        let highest = top.max(end);
        let sum: f32 = last.iter().map(|logit| (logit - highest).exp()).sum();
        let token = i32::try_from(token).map_err(|_| WRONG)?;
        Ok(Self { token, probability: (top - highest).exp() / sum, end: (end - highest).exp() / sum })
    }
}

/// A small model on noise can fall into a loop. When the end is one phrase of two to eight tokens four times over (one
/// token twelve times: people do say "no no no", and read out zeros), this is how many tokens to keep: the first phrase.
fn looping(tokens: &[i32]) -> Option<usize> {
    (1..=8).find_map(|period| {
        let times = if period == 1 { 12 } else { 4 };
        let from = tokens.len().checked_sub(period * times)?;
        let tail = &tokens[from..];
        tail.chunks(period).all(|phrase| phrase == &tail[..period]).then_some(from + period)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_cut_to_one_phrase_and_a_repeated_word_is_not() {
        assert_eq!(looping(&[9, 1, 2, 1, 2, 1, 2, 1, 2]), Some(3));
        assert_eq!(looping(&[5, 5, 5, 5]), None);
        assert_eq!(looping(&[7, 3, 4, 3, 4, 3, 4]), None);
        assert_eq!(looping(&[5; 12]), Some(1));
        assert_eq!(looping(&[]), None);
    }
}
