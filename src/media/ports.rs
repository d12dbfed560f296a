//! RTP ports: the even ones of a range, dealt out to the threads so that no thread has to ask another one.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// RFC 3550 §11: RTP on an even port, the odd one above it is RTCP's.
pub(super) fn even(range: &RangeInclusive<u16>) -> Vec<u16> {
    range.clone().filter(|port| port % 2 == 0 && *port != 0 && port < range.end()).collect()
}

/// One share a thread.
pub(super) fn split(ports: &[u16], threads: usize) -> Vec<VecDeque<u16>> {
    let mut shares = vec![VecDeque::new(); threads];
    for (n, port) in ports.iter().enumerate() {
        shares[n % threads].push_back(*port);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_even_port_is_dealt_out_once() {
        let ports = even(&(10_001..=10_010));
        assert_eq!(ports, [10_002, 10_004, 10_006, 10_008], "10,011 is not ours");
        let mut all: Vec<u16> = split(&ports, 2).into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, ports);
    }
}
