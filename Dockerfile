# One node. Built and run by docker-compose.yml and docker-compose.cluster.yml; see docs/how-to/run-with-docker.md.

FROM rust:1.95-bookworm AS builder
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY tests tests
COPY chaos chaos
RUN cargo build --profile dist --locked --package holdfast

# The same Debian as the builder: the binary needs its C library. tini is process 1, and this is why: the kernel spares process
# 1 of a container from every signal that comes from inside of it, and so from the fencer, which must be able to end a
# leader that stands still.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 holdfast \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /var/lib/holdfast --create-home \
        --shell /usr/sbin/nologin holdfast
COPY --from=builder /build/target/dist/holdfast /usr/local/bin/holdfast
USER 10001:10001
WORKDIR /var/lib/holdfast
VOLUME /var/lib/holdfast
# Asks the node's own API on the container's loopback: it answers once the node leads and its lanes run.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD holdfast connections >/dev/null
ENTRYPOINT ["tini", "--", "holdfast"]
CMD ["serve", "--config", "/etc/holdfast", "--data", "/var/lib/holdfast/store"]
