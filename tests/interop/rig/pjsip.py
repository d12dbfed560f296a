"""A pjsip without a sound card: the pjsua2 of PyPI's `pjsua2-python`, as a telephone that is told what to do line by line.

    pjsip.py '{"sip": 5070, "media": 4000, "folder": "/tmp/x", ...}'

Orders come on standard input, one JSON object a line, `do` says which; what happens goes to standard output in the same form, `is` says what.
Every message that it sends and receives stands in `log` in its folder, what it hears in `heard.wav`.
"""

import json
import os
import select
import sys
import traceback

import pjsua2 as pj

OPTIONS = json.loads(sys.argv[1])
FOLDER = OPTIONS["folder"]
PRACK = {"off": pj.PJSUA_100REL_NOT_USED, "optional": pj.PJSUA_100REL_OPTIONAL, "required": pj.PJSUA_100REL_MANDATORY}
TIMER = {
    "off": pj.PJSUA_SIP_TIMER_INACTIVE,
    "optional": pj.PJSUA_SIP_TIMER_OPTIONAL,
    "required": pj.PJSUA_SIP_TIMER_REQUIRED,
    "always": pj.PJSUA_SIP_TIMER_ALWAYS,
}
SRTP = {"off": pj.PJMEDIA_SRTP_DISABLED, "optional": pj.PJMEDIA_SRTP_OPTIONAL, "required": pj.PJMEDIA_SRTP_MANDATORY}


def tell(**what):
    print(json.dumps(what), flush=True)


class Log(pj.LogWriter):
    """Every line at once in the file, where it is looked for while it runs."""

    def __init__(self):
        super().__init__()
        self.file = open(os.path.join(FOLDER, "log"), "w", buffering=1)

    def write(self, entry):
        self.file.write(entry.msg)


class Call(pj.Call):
    """One call; what happens to it is told, and its sound is written down."""

    def onCallState(self, prm):
        info = self.getInfo()
        tell(**{"is": info.stateText.lower(), "code": info.lastStatusCode, "reason": info.lastReason})
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED and self in phone.calls:
            phone.calls.remove(self)

    def onCallMediaState(self, prm):
        info = self.getInfo()
        for at, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            held = {pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "by us", pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "by it"}
            active = media.status == pj.PJSUA_CALL_MEDIA_ACTIVE
            codec = ""
            if active:
                sound = self.getAudioMedia(at)
                phone.player.startTransmit(sound)
                sound.startTransmit(phone.recorder)
                codec = self.getStreamInfo(at).codecName
            tell(**{"is": "media", "active": active, "held": held.get(media.status, ""), "codec": codec})

    def onCallSdpCreated(self, prm):
        if OPTIONS.get("events") is False:
            lines = prm.sdp.wholeSdp.splitlines()
            number = next(line.split(":")[1].split()[0] for line in lines if "telephone-event" in line)
            kept = [line for line in lines if not line.startswith((f"a=rtpmap:{number}", f"a=fmtp:{number}"))]
            kept = [line.removesuffix(f" {number}") if line.startswith("m=") else line for line in kept]
            prm.sdp.wholeSdp = "\r\n".join(kept) + "\r\n"

    def onDtmfDigit(self, prm):
        tell(**{"is": "key", "key": prm.digit, "info": prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO})

    def onCallTransferRequest(self, prm):
        # The call that follows is told by this object too, also when its own is over: with another one in `prm.newCall` this pjsua2 crashes.
        phone.referred.append(self)
        tell(**{"is": "referred", "to": prm.dstUri})

    def onCallTransferStatus(self, prm):
        tell(**{"is": "transfer", "code": prm.statusCode, "last": prm.finalNotify})


class Phone(pj.Account):
    """Who it is."""

    def __init__(self):
        super().__init__()
        self.calls, self.referred = [], []

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        self.calls.append(call)
        tell(**{"is": "incoming call", "from": call.getInfo().remoteUri})


