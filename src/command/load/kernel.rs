//! What the kernel alone takes: as many packets each way as so many calls have, and nothing done with them.
//!
//! Every other figure is to be read beside this one. What a packet costs differs by half between machines of one name, and on one machine from
//! hour to hour; and a core that sleeps most of the time pays more for each, because each wake begins with cold caches. So it is
//! taken in the same minute, on the same core, with as many sockets, and in the server's own rhythm: by its media threads' wheel;
//! in each slot all that has come is read, then all packets are sent.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

use super::{Hold, Trouble};
use crate::command::files;
use crate::command::harness::stage;
use crate::media::{SLOTS, Wheel, exact_sleep};

/// RTP with 20 ms of G.711.
const PACKET: usize = 172;
const ROUNDS_A_SECOND: u32 = 50;
/// The far ends live on so many addresses, and all of an address share a socket, as the harness' phones do.
const ADDRESSES: u8 = 8;
/// Until both sides are up, and before anything is counted.
const BEFORE: Duration = Duration::from_millis(100);
const WARM_UP_ROUNDS: u32 = ROUNDS_A_SECOND;

/// Measures it for `calls` calls; ms of CPU per call-second. Nothing, if it is not asked for.
pub(super) async fn alone(options: &Hold, calls: u32) -> Result<Option<f64>, Trouble> {
    if options.kernel == 0 {
        return Ok(None);
    }
    let neighbour = options.against.pid.and_then(|pid| Pid::from_raw(pid as i32));
    let theirs = neighbour.and_then(|pid| rustix::thread::sched_getaffinity(Some(pid)).ok());
    let server = theirs.as_ref().map_or_else(|| options.server.server_cpus.clone(), cores);
    let (seconds, phones) = (options.kernel, options.server.own_cpus.clone());
    let exchange = tokio::task::spawn_blocking(move || exchange(calls as usize, seconds, &server, &phones));
    let cpu = exchange.await.map_err(|error| Trouble::Socket(error.to_string()))??;
    Ok(Some(cpu.as_secs_f64() * 1_000.0 / (f64::from(calls) * f64::from(seconds))))
}

fn cores(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// CPU time of the server's side.
fn exchange(calls: usize, seconds: u32, server: &[usize], phones: &[usize]) -> Result<Duration, Trouble> {
    let trouble =
        |what: &str| Trouble::Socket(format!("the kernel alone cannot be measured: {what}; --kernel 0 leaves it out"));
    let wrong = |error: std::io::Error| trouble(&error.to_string());
    files::allow(calls as u64 + 256).map_err(|most| trouble(&format!("only {most} files may be open (ulimit -n)")))?;
    let far: Vec<UdpSocket> =
        (2..2 + ADDRESSES).map(|n| bind(Ipv4Addr::new(127, 0, 0, n))).collect::<Result<_, _>>().map_err(wrong)?;
    let near = (0..calls).map(|call| {
        let socket = bind(Ipv4Addr::LOCALHOST)?;
        socket.connect(far[call % far.len()].local_addr()?)?;
        Ok(socket)
    });
    let near: Vec<UdpSocket> = near.collect::<Result<_, _>>().map_err(wrong)?;
    let to: Vec<SocketAddr> = near.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>().map_err(wrong)?;
    let origin = Instant::now() + BEFORE;
    thread::scope(|scope| {
        let far_ends = scope.spawn(|| {
            stage::pin(phones)?;
            let mut room = [0; 2 * PACKET];
            turn(origin, calls, seconds, |slot| {
                far.iter().for_each(|socket| while socket.recv(&mut room).is_ok() {});
                slot.iter().for_each(|call| sent(far[call % far.len()].send_to(&[0; PACKET], to[*call])));
            });
            Ok(())
        });
        let ours = scope.spawn(|| {
            stage::pin(server)?;
            let mut room = [0; 2 * PACKET];
            Ok(turn(origin, calls, seconds, |slot| {
                // Nothing has come from a far end that is late: it will be read in the next slot.
                slot.iter().for_each(|call| drop(near[*call].recv(&mut room)));
                slot.iter().for_each(|call| sent(near[*call].send(&[0; PACKET])));
            }))
        });
        let gone = |_| trouble("a thread has ended");
        far_ends.join().map_err(gone)??;
        ours.join().map_err(gone)?
    })
}

fn bind(address: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A packet that a full buffer refuses has cost what any other costs.
fn sent(_: std::io::Result<usize>) {}

/// Goes round from `origin` on, and gives each slot the calls that it has. The CPU time of this thread, the first second left out.
fn turn(origin: Instant, calls: usize, seconds: u32, mut serve: impl FnMut(&[usize])) -> Duration {
    exact_sleep();
    let mut wheel = Wheel::default();
    for call in 0..calls {
        wheel.add(call);
    }
    let mut before = Duration::ZERO;
    for round in 0..WARM_UP_ROUNDS + seconds * ROUNDS_A_SECOND {
        if round == WARM_UP_ROUNDS {
            before = cpu_time();
        }
        for tick in (u64::from(round) * SLOTS as u64..).take(SLOTS) {
            let slot = wheel.legs(tick);
            if !slot.is_empty() {
                thread::sleep((origin + Duration::from_millis(tick)).saturating_duration_since(Instant::now()));
                serve(slot);
            }
        }
    }
    cpu_time() - before
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_a_slot_in_each_round() {
        for calls in [1, 63, 65, 200] {
            let mut served = vec![0; calls];
            turn(Instant::now(), calls, 0, |slot| slot.iter().for_each(|call| served[*call] += 1));
            assert!(served.iter().all(|times| *times == WARM_UP_ROUNDS), "{calls}: {served:?}");
        }
    }

    #[test]
    fn packets_cost_something() {
        let cpu = exchange(20, 1, &[], &[]).expect("there are sockets");
        assert!(cpu > Duration::ZERO, "{cpu:?}");
    }
}
