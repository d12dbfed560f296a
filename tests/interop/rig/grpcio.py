"""Both services of a robot on gRPC's own server, in Python: a recogniser that counts, a voice of one tone, a dialogue of two sentences.

python3 grpcio.py '{"protos": FOLDER, "streams": N or null, "age_ms": N or null}'

It takes `streams` streams on one connection, and asks a connection of `age_ms` to go. Its port is the first line that it writes.
"""

import asyncio
import json
import math
import struct
import sys
import tempfile
from pathlib import Path

# The folder of this file has its name as well.
sys.path.pop(0)
import grpc
from grpc_tools import protoc


def generated(protos):
    """The modules of the protocols, made anew in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(path) for path in Path(protos).rglob("*.proto")]
        common = str(Path(protoc.__file__).parent / "_proto")
        wrong = protoc.main(["", f"-I{protos}", f"-I{common}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
        assert wrong == 0, "protoc"
        sys.path.insert(0, folder)
        from trunkline.dialogue.v1 import dialogue_pb2, dialogue_pb2_grpc
        from trunkline.speech.v1 import speech_pb2, speech_pb2_grpc

        return dialogue_pb2, dialogue_pb2_grpc, speech_pb2, speech_pb2_grpc


options = json.loads(sys.argv[1])
dialogue, dialogue_grpc, speech, speech_grpc = generated(options["protos"])

NARROW = speech.AudioFormat(encoding=speech.ENCODING_PCM_S16LE, sample_rate_hz=8000)
# 20 ms of 500 Hz.
TONE = struct.pack("<160h", *(round(8000 * math.sin(math.tau * 500 * n / 8000)) for n in range(160)))


class Speech(speech_grpc.SpeechServicer):
    async def Capabilities(self, request, context):
        both = {"formats": [NARROW]}
        return speech.CapabilitiesResponse(engine="grpcio", recognition=both, synthesis=both)

    async def Recognize(self, requests, context):
        heard = 0
        async for request in requests:
            which = request.WhichOneof("request")
            if which == "audio":
                heard += len(request.audio.samples)
            elif which == "utterance_end":
                end = request.utterance_end
                text = f"utterance {end.utterance_id}" if heard else "nothing"
                final = speech.RecognizeResponse.Final(
                    utterance_id=end.utterance_id, text=text, start_ms=end.start_ms, stop_ms=end.stop_ms
                )
                yield speech.RecognizeResponse(final=final)

    async def Synthesize(self, request, context):
        # 60 ms a character.
        for _ in request.text:
            yield speech.SynthesizeResponse(samples=TONE * 3)


class Dialogue(dialogue_grpc.DialogueServicer):
    async def Converse(self, events, context):
        async for event in events:
            which = event.WhichOneof("event")
            if which == "begin":
                yield said("greeting", "Hello there")
            elif which == "utterance" and event.utterance.text:
                yield said("bye", "Goodbye")
                yield dialogue.Action(action_id="end", hangup=dialogue.Hangup(reason=event.utterance.text))


def said(prompt_id, text):
    segment = dialogue.Segment(text=dialogue.Text(text=text))
    return dialogue.Action(action_id=prompt_id, say=dialogue.Say(prompt_id=prompt_id, segments=[segment]))


async def main():
    limits = {"grpc.max_concurrent_streams": options.get("streams"), "grpc.max_connection_age_ms": options.get("age_ms")}
    server = grpc.aio.server(options=[(name, value) for name, value in limits.items() if value is not None])
    speech_grpc.add_SpeechServicer_to_server(Speech(), server)
    dialogue_grpc.add_DialogueServicer_to_server(Dialogue(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


asyncio.run(main())
