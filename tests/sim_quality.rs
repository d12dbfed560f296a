//! The measurement of the line, held against a network whose every packet's fate is known.
//!
//! Two legs talk to each other in virtual time. What the network does to each packet is written down beforehand; what the legs say of it,
//! in their own figures, in their reports and in their extended reports, is computed here once more, from RFC 3550 A.8, RFC 3611 section
//! 4.7.2 and ITU-T G.107 alone.

mod sim;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::network::Weather;
use sim::{Scenario, Seen};
use trunkline::call::event::What;
use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::knobs::LegKnobs;
use trunkline::call::leg::{Command, Leg, LegEvent, Media, Outlet, SLOT, Setup, WallClock};
use trunkline::call::quality::{LineRules, Occasion};
use trunkline::call::record::{LineQuality, Look};
use trunkline::codec::g711::Law;
use trunkline::ms::Ms;
use trunkline::rtp::packet::Packet;
use trunkline::rtp::xr::VoipMetrics;

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 4_000);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 5_000);
/// Each way, without what is injected.
const DELAY_MS: u64 = 40;

/// What the network does to a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// It takes so many ms more than it must: little enough for any buffer.
    After(u64),
    Lost,
    /// It comes when later ones have long been played.
    TooLate,
    Twice,
}

const TOO_LATE_MS: u64 = 500;

#[derive(Default)]
struct Wire {
    rtp: Vec<Vec<u8>>,
    rtcp: Vec<(SocketAddr, Vec<u8>)>,
    looks: Vec<Look>,
}

impl Outlet for Wire {
    fn event(&mut self, event: LegEvent) {
        if let LegEvent::Look(look) = event {
            self.looks.push(*look);
        }
    }
    fn heard(&mut self, _: impl FnOnce() -> HeardFrame) {}
    fn record(&mut self, _: impl FnOnce() -> RecordedFrame) {}
    fn send(&mut self, _: SocketAddr, packet: &[u8]) {
        self.rtp.push(packet.to_vec());
    }
    fn report(&mut self, to: SocketAddr, compound: &[u8]) {
        self.rtcp.push((to, compound.to_vec()));
    }
}

fn leg(start: Instant, seed: u64, remote: SocketAddr, mux: bool, xr: bool) -> Leg {
    let media = Media {
        rtcp: if mux { remote } else { SocketAddr::new(remote.ip(), remote.port() + 1) },
        rtcp_mux: mux,
        rtcp_xr: xr,
        ..Media::g711(Law::A, remote)
    };
    let clock = WallClock { at: start, unix: Duration::from_secs(1_800_000_000) };
    Leg::new(Setup {
        media,
        srtp: None,
        may_widen: false,
        inband_keys: Default::default(),
        tones: None,
        answerer: None,
        knobs: LegKnobs::default(),
        rtp_timeout: Duration::from_secs(30),
        seed,
        clock,
    })
}

/// What both ends say at last, and the arrivals at the second one: number of the packet, and when.
struct Outcome {
    one: LineQuality,
    two: LineQuality,
    arrivals: Vec<(usize, u64)>,
    looks: Vec<Look>,
}

