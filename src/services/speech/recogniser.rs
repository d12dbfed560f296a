//! One model for all streams: decodes on the blocking pool, no more at once than there are processors for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::moonshine::{Moonshine, SAMPLE_RATE_HZ, Transcript};
use super::stream::Job;
use crate::codec::resample::{ResampleError, Resampler, SampleRate};

/// The shared recogniser. Cloning it is cheap.
#[derive(Clone)]
pub struct Recogniser {
    model: Arc<Moonshine>,
    places: Arc<Semaphore>,
}

impl Recogniser {
    /// Shares `model`; at most `at_once` decodes (1 or more) run at the same time.
    pub fn new(model: Moonshine, at_once: usize) -> Self {
        Self { model: Arc::new(model), places: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// Decodes one job and waits for its turn. None: the job was not urgent and every place was taken.
    ///
    /// The inner error is for a log: what failed, in words.
    pub async fn decode(&self, job: Job) -> Option<Result<Transcript, String>> {
        let place = if job.urgent {
            Arc::clone(&self.places).acquire_owned().await.ok()?
        } else {
            Arc::clone(&self.places).try_acquire_owned().ok()?
        };
        let model = Arc::clone(&self.model);
        let work = tokio::task::spawn_blocking(move || transcribe(&model, &job, place));
        Some(work.await.unwrap_or_else(|error| Err(format!("the decode ended early: {error}"))))
    }
}

/// The place is held by the work itself: a stream that goes away does not free it while its decode still runs.
fn transcribe(model: &Moonshine, job: &Job, _place: OwnedSemaphorePermit) -> Result<Transcript, String> {
    let samples = resampled(job)?;
    let audio: Vec<f32> = samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
    model.transcribe(&audio).map_err(|error| error.to_string())
}

/// The job's audio at the model's rate.
fn resampled(job: &Job) -> Result<Vec<i16>, String> {
    let rate = |hz| SampleRate::from_hz(hz).ok_or_else(|| format!("{hz} Hz cannot be resampled"));
    let told = |error: ResampleError| error.to_string();
    let mut resampler = Resampler::new(rate(job.rate)?, rate(SAMPLE_RATE_HZ)?).map_err(told)?;
    let mut samples = Vec::new();
    resampler.push(&job.samples, &mut samples).map_err(told)?;
    resampler.flush(&mut samples).map_err(told)?;
    Ok(samples)
}
