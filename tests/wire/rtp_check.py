#!/usr/bin/env python3
"""Looks at RTP on the wire: is each stream of a capture what RFC 3550, 3551 and 4733 ask of a sender?

    tshark -q -i lo -f 'udp portrange 20000-20999' -a duration:20 -w call.pcap
    rtp_check.py call.pcap --from 127.0.0.1:20000-20999 --expect 1 --max-p99 5

Of every stream (source, destination, SSRC):
  sequence   every packet's number is the one before it plus 1, events included
  time       the timestamp moves by the samples of each packet, and over a pause by the pause
  marker     set on the first packet of the stream and after each pause, and on no other
  pacing     distance between departures within a talk spurt: p50, p99, largest, and their deviation from the packet time;
             `grid` is the deviation from one clock that ticks from the start of the spurt
  events     RFC 4733: one timestamp, growing duration, an end, marker on the first packet only

Exit code: 0 all is well, 1 a stream has a fault, 2 the capture cannot be read or lacks what was expected.
Reads pcap and pcapng of Ethernet, loopback, Linux cooked and raw IP links, IPv4 and IPv6.
Limits: fragments are skipped; a codec clock of 8 kHz is assumed unless --clock says otherwise.
"""
import argparse
import ipaddress
import json
import struct
import sys
import wave

PAUSE_MS = 40  # a silence longer than the packet time by this much is a pause, not jitter
FAULTS_SHOWN = 10


class Unreadable(Exception):
    """The file is no capture, or one of a kind that is not read here."""


# ------------------------------------------------------------------ capture files


def frames(data):
    """(seconds, link type, bytes) of each packet. A capture cut off in the middle of a packet ends there."""
    magic = data[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(data)
        return
    kinds = {b"\xd4\xc3\xb2\xa1": ("<", 1e-6), b"\xa1\xb2\xc3\xd4": (">", 1e-6),
             b"\x4d\x3c\xb2\xa1": ("<", 1e-9), b"\xa1\xb2\x3c\x4d": (">", 1e-9)}
    if magic not in kinds or len(data) < 24:
        raise Unreadable("neither pcap nor pcapng")
    order, unit = kinds[magic]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, size, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        if at + size > len(data):
            return
        yield seconds + fraction * unit, link, data[at:at + size]
        at += size


def _pcapng(data):
    at, order, links = 0, "<", []
    while at + 12 <= len(data):
        kind = struct.unpack_from(order + "I", data, at)[0]
        if kind == 0x0A0D0D0A:  # section header: the byte order may change with each
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        size = struct.unpack_from(order + "I", data, at + 4)[0]
        if size < 12 or at + size > len(data):
            return
        if kind == 1:
            link = struct.unpack_from(order + "H", data, at + 8)[0]
            links.append((link, _resolution(data[at + 16:at + size - 4], order)))
        elif kind == 6 and size >= 32:
            interface, high, low, kept = struct.unpack_from(order + "IIII", data, at + 8)
            if interface < len(links):
                link, unit = links[interface]
                yield (high << 32 | low) * unit, link, data[at + 28:at + 28 + kept]
        at += size


def _resolution(options, order):
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == 0:
            break
        if code == 9 and size >= 1 and at + 4 < len(options):
            value = options[at + 4]
            return 2.0 ** -(value & 0x7F) if value & 0x80 else 10.0 ** -value
        at += 4 + (size + 3) // 4 * 4
    return 1e-6


def datagram(link, frame):
    """(source, destination, payload) of a UDP datagram, each end as (address, port); else None."""
    ether = {1: 12, 113: 14, 276: 0}
    if link in ether:
        at = ether[link]
        if len(frame) < at + 2:
            return None
        kind = struct.unpack_from(">H", frame, at)[0]
        at = 20 if link == 276 else at + 2
        if kind == 0x8100:
            kind = struct.unpack_from(">H", frame, at + 2)[0] if len(frame) >= at + 4 else 0
            at += 4
        if kind not in (0x0800, 0x86DD):
            return None
    elif link == 0:
        at = 4
    elif link in (12, 14, 101, 228, 229):
        at = 0
    else:
        raise Unreadable(f"link type {link} is not read here")
    packet = frame[at:]
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        head = (packet[0] & 15) * 4
        fragment = struct.unpack_from(">H", packet, 6)[0] & 0x3FFF
        if packet[9] != 17 or fragment or len(packet) < head + 8:
            return None
        source, target, udp = packet[12:16], packet[16:20], packet[head:]
    elif len(packet) >= 48 and packet[0] >> 4 == 6 and packet[6] == 17:
        source, target, udp = packet[8:24], packet[24:40], packet[40:]
    else:
        return None
    sport, dport, size = struct.unpack_from(">HHH", udp, 0)
    address = lambda b: str(ipaddress.ip_address(b))
    return (address(source), sport), (address(target), dport), udp[8:max(8, size)]


# ------------------------------------------------------------------ RTP


class Packet:
    __slots__ = ("time", "sequence", "stamp", "marker", "kind", "payload")

    def __init__(self, time, data):
        first, second, self.sequence, self.stamp = struct.unpack_from(">BBHI", data, 0)
        self.time = time
        self.marker = bool(second & 0x80)
        self.kind = second & 0x7F
        at = 12 + 4 * (first & 15)
        if first & 0x10:
            words = struct.unpack_from(">H", data, at + 2)[0]
            at += 4 + 4 * words
        end = len(data) - (data[-1] if first & 0x20 else 0)
        if end < at:
            raise ValueError("padding or header runs past the end")
        self.payload = data[at:end]


def rtp(time, data):
    """A packet, or None where the bytes are not RTP: RTCP, STUN, SIP on the same ports."""
    if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
        return None
    try:
        return Packet(time, data)
    except (ValueError, struct.error):
        return None


def signed(value, bits):
    """A difference of two counters that wrap, between −2^(bits−1) and 2^(bits−1)."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def share(values, q):
    """The value at quantile q (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))] if ranked else 0.0


