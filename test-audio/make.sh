#!/usr/bin/env bash
# Makes every file of this folder anew, byte for byte. Needs espeak-ng, sox and asterisk-core-sounds-en-wav.
set -euo pipefail
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A synthesised sentence at telephone quality: file, voice, words a minute, text. Peaks at -6 dBFS, so that
# the G.711 coder has headroom, and no rumble below 120 Hz, as on a line.
say() {
  espeak-ng -v "$2" -s "$3" -w "$scratch/say.wav" "$4"
  sox -D "$scratch/say.wav" -r 8000 -c 1 -b 16 "$1" norm -6 highpass 120
}
say caller-yes.wav       en-gb 155 "Yes, that would be good."
say caller-yes-2.wav     en-gb-x-rp 155 "Yes, that would be good."
say caller-no.wav        en-gb 155 "No, I will not be at home."
say caller-when.wav      en-gb 155 "Can you tell me when the parcel will arrive?"
say caller-when-2.wav    en-gb 145 "When will it arrive?"
say caller-stop.wav      en-gb 145 "Stop. Wait a moment, please."
say caller-stop-2.wav    en-gb-x-rp 155 "Stop. Wait a moment, please."
say caller-friday.wav    en-us 145 "Could you bring it on Friday, please?"
say caller-afternoon.wav en-us 145 "In the afternoon, please."
say greeting.wav         en-us 145 "Good morning. This is the delivery service."
say fallback.wav         en-us 150 "We are sorry, there is a technical problem. Goodbye."

# Who answers: people, and machines that beep.
say answer-human-hello.wav   en-us 150 "Hello?"
say answer-human-name.wav    en-gb 150 "Good morning, Miller speaking."
say answer-human-german.wav  de 150 "Ja, bitte?"
say answer-human-chinese.wav cmn 150 "喂，你好。"
# A greeting, a pause, a beep of so many Hz and seconds: file, voice, text, Hz, seconds.
machine() {
  say "$scratch/greeting.wav" "$2" 150 "$3"
  sox -D -n -r 8000 -c 1 -b 16 "$scratch/beep.wav" synth "$5" sine "$4" vol 0.25 fade 0.01 "$5" 0.01 pad 0.4 0.5
  sox -D "$scratch/greeting.wav" "$scratch/beep.wav" "$1"
}
machine answer-machine-english.wav en-us "Hello. We cannot take your call. Please leave a message after the tone." 1000 0.4
machine answer-machine-german.wav  de "Guten Tag. Wir sind nicht da. Bitte sprechen Sie nach dem Ton." 1400 0.25
machine answer-machine-chinese.wav cmn "您好，我现在不在家，请在提示音后留言。" 440 0.8

# Real human prompts, as Debian ships them.
prompts=/usr/share/asterisk/sounds/en_US_f_Allison
for pair in hello=hello one-moment=one-moment-please thank-you=auth-thankyou goodbye=vm-goodbye \
  not-understood=vm-sorry nobody-available=vm-nobodyavail password=agent-pass seven=digits/7; do
  cp "$prompts/${pair#*=}.wav" "human-${pair%%=*}.wav"
done

# White noise of -30 dBFS RMS (the factor was found by measuring); -R makes it the same noise every time.
sox -R -D -n -r 8000 -c 1 -b 16 noise-30dbfs.wav synth 5 whitenoise vol 0.1374
sox -D -n -r 8000 -c 1 -b 16 silence.wav trim 0 2

# What SIPp plays: raw A-law, no header.
sox -D human-not-understood.wav -t al ../tests/interop_sip/speech.alaw

# And what it says before the answer: that a number is not in service (by a person: of a synthesised voice it depends on the milliseconds what
# is understood), China's busy tone, and keys of 80 ms as tones.
sox -D "$prompts/ss-noservice.wav" -t al ../tests/interop_sip/not-in-service.alaw pad 0.3 2
sox -D -n -r 8000 -c 1 -b 16 "$scratch/on.wav" synth 0.35 sine 450 vol 0.2 pad 0 0.35
sox -D "$scratch/on.wav" -t al ../tests/interop_sip/busy.alaw
key() { sox -D -n -r 8000 -c 1 -b 16 "$scratch/key-$3.wav" synth 0.08 sine "$1" synth 0.08 sine mix "$2" vol 0.3 pad 0 0.12; }
key 697 1209 1
key 770 1336 5
key 852 1477 9
key 941 1477 hash
sox -D "$scratch"/key-{1,5,9,hash}.wav -t al ../tests/interop_sip/keys.alaw pad 0.5 0.5
