"""Holds rtp_check against streams whose faults are known.

Run by `make test`: python3 -m unittest discover --start-directory tests/wire
"""
import argparse
import contextlib
import io
import json
import os
import struct
import sys
import tempfile
import unittest
import wave

import rtp_check

SSRC = 0x1234


def audio(n, at=None, *, sequence=None, stamp=None, marker=None, kind=8):
    """The n-th packet of a perfect stream, with one thing changed."""
    return ((n * 20 if at is None else at) / 1000, 65530 + n if sequence is None else sequence,
            (2 ** 32 - 480 + 160 * n) if stamp is None else stamp, n == 0 if marker is None else marker,
            kind, b"\xd5" * 160)


def event(at, sequence, stamp, duration, key=5, end=False, marker=False, payload=None):
    body = struct.pack(">BBH", key, (0x80 if end else 0) | 10, duration) if payload is None else payload
    return (at / 1000, sequence, stamp, marker, 101, body)


def datagrams(packets):
    for time, sequence, stamp, marker, kind, body in packets:
        head = struct.pack(">BBHII", 0x80, (0x80 if marker else 0) | kind, sequence % 2 ** 16, stamp % 2 ** 32, SSRC)
        yield time, head + body


def frame(payload):
    udp = struct.pack(">HHHH", 20000, 30000, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\2")
    return b"\0" * 12 + b"\x08\0" + ip + udp


def pcap(packets):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for time, payload in datagrams(packets):
        data = frame(payload)
        out += struct.pack("<IIII", int(time), round(time % 1 * 1e6), len(data), len(data)) + data
    return out


def pcapng(packets):
    block = lambda kind, body: struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    # Nanoseconds, as dumpcap writes them.
    out += block(1, struct.pack("<HHI", 1, 0, 65535) + struct.pack("<HHBxxx", 9, 1, 9) + struct.pack("<HH", 0, 0))
    for time, payload in datagrams(packets):
        data = frame(payload)
        ticks = round(time * 1e9)
        body = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)) + data + b"\0" * (-len(data) % 4)
        out += block(6, body)
    return out


def check(packets, *arguments, form=pcap):
    """(exit code, first report or None)"""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "c.pcap")
        with open(path, "wb") as f:
            f.write(packets if isinstance(packets, bytes) else form(packets))
        text, before = io.StringIO(), sys.argv
        sys.argv = ["rtp_check", path, "--json", *arguments]
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
                code = rtp_check.main()
        finally:
            sys.argv = before
    reports = json.loads(text.getvalue()) if text.getvalue() else []
    return code, reports[0] if reports else None


class Perfect(unittest.TestCase):
    def test_a_perfect_stream_has_no_fault_though_both_counters_wrap(self):
        for form in (pcap, pcapng):
            code, report = check([audio(n) for n in range(50)], "--max-p99", "0.1", "--expect", "1", form=form)
            self.assertEqual((code, report["faults"], report["packets"], report["spurts"]), (0, [], 50, 1))
            self.assertEqual((report["from"], report["to"]), ("127.0.0.1:20000", "127.0.0.2:30000"))

    def test_a_pause_that_the_timestamp_and_the_marker_tell_is_no_fault(self):
        stream = [audio(n) for n in range(10)]
        stream += [audio(n, at=n * 20 + 500, stamp=2 ** 32 - 480 + 160 * (n + 25), marker=n == 10) for n in range(10, 20)]
        code, report = check(stream)
        self.assertEqual((code, report["faults"], report["spurts"]), (0, [], 2))

    def test_a_key_between_audio_packets_is_read_and_is_no_fault(self):
        stream = [audio(n) for n in range(10)]
        start = 2 ** 32 - 480 + 1600
        stream += [event(200 + 20 * n, 65540 + n, start, 160 * (n + 1), marker=n == 0) for n in range(5)]
        stream += [event(300, 65545 + n, start, 800, end=True) for n in range(3)]
        stream += [audio(n, at=n * 20 + 100, sequence=65538 + n, stamp=start + 160 * (n - 5)) for n in range(10, 20)]
        self.assertEqual(check(stream, "--keys", "5")[1]["faults"], [])
        self.assertEqual(check(stream, "--keys", "5")[0], 0)
        self.assertEqual(check(stream, "--keys", "6")[0], 1)


