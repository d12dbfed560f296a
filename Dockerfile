# The engine alone: `trunkline serve`. Speech and dialogue are services of their own, reached over gRPC.
#
#   docker build -t trunkline .
#   docker run --network host --stop-timeout 50 -v trunkline-data:/var/lib/trunkline trunkline
#
# That is the configuration of docker/trunkline.toml. With one of your own:
#
#   docker run --network host --stop-timeout 50 -v trunkline-data:/var/lib/trunkline \
#     -v "$PWD/my.toml:/etc/trunkline/trunkline.toml:ro" -v "$PWD/my-profiles:/etc/trunkline/sip-profiles:ro" trunkline
#
# To see whether it is right: the same with `trunkline check --config /etc/trunkline/trunkline.toml` as the command, by --entrypoint.
#
# Host networking is the plain way: no address translation between the SDP and some thousand RTP ports.

FROM rust:1.95-bookworm AS build
# libopus is built from its sources.
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin trunkline

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/trunkline --create-home trunkline
COPY --from=build /src/target/release/trunkline /usr/local/bin/trunkline
COPY docker/trunkline.toml /etc/trunkline/trunkline.toml
COPY sip-profiles /etc/trunkline/sip-profiles
COPY test-audio /etc/trunkline/prompts
# Recordings and records. A named volume takes over the owner of the folder; a folder of the host has to belong to uid 10001.
VOLUME ["/var/lib/trunkline"]
USER trunkline
WORKDIR /var/lib/trunkline
# The address of [web] listen in the configuration.
ENV TRUNKLINE_WEB=127.0.0.1:8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD curl --fail --silent --output /dev/null "http://$TRUNKLINE_WEB/healthz" || exit 1
# SIGTERM ends calls politely: they may go on for [limits] drain_s, 30 s; docker has to wait for that and some 15 s more (--stop-timeout).
STOPSIGNAL SIGTERM
ENTRYPOINT ["trunkline", "serve", "--config", "/etc/trunkline/trunkline.toml"]
