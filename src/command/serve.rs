//! `trunkline serve`: every floor, joined.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Done, ended, files};
use crate::config::Config;
use crate::dialogue::Dialogues;
use crate::speech::Speech;
use crate::speech::prompts::Prompts;
use crate::switchboard::settings::Trunk;
use crate::switchboard::{self, Shells};
use crate::{control, journal, media, net, web};

/// Takes and makes calls until the process is asked to end; then calls go on for `[limits] drain_s`, unless it is asked again.
///
/// # Errors
/// What keeps it from starting: an address that cannot be bound, names the key that holds it.
pub async fn serve(config: Config) -> Done {
    let (summary, warnings) = (config.summary(), config.warnings());
    // A call takes three sockets and, while it is recorded, a file.
    let (calls, wanted) = (config.switchboard.max_calls, 4 * config.switchboard.max_calls as u64 + 256);
    if let Err(there) = files::allow(wanted) {
        tracing::warn!(
            there,
            wanted,
            "the limit on open files is too low for [limits] calls = {calls}; raise it (ulimit -n, LimitNOFILE=) or lower that"
        );
    }
    let wrong = |key: &str, address: std::net::SocketAddr| {
        let key = key.to_owned();
        move |error: std::io::Error| format!("{key} = \"{address}\": {error}; choose another one, or end who holds it")
    };
    let mut registry = Registry::with_prefix("trunkline");
    let folder = &config.journal.folder;
    journal::probe(folder).map_err(|error| {
        let way_out = "give it to the user that runs trunkline, or name another folder";
        format!("[recording] folder = {folder:?}: cannot be written: {error}; {way_out}")
    })?;
    let journal = journal::start(&config.journal)?;
    journal.register(&mut registry);
    let net_metrics = Arc::new(net::Metrics::default());
    net_metrics.register(&mut registry);
    let sources: Vec<_> = config.switchboard.trunks.iter().flat_map(|trunk| trunk.sources.clone()).collect();
    let allowed: net::Allowed = Arc::new(move |ip| sources.iter().any(|network| network.contains(ip)));
    let (net, arrivals) = net::Net::bind(&config.sip, allowed, net_metrics)?;
    let trunks = trunk_nets(&net, &config.switchboard.trunks)?;
    let hang_ups = tokio::spawn(reload_on_hang_up(net.clone()));
    let media_metrics = Arc::new(media::Metrics::default());
    media_metrics.register(&mut registry);
    let engine = media::Engine::start(&config.media, &media_metrics)?;
    let mut speech = Speech::new(config.speech)?;
    if let Some(cache) = config.phrases {
        let folder = cache.folder.clone();
        speech = speech.keep_phrases(cache).await.map_err(|error| {
            let way_out = "give it to the user that runs trunkline, or name another folder";
            format!("[phrase_cache] folder = {folder:?}: cannot be used: {error}; {way_out}")
        })?;
    }
    speech.metrics().register(&mut registry);
    let dialogues = Dialogues::new(config.dialogues)?;
    dialogues.metrics().register(&mut registry);
    let metrics = Arc::new(switchboard::Metrics::default());
    metrics.register(&mut registry);
    let control_listener =
        TcpListener::bind(config.control).await.map_err(wrong("[control] listen", config.control))?;
    let web_listener = TcpListener::bind(config.web).await.map_err(wrong("[web] listen", config.web))?;

    let shells = Shells {
        net,
        trunks,
        media: engine,
        speech: speech.clone(),
        prompts: Prompts::new(config.prompts),
        dialogues: dialogues.clone(),
        journal: journal.clone(),
    };
    let seed = rand::rng().random();
    let switchboard = switchboard::start(config.switchboard, shells, metrics, arrivals, seed);
    let (reasons, ready) = watch::channel(vec!["starting".to_owned()]);
    let (closing, closed) = watch::channel(false);
    let not_ready = vec![ready, switchboard.doors(), switchboard.broken()];
    let signs = web::Signs { broken: switchboard.broken(), not_ready };
    let face = web::serve(web_listener, Arc::new(registry), signs, until(closed.clone()));
    let face = tokio::spawn(face);
    let handles = control::serve(control_listener, switchboard.clone(), journal.clone(), until(closed));
    let handles = tokio::spawn(handles);
    let readiness = tokio::spawn(watch_services(speech, dialogues, reasons.clone()));
    tracing::info!("{summary}");
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

    ended().await;
    tracing::info!("asked to end: no new calls; those that are up may go on for a while; ask again to end them now");
    readiness.abort();
    hang_ups.abort();
    let _ = reasons.send(vec!["shutting down".to_owned()]);
    tokio::select! {
        () = switchboard.stop() => {}
        () = ended() => switchboard.stop_now().await,
    }
    // The records first: whatever became of the faces, nothing of a call is lost.
    journal.shutdown().await;
    let _ = closing.send(true);
    handles.await??;
    face.await?;
    tracing::info!("ended");
    Ok(())
}

/// The SIP sockets as each trunk uses them.
fn trunk_nets(net: &net::Net, trunks: &[Trunk]) -> Result<Vec<net::Net>, String> {
    let of = |trunk: &Trunk| match &trunk.tls {
        Some(files) => net.for_trunk(files).map_err(|error| format!("trunk {}: [tls]: {error}", trunk.name)),
        None => Ok(net.clone()),
    };
    trunks.iter().map(of).collect()
}

/// SIGHUP: the certificates are read again.
async fn reload_on_hang_up(net: net::Net) {
    // A system without the signal has the files looked at all the same.
    let Ok(mut signals) = signal(SignalKind::hangup()) else { return };
    while signals.recv().await.is_some() {
        tracing::info!("SIGHUP: certificates are read again");
        net.reload();
    }
}

/// Asks the services again and again whether they are there. Ready is who can hear, speak and answer: calls taken without would end with the
/// fallback prompt.
async fn watch_services(speech: Speech, dialogues: Dialogues, reasons: watch::Sender<Vec<String>>) {
    let readiness = async {
        loop {
            // Before the look, so that no news falls between the two.
            let (changed, also) = (speech.changed(), dialogues.changed());
            let wrong: Vec<_> = speech.troubles().into_iter().chain(dialogues.troubles()).collect();
            reasons.send_if_modified(|before| {
                let changed = *before != wrong;
                if changed {
                    wrong.iter().for_each(|reason| tracing::warn!(reason, "not ready"));
                    if wrong.is_empty() {
                        tracing::info!("ready");
                    }
                    *before = wrong;
                }
                changed
            });
            futures_util::future::select(changed, also).await;
        }
    };
    tokio::join!(speech.watch(), dialogues.watch(), readiness);
}

async fn until(mut closing: watch::Receiver<bool>) {
    // A sender that is gone has no more to say than that it is over.
    let _ = closing.wait_for(|closing| *closing).await;
}