def settings(order):
    prm = pj.CallOpParam(True)
    prm.opt.videoCount = 0
    prm.opt.textCount = 0
    for name, value in order.get("headers", {}).items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        prm.txOption.headers.append(header)
    prm.statusCode = order.get("code", 0)
    return prm


def obey(order):
    """Does what it is told; the call that is meant is the last one."""
    what, prm = order["do"], settings(order)
    if what == "call":
        call = Call(phone)
        phone.calls.append(call)
        return call.makeCall(order["to"], prm)
    call = phone.calls[-1]
    if what == "answer":
        call.answer(prm)
    elif what == "hang up":
        call.hangup(prm)
    elif what == "hold":
        call.setHold(prm)
    elif what == "resume":
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(prm)
    elif what == "update":
        call.update(prm)
    elif what == "refer":
        call.xfer(order["to"], prm)
    elif what == "keys":
        keys = pj.CallSendDtmfParam()
        keys.digits = order["keys"]
        keys.method = pj.PJSUA_DTMF_METHOD_SIP_INFO if order.get("info") else pj.PJSUA_DTMF_METHOD_RFC2833
        call.sendDtmf(keys)
    else:
        raise ValueError(what)


def start():
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.userAgent = "pjsip"
    config.medConfig.noVad = True
    config.medConfig.clockRate = 8000
    config.medConfig.sndClockRate = 8000
    config.medConfig.ecTailLen = 0
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 5
    config.logConfig.msgLogging = 1
    config.logConfig.writer = log
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    transport = pj.TransportConfig()
    transport.port = OPTIONS["sip"]
    transport.boundAddress = "127.0.0.1"
    transport.publicAddress = "127.0.0.1"
    kind = pj.PJSIP_TRANSPORT_TCP if OPTIONS.get("tcp") else pj.PJSIP_TRANSPORT_UDP
    at = endpoint.transportCreate(kind, transport)
    wanted = OPTIONS.get("codecs", ["PCMA/8000/1", "PCMU/8000/1"])
    for codec in endpoint.codecEnum2():
        place = wanted.index(codec.codecId) if codec.codecId in wanted else None
        endpoint.codecSetPriority(codec.codecId, 0 if place is None else 200 - place)
    endpoint.libStart()
    account = pj.AccountConfig()
    account.idUri = f"sip:{OPTIONS.get('user', '200')}@127.0.0.1"
    account.sipConfig.transportId = at
    account.callConfig.prackUse = PRACK[OPTIONS.get("prack", "off")]
    account.callConfig.timerUse = TIMER[OPTIONS.get("timer", "off")]
    account.callConfig.timerMinSESec = 90
    account.callConfig.timerSessExpiresSec = OPTIONS.get("interval", 1800)
    account.mediaConfig.transportConfig.port = OPTIONS["media"]
    account.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account.mediaConfig.transportConfig.publicAddress = "127.0.0.1"
    account.mediaConfig.srtpUse = SRTP[OPTIONS.get("srtp", "off")]
    # 0: the keys may go over signalling that is not encrypted.
    account.mediaConfig.srtpSecureSignaling = 0
    if "password" in OPTIONS:
        credentials = pj.AuthCredInfo("digest", "*", OPTIONS["user"], 0, OPTIONS["password"])
        account.sipConfig.authCreds.append(credentials)
    phone.player.createPlayer(OPTIONS["speech"])
    phone.recorder.createRecorder(os.path.join(FOLDER, "heard.wav"))
    phone.create(account)


endpoint, phone, log = pj.Endpoint(), Phone(), Log()
phone.player, phone.recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
start()
tell(**{"is": "ready"})
rest = b""
try:
    while True:
        endpoint.libHandleEvents(10)
        if not select.select([0], [], [], 0)[0]:
            continue
        read = os.read(0, 65536)
        if not read:
            break
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            obey(json.loads(line))
except Exception:
    traceback.print_exc()
# What is still to be written of what it heard is written when the recorder goes, with the next frame of its clock.
del phone.recorder
endpoint.libHandleEvents(200)
# All else goes with the process: what stands in both languages is not easily taken apart.
os._exit(0)
