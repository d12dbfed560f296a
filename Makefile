# Two commands are all that is needed: `make demo` and `make test`.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
trunkline := $(CARGO_TARGET_DIR)/release/trunkline
cargo := cargo
SECONDS := 60

# mold links faster; without it everything works the same.
# Added once: a make within this make must not see other flags, or everything would be built twice.
ifneq ($(shell command -v mold 2>/dev/null),)
ifeq ($(findstring -fuse-ld=,$(RUSTFLAGS)),)
RUSTFLAGS += -C link-arg=-fuse-ld=mold
endif
endif
export RUSTFLAGS

.PHONY: help demo test build check-style docs check-wire weights run-tests guard guard-renew bench jitter load neighbours turns soak soak-media chaos talk-off held-out fuzz

help:
	@echo 'make demo    install what is missing, build, and hear a robot hold a phone conversation'
	@echo 'make test    install what is missing, then style, lints, docs, every test, and the guard'
	@echo 'make build   the release binary: $(trunkline)'
	@echo 'make load    how many calls this machine carries (docs/CAPACITY.md); make soak: 300,000 of them'
	@echo 'make neighbours  Asterisk beside it, in the same minute, by calls that talk (benches/neighbours/asterisk)'
	@echo 'make turns   how quick a conversation is, and what interrupts it (docs/conversation-bench.md)'
	@echo 'make chaos   1,000 calls whose services are killed, frozen and slowed at random (docs/operations.md)'
	@echo 'make soak-media  two hours of two legs with clocks that drift, over a bad network, in virtual time'
	@echo 'make bench   how long each hot path takes'
	@echo 'make jitter  what the jitter buffer makes of bad lines, beside a fixed one and NetEQ (docs/jitter.md)'
	@echo 'make talk-off  how many keys are heard in an hour of speech (docs/tones.md)'
	@echo 'make held-out  the same, and who answers, by recordings that no threshold has been chosen by'
	@echo 'make fuzz    each parser for SECONDS=60 with bytes that nobody would send (fuzz/)'
	@echo 'make guard   that no hot path executes more instructions than it did; make guard-renew: from now on these'

# Setup runs in a make of its own and the rest in another: only then is a mold that it has just installed seen.
demo:
	@scripts/setup demo
	@$(MAKE) --no-print-directory build
	$(trunkline) demo

test:
	@scripts/setup test
	@$(MAKE) --no-print-directory check-style docs check-wire weights
	@$(MAKE) --no-print-directory run-tests guard

build:
	$(cargo) build --release --locked

check-style:
	$(cargo) fmt --check
	$(cargo) clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS='-D warnings' $(cargo) doc --locked --no-deps --document-private-items

# The instrument before the measurement: the script that judges our packets is itself held against known faults.
check-wire:
	python3 -m unittest discover --start-directory tests/wire --pattern 'test_*.py'

# The recogniser's weights, by npm and pip, into the cache of this user.
weights:
	$(cargo) run --locked --quiet -- speech --fetch

run-tests:
ifneq ($(shell cargo nextest --version 2>/dev/null),)
	$(cargo) nextest run --locked
else
	$(cargo) test --locked --lib --bins --tests --examples
endif

# Instructions under valgrind, held against benches/instructions.toml. Without the recogniser: it is on no hot path, and long to build.
instructions := $(cargo) bench --locked --profile guard --no-default-features --bench instructions

guard:
	$(instructions)

guard-renew:
	$(instructions) -- --renew

# Calls that talk, and calls that are only set up: how many this machine carries. docs/CAPACITY.md tells how each figure is taken.
load: build
	$(trunkline) load hold --calls 500 --seconds 20
	$(trunkline) load setup --rate 500 --calls 10000 --direction in,out,mixed

# Asterisk in a Debian of its own, by debootstrap and chroot, and ours in turn: CALLS="100 200" HOLD=15 RUNS=3 make neighbours. Needs root, two cores.
neighbours: build
	scripts/neighbours '$(CARGO_TARGET_DIR)/neighbours/asterisk' $(trunkline)

# Whether a conversation is quick, and interrupted when, and only when, it should be. Needs espeak-ng. Some four minutes.
turns: build
	$(trunkline) bench-turns

# A hundred thousand calls in each direction on one server, the far end of every fifth making trouble: nothing may be left of them. 15 minutes.
soak: build
	$(trunkline) load setup --rate 500 --calls 100000 --unruly 20 --direction in,out,mixed --no-overload --assert

# 1,000 calls, 60 at a time, while two speech services and two dialogues are killed, frozen and slowed at random: CHAOS_SEED=2 make chaos. 8 minutes.
chaos:
	CHAOS_CALLS=$${CHAOS_CALLS:-1000} $(cargo) test --release --locked --test interop chaos::services -- --nocapture

# Two hours of media in virtual time; ten minutes of it are in the suite. Our code is optimised, the crates are as the suite has them: a release
# would be built for longer than this runs.
soak-media:
	CARGO_PROFILE_DEV_OPT_LEVEL=2 $(cargo) test --locked --test soak_media -- --ignored --nocapture

# For its column of PESQ: python3 -m venv V && V/bin/pip install pesq, then PYTHON=V/bin/python make jitter
jitter:
	$(cargo) bench --locked --bench jitter_quality

bench:
	$(cargo) bench --locked --bench hot_paths --bench vad_accuracy

talk-off:
	@scripts/setup speech
	scripts/talk-off

# The same, and who answers, by recordings that no threshold has been chosen by.
held-out:
	@scripts/setup speech
	scripts/held-out

# Each parser that reads the network or a file, for so many seconds: make fuzz SECONDS=600 TARGETS='sdp rtp' (fuzz/README.md). The corpora grow
# in fuzz/corpus; what is found lies in fuzz/artifacts.
fuzz:
	@scripts/setup fuzz
	scripts/fuzz '$(SECONDS)' $(TARGETS)