/// The first leg's packets meet their fates; the way back is clean. The second one is looked at every 100 packets.
fn talk(fates: &[Fate], mux: bool, xr: bool) -> Outcome {
    let start = Instant::now();
    let (mut one, mut two) = (leg(start, 1, THERE, mux, xr), leg(start, 2, HERE, mux, xr));
    // When it comes, in ms; to whom; RTP or RTCP.
    let mut line: Vec<(u64, u8, bool, Vec<u8>)> = Vec::new();
    let (mut arrivals, mut sent, mut looks) = (Vec::new(), 0, Vec::new());
    let slots = fates.len() as u64 + 40;
    for slot in 0..slots {
        let ms = slot * 20;
        line.sort_by_key(|(at, ..)| *at);
        let rest = line.split_off(line.partition_point(|(at, ..)| *at <= ms));
        for (at, to, rtp, datagram) in std::mem::replace(&mut line, rest) {
            let now = start + Duration::from_millis(at);
            let (leg, from) = if to == 1 { (&mut one, THERE) } else { (&mut two, HERE) };
            let beside = SocketAddr::new(from.ip(), from.port() + 1);
            match (rtp, mux) {
                (true, _) => leg.receive(now, from, &datagram),
                (false, true) => leg.receive(now, from, &datagram),
                (false, false) => leg.receive_report(now, beside, &datagram),
            }
            if rtp && to == 2 {
                let packet = Packet::parse(&datagram).expect("RTP");
                arrivals.push((packet.sequence.0, at));
            }
        }
        let now = start + SLOT * slot as u32;
        let (mut from_one, mut from_two) = (Wire::default(), Wire::default());
        one.tick(now, &mut from_one);
        two.tick(now, &mut from_two);
        if slot % 100 == 99 {
            two.command(Command::Look(Box::default()), &mut from_two);
        }
        if slot + 1 == slots {
            one.farewell(now, &mut from_one);
            two.farewell(now, &mut from_two);
        }
        looks.append(&mut from_two.looks);
        for datagram in from_one.rtp {
            let fate = fates.get(sent).copied().unwrap_or(Fate::Lost);
            sent += 1;
            let mut comes = |later: u64| line.push((ms + DELAY_MS + later, 2, true, datagram.clone()));
            match fate {
                Fate::After(later) => comes(later),
                Fate::TooLate => comes(TOO_LATE_MS),
                Fate::Twice => [0, 3].into_iter().for_each(comes),
                Fate::Lost => {}
            }
        }
        line.extend(from_two.rtp.into_iter().map(|datagram| (ms + DELAY_MS, 1, true, datagram)));
        for (to, wire) in [(2, from_one.rtcp), (1, from_two.rtcp)] {
            for (address, compound) in wire {
                let media = if to == 2 { THERE } else { HERE };
                assert_eq!(address, if mux { media } else { SocketAddr::new(media.ip(), media.port() + 1) });
                line.push((ms + DELAY_MS, to, false, compound));
            }
        }
    }
    // The last words are still under way.
    for (at, to, rtp, datagram) in line.into_iter().filter(|(_, _, rtp, _)| !rtp) {
        assert!(!rtp);
        let now = start + Duration::from_millis(at);
        let (leg, from) = if to == 1 { (&mut one, THERE) } else { (&mut two, HERE) };
        if mux {
            leg.receive(now, from, &datagram)
        } else {
            leg.receive_report(now, from, &datagram)
        };
    }
    for leg in [&one, &two] {
        assert_eq!((leg.refused().malformed, leg.refused().payload_type, leg.refused().source), (0, 0, 0));
    }
    let first = arrivals[0].0;
    let arrivals = arrivals.into_iter().map(|(number, at)| (usize::from(number.wrapping_sub(first)), at)).collect();
    Outcome { one: one.quality(), two: two.quality(), arrivals, looks }
}

/// RFC 3611 section 4.7.2 by its words: packets, lost, discarded, mean burst and gap in packets, densities, and G.107's BurstR.
#[derive(Debug, PartialEq)]
struct Measured {
    loss: f64,
    discard: f64,
    burst_density: f64,
    gap_density: f64,
    burst_ms: u32,
    gap_ms: u32,
    mos: f64,
}