class Faults(unittest.TestCase):
    def one(self, packets, word, *arguments):
        code, report = check(packets, *arguments)
        self.assertEqual(code, 1)
        self.assertEqual([f for f in report["faults"] if word not in f], [], f"only {word!r} was wrong")
        self.assertTrue(report["faults"])
        return report

    def test_a_missing_packet(self):
        self.assertEqual(self.one([audio(n) for n in range(20) if n != 7], "sequence: 1 missing")["lost"], 1)

    def test_a_sequence_number_that_goes_back(self):
        stream = [audio(n) for n in range(20)]
        stream[9] = audio(9, sequence=65530 + 3)
        self.assertEqual(check(stream)[1]["reordered"], 1)

    def test_a_marker_within_a_spurt(self):
        self.one([audio(n, marker=n in (0, 9)) for n in range(20)], "marker: set within")

    def test_no_marker_at_the_start(self):
        self.one([audio(n, marker=False) for n in range(20)], "marker: not set on the first")

    def test_a_pause_without_a_marker(self):
        stream = [audio(n) for n in range(10)]
        stream += [audio(n, at=n * 20 + 500, stamp=2 ** 32 - 480 + 160 * (n + 25)) for n in range(10, 20)]
        self.one(stream, "marker: not set after a pause of 520 ms")

    def test_a_pause_that_the_timestamp_does_not_tell(self):
        self.one([audio(n, at=n * 20 + (500 if n >= 10 else 0), marker=n in (0, 10)) for n in range(20)],
                 "time: 520 ms went by, the timestamp moved 20 ms")

    def test_a_timestamp_that_stands_still(self):
        self.one([audio(n, stamp=2 ** 32 - 480 + 160 * (n - (n >= 10)), marker=n in (0, 10)) for n in range(20)],
                 "time: the timestamp moves by 0")

    def test_departures_that_are_uneven(self):
        self.one([audio(n, at=n * 20 + n % 2 * 8) for n in range(50)], "pacing", "--max-p99", "5")

    def test_an_event_without_end(self):
        stream = [audio(n) for n in range(10)] + [event(200, 65540, 1120, 160, marker=True)]
        self.one(stream, "event: has no end")

    def test_an_event_that_shrinks_and_is_marked_twice(self):
        stream = [audio(n) for n in range(10)]
        stream += [event(200, 65540, 1120, 320, marker=True), event(220, 65541, 1120, 160, marker=True),
                   event(240, 65542, 1120, 160, end=True)]
        report = self.one(stream, "event:")
        self.assertEqual(len(report["faults"]), 2)

    def test_an_event_that_is_cut_short(self):
        stream = [audio(n) for n in range(10)] + [event(200, 65540, 1120, 0, payload=b"\5\n")]
        self.one(stream, "event: payload of 2 bytes")


class Captures(unittest.TestCase):
    def test_what_is_no_capture_or_is_empty_is_told_apart_from_a_fault(self):
        self.assertEqual(check(b"no capture at all, though long enough")[0], 2)
        self.assertEqual(check(b"")[0], 2)
        self.assertEqual(check([])[0], 2)
        self.assertEqual(check([audio(n) for n in range(10)], "--expect", "2")[0], 2)
        self.assertEqual(check([audio(n) for n in range(10)], "--from", "127.0.0.1:1-100")[0], 2)

    def test_a_capture_cut_at_any_byte_is_read_as_far_as_it_goes(self):
        for form in (pcap, pcapng):
            whole = form([audio(n) for n in range(8)])
            for size in range(len(whole)):
                code, report = check(whole[:size])
                self.assertIn(code, (0, 2))
                self.assertEqual((report or {"faults": []})["faults"], [])

    def test_datagrams_that_are_no_rtp_are_passed_over(self):
        for data in (b"", b"INVITE sip:a@b SIP/2.0\r\n", b"\x80\xc8" + bytes(26), b"\xbf\x08" + bytes(10), b"\xa0\x08" + bytes(9) + b"\xff"):
            self.assertIsNone(rtp_check.rtp(0.0, data))

    def test_an_endpoint_is_an_address_a_port_range_or_both(self):
        self.assertTrue(rtp_check.endpoint("127.0.0.1:10-20")(("127.0.0.1", 20)))
        self.assertFalse(rtp_check.endpoint("127.0.0.1:10-20")(("127.0.0.1", 21)))
        self.assertTrue(rtp_check.endpoint("127.0.0.1")(("127.0.0.1", 9)))
        self.assertFalse(rtp_check.endpoint("127.0.0.1")(("127.0.0.2", 9)))
        self.assertTrue(rtp_check.endpoint(":10")(("127.0.0.2", 10)))


class Sound(unittest.TestCase):
    def test_g711_against_the_extreme_values_of_the_standard(self):
        self.assertEqual([rtp_check.linear(b, 0) for b in (0x00, 0x80, 0x7F, 0xFF)], [-32124, 32124, 0, 0])
        self.assertEqual([rtp_check.linear(b, 8) for b in (0x2A, 0xAA, 0x55, 0xD5)], [-32256, 32256, -8, 8])

    def test_a_pause_on_the_wire_is_a_silence_in_the_wav(self):
        with tempfile.TemporaryDirectory() as folder:
            packets = [rtp_check.rtp(t, d) for t, d in datagrams([audio(0), audio(1), audio(2, at=540)])]
            options = argparse.Namespace(events={101}, ptime=20, clock=8000, max_p99=None)
            path = os.path.join(folder, "w.wav")
            rtp_check.write_wav(path, rtp_check.Stream((("a", 1), ("b", 2), 3), packets, options), 8000)
            with wave.open(path) as w:
                self.assertEqual(w.getnframes(), 4320 + 160)


if __name__ == "__main__":
    unittest.main()