class Stream:
    def __init__(self, key, packets, options):
        self.key, self.packets, self.o = key, packets, options
        self.faults = []
        self.spurts = 0
        self.start = packets[0].time
        self.audio = [p for p in packets if p.kind not in options.events]
        self.events = [p for p in packets if p.kind in options.events]

    def fault(self, packet, what):
        self.faults.append(f"{(packet.time - self.start) * 1000:9.1f} ms  seq {packet.sequence:5d}  {what}")

    def check(self):
        self.lost = self.repeated = self.reordered = 0
        self._sequence()
        intervals, grid = self._audio()
        self.keys = self._events()
        nominal = self.o.ptime
        off = [abs(d - nominal) for d in intervals]
        self.report = {
            "from": "%s:%d" % self.key[0], "to": "%s:%d" % self.key[1], "ssrc": f"{self.key[2]:08x}",
            "payload_types": sorted({p.kind for p in self.packets}),
            "packets": len(self.packets), "spurts": self.spurts, "keys": self.keys,
            "lost": self.lost, "repeated": self.repeated, "reordered": self.reordered,
            "seconds": round(self.packets[-1].time - self.start, 3),
            "interval_ms": {"p50": share(intervals, .5), "p99": share(intervals, .99), "max": max(intervals, default=0.0)},
            "deviation_ms": {"p50": share(off, .5), "p99": share(off, .99), "max": max(off, default=0.0)},
            "grid_ms": {"p50": share(grid, .5), "p99": share(grid, .99), "max": max(grid, default=0.0)},
            "faults": self.faults,
        }
        limit = self.o.max_p99
        if limit is not None and self.report["deviation_ms"]["p99"] > limit:
            self.faults.append(f"pacing: p99 of the deviation is {self.report['deviation_ms']['p99']:.2f} ms, allowed {limit} ms")
        return self.report

    def _sequence(self):
        before = self.packets[0]
        for p in self.packets[1:]:
            step = signed(p.sequence - before.sequence, 16)
            if step == 0:
                self.repeated += 1
                self.fault(p, "sequence: the number came twice")
            elif step < 0:
                self.reordered += 1
                self.fault(p, f"sequence: goes back by {-step}")
                continue
            elif step > 1:
                self.lost += step - 1
                self.fault(p, f"sequence: {step - 1} missing before it")
            before = p

    def _audio(self):
        """Checks time and marker; returns departures' intervals and deviations from the grid, in ms."""
        o, intervals, grid = self.o, [], []
        if not self.audio:
            return intervals, grid
        before = spurt = self.audio[0]
        offsets = []
        self.spurts = 1
        if not before.marker:
            self.fault(before, "marker: not set on the first packet")
        for p in self.audio[1:]:
            gap = (p.time - before.time) * 1000
            step = signed(p.stamp - before.stamp, 32)
            # Packets of the two kinds that go one sample a byte say themselves how long they are.
            size = len(before.payload) if before.kind in (0, 8) else o.clock * o.ptime // 1000
            skipped = signed(p.sequence - before.sequence, 16) - 1
            keyed = skipped > 0 and self._event_between(before, p)
            if skipped > 0 and not keyed:
                # Packets are missing from the capture: what they carried is unknown.
                before = spurt = p
                offsets = self._close(offsets, grid)
                continue
            paused = step != size or gap > o.ptime + PAUSE_MS
            if not paused or keyed:
                if p.marker and not keyed:
                    self.fault(p, "marker: set within a talk spurt")
                if keyed and step != size and abs(step * 1000 / o.clock - gap) > 2 * o.ptime:
                    self.fault(p, f"time: {gap:.0f} ms went by around a key, the timestamp moved {step * 1000 / o.clock:.0f} ms")
            else:
                self.spurts += 1
                moved = step * 1000 / o.clock
                if step <= 0:
                    self.fault(p, f"time: the timestamp moves by {step}")
                elif abs(moved - gap) > 2 * o.ptime:
                    self.fault(p, f"time: {gap:.0f} ms went by, the timestamp moved {moved:.0f} ms")
                elif step % size:
                    self.fault(p, f"time: moves by {step}, not a multiple of {size}")
                if not p.marker:
                    self.fault(p, f"marker: not set after a pause of {gap:.0f} ms")
            if paused:
                spurt = p
                offsets = self._close(offsets, grid)
            else:
                intervals.append(gap)
                offsets.append((p.time - spurt.time) * 1000 - signed(p.stamp - spurt.stamp, 32) * 1000 / o.clock)
            before = p
        self._close(offsets, grid)
        return intervals, grid

    def _event_between(self, before, after):
        return any(0 < signed(e.sequence - before.sequence, 16) < signed(after.sequence - before.sequence, 16)
                   for e in self.events)

    @staticmethod
    def _close(offsets, grid):
        if offsets:
            middle = share(offsets, .5)
            grid.extend(abs(x - middle) for x in offsets)
        return []

    def _events(self):
        """RFC 4733 section 2.5; returns the keys pressed, in order."""
        keys, names, current = "", "0123456789*#ABCD", None
        ended, duration = False, 0
        for p in self.events:
            if len(p.payload) < 4:
                self.fault(p, f"event: payload of {len(p.payload)} bytes")
                continue
            event, bits, length = struct.unpack_from(">BBH", p.payload, 0)
            if bits & 0x40:
                self.fault(p, "event: reserved bit set")
            if current != (event, p.stamp):
                if current and not ended:
                    self.fault(p, "event: a new one before the end of the last")
                if not p.marker:
                    self.fault(p, "event: marker not set on its first packet")
                current, ended, duration, ends = (event, p.stamp), False, 0, 0
                keys += names[event] if event < 16 else f"<{event}>"
            elif p.marker:
                self.fault(p, "event: marker set on a later packet")
            if length < duration:
                self.fault(p, f"event: duration falls from {duration} to {length}")
            if ended and length != duration:
                self.fault(p, "event: duration changes after the end")
            if ended and not bits & 0x80:
                self.fault(p, "event: goes on after its end")
            duration = length
            if bits & 0x80:
                ended, ends = True, ends + 1
        if current and not ended:
            self.fault(self.events[-1], "event: has no end")
        return keys