fn measured(fates: &[Fate]) -> Measured {
    let lost = |n: usize| fates[n] == Fate::Lost;
    let late = |n: usize| fates[n] == Fate::TooLate;
    let bad: Vec<bool> = (0..fates.len()).map(|n| lost(n) || late(n)).collect();
    // Bad packets with fewer than 16 good ones between them belong together; one alone belongs to its gap.
    let mut stretches: Vec<(usize, usize, usize)> = Vec::new();
    for n in (0..bad.len()).filter(|n| bad[*n]) {
        match stretches.last_mut() {
            Some((_, end, count)) if n - *end <= 16 => (*end, *count) = (n, *count + 1),
            _ => stretches.push((n, n, 1)),
        }
    }
    let bursts: Vec<_> = stretches.into_iter().filter(|(_, _, count)| *count > 1).collect();
    let in_burst = |n: usize| bursts.iter().any(|(from, to, _)| (*from..=*to).contains(&n));
    let count = |with: &dyn Fn(usize) -> bool| (0..bad.len()).filter(|n| with(*n)).count() as f64;
    let share = |part: f64, of: f64| if of == 0.0 { 0.0 } else { part / of };
    let (within, all) = (count(&in_burst), bad.len() as f64);
    let gaps = count(&|n| !in_burst(n) && (n == 0 || in_burst(n - 1)));
    let runs = count(&|n| bad[n] && (n == 0 || !bad[n - 1]));
    let worse = share(count(&|n| bad[n]), all);
    // G.107: the mean run by what it is at random, 1 ∕ (1 − p).
    let burst_ratio = (share(count(&|n| bad[n]), runs) * (1.0 - worse)).max(1.0);
    let percent = worse * 100.0;
    let r = 93.2 - 95.0 * percent / (percent / burst_ratio + 25.1);
    Measured {
        loss: share(count(&lost), all),
        discard: share(count(&late), all),
        burst_density: share(count(&|n| in_burst(n) && bad[n]), within),
        gap_density: share(count(&|n| !in_burst(n) && bad[n]), all - within),
        burst_ms: (share(within, bursts.len() as f64) * 20.0).round() as u32,
        gap_ms: (share(all - within, gaps) * 20.0).round() as u32,
        mos: 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6,
    }
}

fn agree(is: &VoipMetrics, should: &Measured, name: &str) {
    let near = |is: f32, should: f64, what: &str| {
        assert!((f64::from(is) - should).abs() < 1e-5, "{name}: {what}: {is} is not {should}");
    };
    near(is.loss_rate, should.loss, "loss");
    near(is.discard_rate, should.discard, "discard");
    near(is.burst_density, should.burst_density, "burst density");
    near(is.gap_density, should.gap_density, "gap density");
    assert_eq!((is.burst_ms, is.gap_ms), (Ms(should.burst_ms), Ms(should.gap_ms)), "{name}");
    assert!((f64::from(is.mos_lq.expect("it was heard")) - should.mos).abs() < 1e-4, "{name}: MOS {should:?} {is:?}");
}

/// What is told by an extended report has 8 bits of each.
fn agree_as_told(told: &VoipMetrics, is: &VoipMetrics, name: &str) {
    let byte = |share: f32| (share * 256.0).floor().min(255.0) / 256.0;
    assert_eq!(
        [told.loss_rate, told.discard_rate, told.burst_density, told.gap_density],
        [is.loss_rate, is.discard_rate, is.burst_density, is.gap_density].map(byte),
        "{name}"
    );
    assert_eq!((told.burst_ms, told.gap_ms, told.end_system_ms), (is.burst_ms, is.gap_ms, is.end_system_ms), "{name}");
    assert_eq!(told.mos_lq, is.mos_lq.map(|mos| (mos * 10.0).round() / 10.0), "{name}");
    assert_eq!(told.r_factor, is.r_factor.map(f32::round), "{name}");
    assert_eq!((told.buffer_ms, told.buffer_max_ms), (is.buffer_ms, is.buffer_max_ms), "{name}");
}

/// RFC 3550 A.8 over all arrivals, in units of 1/8000 s; a copy counts once.
fn jitter_ms(arrivals: &[(usize, u64)]) -> u32 {
    let (mut jitter_16, mut last, mut seen) = (0i64, None, std::collections::HashSet::new());
    for (number, at) in arrivals {
        if !seen.insert(*number) {
            continue;
        }
        let transit = *at as i64 * 8 - *number as i64 * 160;
        if let Some(last) = last.replace(transit) {
            let difference: i64 = transit - last;
            jitter_16 += difference.abs() - ((jitter_16 + 8) >> 4);
        }
    }
    (jitter_16 >> 4) as u32 / 8
}

