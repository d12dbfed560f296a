//! The commands of the binary: each joins what the floors offer.

mod call;
pub mod demo;
mod files;
mod harness;
pub mod load;
mod ports;
mod screen;
mod serve;
pub mod turns;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

pub use call::{Order, call};
pub use demo::demo;
pub use harness::Trouble;
pub use load::load;
pub use serve::serve;
pub use turns::turns;

/// What a command comes to: an error is told to the user as it is.
pub type Done = Result<(), Box<dyn Error + Send + Sync>>;

/// `trunkline speech`: serves `speech.v1`, or only fetches the recogniser's weights.
///
/// # Errors
/// Weights that cannot be had, no espeak-ng, an address that cannot be bound; each says what to do.
#[cfg(feature = "speech")]
pub async fn speech(listen: SocketAddr, fetch: bool) -> Done {
    use crate::services::speech::weights::{Weights, cache_folder};
    let cache = cache_folder()?;
    if fetch {
        tokio::task::spawn_blocking(move || Weights::fetch(&cache, &mut |line| println!("{line}"))).await??;
        return Ok(());
    }
    let config = crate::services::speech::Config::new(cache);
    Ok(crate::services::speech::serve(listen, config, ended()).await?)
}

/// `trunkline speech` of a binary that was built without it.
///
/// # Errors
/// Always: it says so.
#[cfg(not(feature = "speech"))]
pub async fn speech(_: SocketAddr, _: bool) -> Done {
    Err("this binary was built without the feature \"speech\"; build it with --features speech".into())
}

/// `trunkline dialogue`: serves `dialogue.v1` from a script.
///
/// # Errors
/// All mistakes of the script; an address that cannot be bound.
pub async fn dialogue(script: PathBuf, listen: SocketAddr) -> Done {
    Ok(crate::services::script::serve(listen, Path::new(&script), ended()).await?)
}

/// Resolves when the process is asked to end: SIGTERM or SIGINT.
async fn ended() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
