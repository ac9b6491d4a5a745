# syntax=docker/dockerfile:1
# The service in a small image: built in one stage, run in another by a user of its own.
#
#     docker build --tag user-registry .
#     docker run --publish 127.0.0.1:8080:8080 --volume registry:/data user-registry

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY aggregates aggregates
COPY benches benches
COPY examples examples
COPY migrations migrations
COPY projections projections
COPY src src
COPY templates templates
# What was compiled is kept between builds; the program is copied out of the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin user-registry \
    && cp target/release/user-registry /usr/local/bin/user-registry

FROM debian:bookworm-slim
# Certificates of mail servers, gateways and databases are checked against the system's.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /usr/local/bin/user-registry /usr/local/bin/user-registry
USER 10001:10001
# Store, keys and outboxes, as far as the settings leave them here.
VOLUME /data
ENV REGISTRY__DATA_DIR=/data \
    REGISTRY__HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
# The image holds no program that speaks HTTP, but a shell that opens connections.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["user-registry"]
CMD ["serve"]