fn clean(packets: usize) -> Vec<Fate> {
    vec![Fate::After(0); packets]
}

/// Good packets lead and follow: before the first and after the last one that comes nothing can be known.
fn traces() -> Vec<(&'static str, Vec<Fate>)> {
    let with = |change: &dyn Fn(usize) -> Option<Fate>| {
        let mut fates = clean(1_500);
        for (n, fate) in fates.iter_mut().enumerate().take(1_450).skip(150) {
            *fate = change(n).unwrap_or(*fate);
        }
        fates
    };
    let mut rng = StdRng::seed_from_u64(11);
    let mut losing = false;
    let gilbert: Vec<bool> = (0..1_500)
        .map(|_| {
            losing = rng.random_bool(if losing { 0.6 } else { 0.02 });
            losing && rng.random_bool(0.8)
        })
        .collect();
    let random: Vec<u64> = (0..1_500).map(|_| rng.random_range(0..8)).collect();
    vec![
        ("nothing happens", clean(1_500)),
        ("single losses", with(&|n| (n % 50 == 0).then_some(Fate::Lost))),
        ("one packet in ten: one long burst", with(&|n| (n % 10 == 0).then_some(Fate::Lost))),
        ("bursts of five", with(&|n| (n % 200 < 5).then_some(Fate::Lost))),
        ("a hole of two seconds", with(&|n| (400..500).contains(&n).then_some(Fate::Lost))),
        ("some come too late", with(&|n| (n % 100 == 3).then_some(Fate::TooLate))),
        (
            "losses and late ones",
            with(&|n| match n % 97 {
                3 | 9 => Some(Fate::Lost),
                5 => Some(Fate::TooLate),
                _ => None,
            }),
        ),
        (
            "copies",
            with(&|n| [None, Some(Fate::Twice), Some(Fate::Lost)][usize::from(n % 5 == 0) + usize::from(n % 60 == 0)]),
        ),
        ("jitter", with(&|n| Some(Fate::After(random[n])))),
        (
            "a Gilbert-Elliott network with jitter",
            with(&|n| Some(if gilbert[n] { Fate::Lost } else { Fate::After(random[n]) })),
        ),
    ]
}

#[test]
fn every_figure_is_that_of_the_injected_trace() {
    for (name, fates) in traces() {
        for mux in [false, true] {
            let outcome = talk(&fates, mux, true);
            let should = measured(&fates);
            let heard = outcome.two.heard.expect("it was heard");
            agree(&heard, &should, name);
            let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count() as u64;
            let late = fates.iter().filter(|fate| **fate == Fate::TooLate).count() as u64;
            assert_eq!((outcome.two.lost, outcome.two.late), (lost, late), "{name}");
            assert_eq!(outcome.two.received, fates.len() as u64 - lost, "{name}");
            let jitter = jitter_ms(&outcome.arrivals);
            assert_eq!(outcome.two.jitter_ms, Ms(jitter), "{name}");
            // The other end knows the same, by reports.
            let peer = outcome.one.peer.expect("it was told");
            let copies = fates.iter().filter(|fate| **fate == Fate::Twice).count() as u64;
            assert_eq!((peer.lost, peer.jitter_ms), (lost.saturating_sub(copies), Ms(jitter)), "{name}");
            agree_as_told(&peer.heard.expect("by an extended report"), &heard, name);
            // The way back is clean, and what was sent in the last 40 ms is still under way.
            agree(&outcome.one.heard.expect("it was heard"), &measured(&clean(1_500 + 40 - 2)), name);
            for quality in [outcome.one, outcome.two] {
                let trip = quality.heard.and_then(|heard| heard.round_trip_ms).expect("it was measured");
                assert!((79..=80).contains(&trip.0), "{name}: twice {DELAY_MS} ms, not {trip}");
            }
            // Half of the round trip and of what both ends add; by the fit to G.107 for delays below 177.3 ms.
            let system = |quality: &LineQuality| quality.heard.and_then(|heard| heard.end_system_ms).expect("known").0;
            let told = peer.heard.and_then(|heard| heard.end_system_ms).expect("told").0;
            let one_way = f64::from(80 + system(&outcome.one) + told) / 2.0;
            let r = outcome.one.heard.and_then(|heard| heard.r_factor).expect("known");
            assert!((f64::from(r) - (93.2 - 0.024 * one_way)).abs() < 0.05, "{name}: R {r}, {one_way} ms one way");
        }
    }
}

