# The engine alone: `trunkline serve`. Speech and dialogue are services of their own, reached over gRPC.
#
#   docker build -t trunkline .
#   docker run --network host -v "$PWD/trunkline.toml:/etc/trunkline/trunkline.toml:ro" \
#     -v trunkline-data:/var/lib/trunkline trunkline
#
# Host networking is the plain way: no address translation between the SDP and some thousand RTP ports.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin trunkline

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/trunkline --create-home trunkline
COPY --from=build /src/target/release/trunkline /usr/local/bin/trunkline
COPY trunkline.toml /etc/trunkline/trunkline.toml
COPY sip-profiles /etc/trunkline/sip-profiles
USER trunkline
WORKDIR /var/lib/trunkline
# The address of [web] listen in trunkline.toml.
ENV TRUNKLINE_WEB=127.0.0.1:8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD curl --fail --silent --output /dev/null "http://$TRUNKLINE_WEB/healthz" || exit 1
# SIGTERM ends calls politely; the time that needs is `docker stop --time`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["trunkline", "serve", "--config", "/etc/trunkline/trunkline.toml"]
