"""P.862 of what score.rs asks for: lines `reference degraded delay_ms` in, a mean of the windows a line out.

Needs the package pesq (with numpy): `python3 -m venv V && V/bin/pip install pesq`, then `PYTHON=V/bin/python`.
A file is judged in windows of ten seconds, as P.862.3 advises, each with the sound's own delay taken away; what is left, and what changes
within a window, is the alignment of P.862 itself.
"""

import sys
import wave
from concurrent.futures import ProcessPoolExecutor

import numpy
from pesq import PesqError, pesq

RATE = 8000
WINDOW = 10 * RATE
MARGIN = RATE // 5


def read(path):
    with wave.open(path) as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def judge(line):
    reference, degraded, delay = line.rsplit("\t", 2)
    reference, degraded = read(reference), read(degraded)
    delay = int(float(delay) * RATE / 1000)
    scores = []
    for start in range(0, len(reference) - WINDOW // 2, WINDOW):
        ours = reference[start : start + WINDOW + MARGIN]
        theirs = degraded[start + delay : start + delay + WINDOW + MARGIN]
        scores.append(pesq(RATE, ours, theirs, "nb", on_error=PesqError.RAISE_EXCEPTION))
    return sum(scores) / len(scores)


if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        for score in pool.map(judge, sys.stdin.read().splitlines()):
            print(score)
