# The suite that every backend of the store has to pass, ready to run against a SQL Server: the service `conformance` of
# docker-compose.sqlserver.yml. Building it fetches crates, Debian's python3-venv and the parser of T-SQL (from PyPI) and
# compiles the tests; running it fetches nothing, compiles nothing, and needs the database alone.
#
#     docker compose -f docker-compose.sqlserver.yml run --build --rm conformance

FROM rust:1.95-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY tests tests
COPY chaos chaos
COPY deploy/sqlserver deploy/sqlserver
# With CI=true a parser that cannot be had is a failure, and not left out.
ENV CI=true
# Compiles the suite, and leaves the parser below target/.
RUN cargo test --locked --package store --test all sqlserver::statements
ENV CARGO_NET_OFFLINE=true
CMD ["cargo", "test", "--locked", "--package", "store", "--test", "all", "sqlserver"]
