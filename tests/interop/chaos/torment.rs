//! What becomes of the services: each process has a fate of its own, by the seed.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::service;

/// A process that serves something. Killed when dropped, frozen or not.
pub struct Victim {
    pub kind: &'static str,
    port: u16,
    child: Child,
}

impl Victim {
    /// Of "speech" or "dialogue". Its port is the same after each death: nobody else may get it by chance meanwhile.
    pub fn start(kind: &'static str, port: u16) -> Victim {
        Victim { kind, port, child: Victim::child(kind, port) }
    }

    fn child(kind: &str, port: u16) -> Child {
        Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "chaos::service::serves", "--ignored", "--nocapture"])
            .env(service::WHAT, format!("{kind}:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts")
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}

/// The torment, and how often what was done.
pub struct Torment {
    over: watch::Sender<bool>,
    fates: Vec<JoinHandle<()>>,
    done: Arc<[AtomicU64; 3]>,
}

/// Each for itself, until it is over.
pub fn begin(victims: Vec<Victim>, seed: u64) -> Torment {
    let (over, is_over) = watch::channel(false);
    let done = Arc::new([const { AtomicU64::new(0) }; 3]);
    let fates = victims.into_iter().zip(0..).map(|(victim, n)| {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(n));
        tokio::spawn(fate(victim, rng, is_over.clone(), done.clone()))
    });
    Torment { over, fates: fates.collect(), done }
}

impl Torment {
    /// Kills, freezes, slowings.
    pub async fn end(self) -> [u64; 3] {
        let _ = self.over.send(true);
        for fate in self.fates {
            fate.await.expect("no panic");
        }
        [0, 1, 2].map(|n| self.done[n].load(Ordering::Relaxed))
    }
}

async fn fate(mut victim: Victim, mut rng: StdRng, mut over: watch::Receiver<bool>, done: Arc<[AtomicU64; 3]>) {
    loop {
        let peace = Duration::from_millis(rng.random_range(500..5_000));
        tokio::select! {
            () = tokio::time::sleep(peace) => {}
            _ = over.changed() => return victim.kill().await,
        }
        let what: usize = rng.random_range(0..3);
        let long: u64 = rng.random_range(200..6_000);
        match what {
            0 => {
                victim.kill().await;
                tokio::time::sleep(Duration::from_millis(long / 2)).await;
                victim.child = Victim::child(victim.kind, victim.port);
            }
            1 => {
                victim.signal(Signal::STOP);
                tokio::time::sleep(Duration::from_millis(long)).await;
                victim.signal(Signal::CONT);
            }
            // It has a tenth of its time.
            _ => {
                for _ in 0..long / 100 {
                    victim.signal(Signal::STOP);
                    tokio::time::sleep(Duration::from_millis(90)).await;
                    victim.signal(Signal::CONT);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        done[what].fetch_add(1, Ordering::Relaxed);
    }
}
