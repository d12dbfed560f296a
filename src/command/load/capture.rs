//! Pacing as a capture sees it: `tshark` on lo, a few of the server's ports, read when it is over.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};

use super::Trouble;
use super::histogram::Histogram;
use super::report::Points;

/// Ports that are looked at: 16 calls.
const PORTS: u16 = 32;

/// A capture under way. Killed when dropped.
pub(super) struct Capture {
    child: Child,
}

/// Begins to capture what the server sends from its first ports; ends by itself.
pub(super) fn start(ports: RangeInclusive<u16>, seconds: u32) -> Result<Capture, Trouble> {
    let (first, last) = (*ports.start(), ports.start().saturating_add(PORTS - 1).min(*ports.end()));
    let filter = format!("udp src portrange {first}-{last}");
    let child = Command::new("tshark")
        .args(["-q", "-i", "lo", "-f", &filter, "-a", &format!("duration:{seconds}"), "-s", "80", "-B", "64"])
        .args(["-l", "-T", "fields", "-e", "frame.time_epoch", "-e", "udp.srcport", "-e", "data.data"])
        .args(["-e", "udp.payload"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Trouble::Capture(format!("tshark: {error}; install it (Debian: tshark)")))?;
    Ok(Capture { child })
}

impl Capture {
    /// Waits for its end.
    pub(super) fn finish(mut self) -> Result<Points, Trouble> {
        let out = self.child.stdout.take().ok_or_else(|| Trouble::Capture("tshark: no output".to_owned()))?;
        let (mut pacing, mut before) = (Histogram::of_pacing(), HashMap::new());
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let Some((at, port, sequence)) = packet(&line) else { continue };
            if let Some((then, last)) = before.insert(port, (at, sequence))
                && sequence == u16::wrapping_add(last, 1)
            {
                pacing.add(((at - then - 0.02) * 1e6).abs() as u64);
            }
        }
        // It has ended, or it is of no more use.
        let _ = self.child.wait();
        match pacing.count() {
            0 => Err(Trouble::Capture(
                "saw no RTP; may this user capture on lo? (root, or setcap on dumpcap)".to_owned(),
            )),
            _ => Ok((&pacing).into()),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time, port and RTP sequence number of a line.
fn packet(line: &str) -> Option<(f64, u16, u16)> {
    let mut fields = line.split('\t');
    let (at, port) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let payload = fields.find(|field| field.len() >= 24)?;
    // Version 2, and not RTCP's even packet types.
    let sequence = u16::from_str_radix(payload.get(4..8)?, 16).ok()?;
    payload.starts_with('8').then_some((at, port, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "1795627343.968961000\t20004\t\t8008fffe0000a0000000000100d5";
        assert_eq!(packet(line), Some((1_795_627_343.968_961, 20_004, 0xfffe)));
        assert_eq!(packet("x\t1\t"), None);
    }
}