# ------------------------------------------------------------------ what was heard


def linear(byte, law):
    """One G.711 byte as a 16-bit sample (ITU-T G.711: PT 0 is µ-law, PT 8 A-law)."""
    if law == 0:
        byte = ~byte & 0xFF
        value = (((byte & 15) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
        return -value if byte & 0x80 else value
    byte ^= 0x55
    segment, value = byte >> 4 & 7, (byte & 15) << 4
    value = value + 8 if segment == 0 else value + 0x108 << segment - 1
    return value if byte & 0x80 else -value


def write_wav(path, stream, clock):
    """The stream's G.711 as a WAV on the clock of the wire: a packet that came late or never is a silence."""
    tables = {law: [struct.pack("<h", linear(b, law)) for b in range(256)] for law in (0, 8)}
    out = bytearray()
    for p in stream.audio:
        if p.kind not in tables:
            continue
        at = 2 * int((p.time - stream.start) * clock)
        # Ordinary jitter must not cut: only a real gap is filled up.
        if at > len(out) + 2 * clock * PAUSE_MS // 1000:
            out += bytes(at - len(out))
        out += b"".join(tables[p.kind][b] for b in p.payload)
    with wave.open(path, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(clock)
        w.writeframes(bytes(out))


# ------------------------------------------------------------------ command line


def endpoint(text):
    """`127.0.0.1:20000-20999`, `127.0.0.1`, `:5004` as a test of an (address, port)."""
    address, _, ports = text.rpartition(":") if ":" in text else (text, "", "")
    low, _, high = ports.partition("-")
    low, high = (int(low), int(high or low)) if low else (0, 65535)
    return lambda end: (not address or end[0] == address) and low <= end[1] <= high


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("capture")
    p.add_argument("--from", dest="source", type=endpoint, metavar="ADDR[:PORT[-PORT]]", help="only streams from there")
    p.add_argument("--to", dest="target", type=endpoint, metavar="ADDR[:PORT[-PORT]]", help="only streams to there")
    p.add_argument("--expect", type=int, metavar="N", help="exactly so many streams must be there")
    p.add_argument("--keys", help="the keys that must have been pressed, over all streams, e.g. 12#")
    p.add_argument("--max-p99", type=float, metavar="MS", help="largest p99 of the deviation from the packet time")
    p.add_argument("--ptime", type=int, default=20, metavar="MS")
    p.add_argument("--clock", type=int, default=8000, metavar="HZ")
    p.add_argument("--events", type=lambda t: {int(x) for x in t.split(",")}, default={101}, metavar="PT[,PT]",
                   help="payload types of telephone events (101)")
    p.add_argument("--min-packets", type=int, default=5, metavar="N", help="shorter streams are passed over (5)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--wav", metavar="PREFIX", help="write each stream's G.711 to PREFIX<n>.wav")
    o = p.parse_args()

    found = {}
    try:
        with open(o.capture, "rb") as f:
            data = f.read()
        for time, link, frame in frames(data):
            ends = datagram(link, frame)
            if not ends:
                continue
            source, target, payload = ends
            if o.source and not o.source(source) or o.target and not o.target(target):
                continue
            packet = rtp(time, payload)
            if packet:
                ssrc = struct.unpack_from(">I", payload, 8)[0]
                found.setdefault((source, target, ssrc), []).append(packet)
    except (OSError, Unreadable) as e:
        print(f"rtp_check: {o.capture}: {e}", file=sys.stderr)
        return 2

    streams = [Stream(k, v, o) for k, v in found.items() if len(v) >= o.min_packets]
    reports = [s.check() for s in streams]
    if o.wav:
        for n, s in enumerate(streams, 1):
            write_wav(f"{o.wav}{n}.wav", s, o.clock)
    if o.json:
        print(json.dumps(reports, indent=1))
    else:
        for r in reports:
            print(f"{r['from']} -> {r['to']}  ssrc {r['ssrc']}  PT {r['payload_types']}  {r['packets']} packets  "
                  f"{r['seconds']} s  {r['spurts']} spurts" + (f"  keys {r['keys']}" if r["keys"] else ""))
            for name in ("interval_ms", "deviation_ms", "grid_ms"):
                v = r[name]
                print(f"    {name:13s} p50 {v['p50']:7.3f}  p99 {v['p99']:7.3f}  max {v['max']:7.3f}")
            for line in r["faults"][:FAULTS_SHOWN]:
                print("    FAULT", line)
            if len(r["faults"]) > FAULTS_SHOWN:
                print(f"    … and {len(r['faults']) - FAULTS_SHOWN} more")
    if not streams:
        print("rtp_check: no RTP stream in the capture", file=sys.stderr)
        return 2
    if o.expect is not None and len(streams) != o.expect:
        print(f"rtp_check: {len(streams)} streams, expected {o.expect}", file=sys.stderr)
        return 2
    pressed = "".join(r["keys"] for r in reports)
    if o.keys is not None and pressed != o.keys:
        print(f"rtp_check: keys {pressed!r}, expected {o.keys!r}", file=sys.stderr)
        return 1
    return 1 if any(r["faults"] for r in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
