#!/usr/bin/env python3
"""A telephone for exploring: drives Debian's baresip over its JSON control port.

One instance is one phone on the loopback. It registers nowhere, says what it is told to say, keeps
a WAV of what it said and one of what it heard. As a program it takes a list of steps:

    phone.py --sip 5090 until CALL_INCOMING sleep 1 accept say hello.wav sleep 5 key 5 hangup
    phone.py --sip 5092 dial sip:robot@127.0.0.1:5060 until CALL_ESTABLISHED say yes.wav until CALL_CLOSED

Steps: dial URI · accept · hangup · say WAV · hush · key DIGITS · mute · sleep SECONDS ·
until EVENT (60 s at most) · command NAME PARAMS. Exit code 0 if every step went well.
"""
import argparse
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave

HERE = os.path.dirname(os.path.abspath(__file__))
RATE = 8000
# baresip hangs up when its source file ends, so every file it plays is followed by this much silence.
TAIL_S = 300


class Trouble(Exception):
    """A step that did not go as it should."""


def padded(source, target, tail_s=TAIL_S):
    """Copies an 8 kHz mono s16 WAV and appends silence. `source` None: silence only."""
    frames = b""
    if source:
        with wave.open(source, "rb") as r:
            shape = (r.getframerate(), r.getnchannels(), r.getsampwidth())
            if shape != (RATE, 1, 2):
                raise Trouble(f"{source}: want 8000 Hz, mono, 16 bit, is {shape}")
            frames = r.readframes(r.getnframes())
    with wave.open(target, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(frames + bytes(2 * RATE * tail_s))


def free(address, port, kind):
    """Makes sure that no one else listens there."""
    with socket.socket(socket.AF_INET, kind) as s:
        if kind == socket.SOCK_STREAM:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError as e:
            raise Trouble(f"{address}:{port}: {e.strerror}") from None


class Phone:
    """One baresip with its own configuration folder under `folder`."""

    def __init__(self, folder, address="127.0.0.1", sip=5090, control=None, rtp=None, user="phone",
                 answer="manual", codecs="pcma,pcmu", log=None):
        self.folder = folder
        self.dump = os.path.join(folder, "audio")
        os.makedirs(self.dump, exist_ok=True)
        control = control or sip + 10000
        rtp = rtp or 20000 + (sip % 1000) * 20
        idle = os.path.join(folder, "idle.wav")
        padded(None, idle)
        # A second baresip would end quietly, and its controller would hold the first one's conversation.
        free(address, control, socket.SOCK_STREAM)
        free(address, sip, socket.SOCK_DGRAM)
        values = {
            "ADDRESS": address, "SIP": sip, "CONTROL": control, "RTP_LO": rtp, "RTP_HI": rtp + 19,
            "IDLE": idle, "DUMP": self.dump, "USER": user, "ANSWER": answer, "CODECS": codecs,
            "MODULES": "/usr/lib/baresip/modules",
        }
        for name in ("config", "accounts"):
            with open(os.path.join(HERE, name + ".in"), encoding="utf-8") as f:
                text = f.read()
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        # Missing, it would be made from a template with other people's addresses in it.
        with open(os.path.join(folder, "contacts"), "w", encoding="utf-8"):
            pass
        self.uri = f"sip:{user}@{address}:{sip}"
        self.log = open(log or os.path.join(folder, "baresip.log"), "w", encoding="utf-8")
        # -s traces every SIP message to the log.
        self.process = subprocess.Popen(["baresip", "-f", folder, "-s"], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        self.events = queue.Queue()
        self.answers = queue.Queue()
        self.takes = 0
        self.lock = threading.Lock()
        try:
            self.socket = self._connect(address, control)
        except Trouble:
            self.process.kill()
            self.process.wait()
            self.log.close()
            raise
        threading.Thread(target=self._read, daemon=True).start()

    def _connect(self, address, control):
        for _ in range(100):
            if self.process.poll() is not None:
                raise Trouble(f"baresip ended at once, see {self.log.name}")
            try:
                s = socket.create_connection((address, control), timeout=1)
                s.settimeout(None)
                return s
            except OSError:
                time.sleep(0.05)
        raise Trouble(f"baresip opened no control port, see {self.log.name}")

    def _read(self):
        """Netstrings of JSON: `17:{"event":true,…},`."""
        buffer = b""
        while True:
            try:
                piece = self.socket.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                self.events.put({"type": "GONE"})
                self.answers.put({"ok": False, "data": "baresip has gone"})
                return
            buffer += piece
            while b":" in buffer:
                head, rest = buffer.split(b":", 1)
                size = int(head)
                if len(rest) < size + 1:
                    break
                message = json.loads(rest[:size])
                buffer = rest[size + 1:]
                (self.events if message.get("event") else self.answers).put(message)

    def command(self, name, params=""):
        """Runs one command of baresip's menu and gives what it printed."""
        with self.lock:
            body = json.dumps({"command": name, "params": params, "token": "t"}).encode()
            self.socket.sendall(b"%d:%s," % (len(body), body))
            answer = self.answers.get(timeout=10)
        data = answer.get("data", "")
        # A source that does not open is told only in the text: "ok" is true all the same.
        if not answer.get("ok") or "failed" in data:
            raise Trouble(f"{name} {params}: {data.strip()}")
        return data

    def until(self, kind, timeout=60):
        """Waits for an event of the kind. Ends early, and badly, when the call or the phone ends."""
        end = time.monotonic() + timeout
        while True:
            try:
                event = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Trouble(f"no {kind} within {timeout} s") from None
            seen = event.get("type")
            if seen not in ("CALL_RTCP", "CALL_RTPESTAB"):
                print(f"{time.time():.3f} {seen} {event.get('param', '')}", flush=True)
            if seen == kind:
                return event
            if seen in ("CALL_CLOSED", "GONE"):
                raise Trouble(f"{seen} {event.get('param', '')} while waiting for {kind}")

    def dial(self, uri):
        self.command("dial", uri)

    def accept(self):
        self.command("accept")

    def hangup(self):
        """Ends the call; a ringing one is refused with 486."""
        self.command("hangup")

    def say(self, path):
        """Speaks a file from now on, whatever was being said, and then is silent."""
        self.takes += 1
        take = os.path.join(self.folder, f"take{self.takes}.wav")
        padded(path, take)
        self.command("ausrc", f"aufile,{take}")

    def hush(self):
        self.say(None)

    def key(self, digits):
        """Presses and releases keys, one after the other: RFC 4733, 180 ms each, 60 ms between."""
        for digit in digits:
            self.command("sndcode", digit)
            time.sleep(0.24)

    def close(self):
        """Hangs up, ends baresip in good order (else the WAVs have no length) and by force if it must."""
        if self.process.poll() is None:
            try:
                self.command("quit")
            except (Trouble, OSError, queue.Empty):
                self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.socket.close()
        self.log.close()

    def recordings(self):
        """(said, heard) of every call: 8 kHz mono WAVs, in order."""
        names = sorted(os.listdir(self.dump))
        pick = lambda end: [os.path.join(self.dump, n) for n in names if n.endswith(end)]
        return list(zip(pick("-enc.wav"), pick("-dec.wav")))


def run(phone, steps):
    steps = list(steps)
    take = lambda: steps.pop(0)
    while steps:
        step = take()
        print(f"{time.time():.3f} > {step}", flush=True)
        if step == "dial":
            phone.dial(take())
        elif step == "say":
            phone.say(take())
        elif step == "key":
            phone.key(take())
        elif step == "sleep":
            time.sleep(float(take()))
        elif step == "until":
            phone.until(take())
        elif step == "command":
            print(phone.command(take(), take()))
        elif step == "mute":
            phone.command("mute")
        elif step in ("accept", "hangup", "hush"):
            getattr(phone, step)()
        else:
            raise Trouble(f"unknown step {step}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--sip", type=int, default=5090, help="SIP port; control is +10000 unless told")
    p.add_argument("--control", type=int)
    p.add_argument("--rtp", type=int, help="first of 20 RTP ports")
    p.add_argument("--user", default="phone")
    p.add_argument("--answer", default="manual", choices=["manual", "auto", "early"])
    p.add_argument("--codecs", default="pcma,pcmu")
    p.add_argument("--folder", help="kept; without it a temporary folder, which is kept too and named")
    p.add_argument("steps", nargs="+")
    a = p.parse_args()
    # Told to go, it takes its baresip along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = a.folder or tempfile.mkdtemp(prefix="phone-")
    os.makedirs(folder, exist_ok=True)
    phone = None
    try:
        phone = Phone(os.path.abspath(folder), a.address, a.sip, a.control, a.rtp, a.user, a.answer, a.codecs)
        print(f"{time.time():.3f} {phone.uri} in {folder}", flush=True)
        run(phone, a.steps)
    except Trouble as e:
        print(f"phone: {e}", file=sys.stderr)
        return 1
    finally:
        if phone:
            phone.close()
            for said, heard in phone.recordings():
                print(f"said  {said}\nheard {heard}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