#[test]
fn looks_add_up_to_the_whole_and_tell_of_their_stretch_alone() {
    let mut fates = clean(1_500);
    (500..600).filter(|n| n % 4 == 0).for_each(|n| fates[n] = Fate::Lost);
    let outcome = talk(&fates, false, false);
    let lately: Vec<_> = outcome.looks.iter().filter_map(|look| look.lately).collect();
    let bad: Vec<_> = lately.iter().enumerate().filter(|(_, lately)| lately.loss_rate > 0.0).map(|(n, _)| n).collect();
    assert!(lately.len() >= 14 && bad.len() <= 2 && bad.iter().all(|n| [4, 5].contains(n)), "{bad:?}");
    let worst = lately.iter().map(|lately| lately.mos_lq).fold(5.0, f32::min);
    assert!(worst < 2.5, "{worst}");
    assert!(lately.last().is_some_and(|lately| lately.mos_lq > 4.4));
    let so_far: Vec<_> = outcome.looks.iter().map(|look| look.so_far.lost).collect();
    assert!(so_far.is_sorted() && so_far.last() == Some(&25), "{so_far:?}");
}

#[test]
fn without_agreement_no_extended_report_goes_out() {
    let outcome = talk(&clean(600), false, false);
    assert!(outcome.one.peer.is_some_and(|peer| peer.heard.is_none() && peer.round_trip_ms.is_some()));
}

fn told(seen: &Seen) -> Vec<Occasion> {
    let one = |what: &What| match what {
        What::Quality { occasion, .. } => Some(*occasion),
        _ => None,
    };
    seen.told.iter().filter_map(|(_, _, what)| one(what)).collect()
}

/// A call of some 70 s: the phone hears the robot out and hangs up.
fn long_call(rtp: Weather, line: LineRules) -> Seen {
    let bye =
        trunkline::call::action::Action::Hangup { now: true, reason: "enough".into(), farewell: Default::default() };
    Scenario { rtp, line, orders: vec![(70_000, sim::Order::Do(bye))], ..Scenario::outbound() }.run(5)
}

#[test]
fn a_call_tells_of_its_line_when_it_is_poor_or_when_it_is_asked_to() {
    let storm = Weather { loss: 250, burst: 4, ..Weather::CLEAN };
    assert_eq!(told(&long_call(Weather::CLEAN, LineRules::default())), []);
    assert_eq!(told(&long_call(storm, LineRules::default()))[0], Occasion::Poor);
    assert_eq!(told(&long_call(storm, LineRules { poor_below: None, ..LineRules::default() })), []);
    let every = LineRules { tell_every: Some(Duration::from_secs(20)), ..LineRules::default() };
    let seen = long_call(Weather::CLEAN, every);
    assert_eq!(told(&seen), [Occasion::Regular; 3]);
    // The phone here speaks no RTCP: what only it could tell is not known.
    let quality = seen.record().quality;
    let heard = quality.heard.expect("it was heard");
    assert_eq!((quality.peer, heard.round_trip_ms, heard.r_factor, heard.mos_cq), (None, None, None, None));
    assert_eq!((heard.loss_rate, heard.burst_ms, heard.mos_lq.map(|mos| mos > 4.4)), (0.0, Ms(0), Some(true)));
}
