#!/usr/bin/env bash
# What a node with many connections costs while nothing happens: CPU, memory, and the database's transactions.
#
#   crates/bench/idle.sh [LANES] [SECONDS]      # LANES inbounds, handlers and outbounds; 750 and 60
#
# HOLDFAST_STORE__BACKEND=postgres and HOLDFAST_STORE__URL measure a node on a database server that runs already; psql
# then counts the transactions in that database, from another database of the server.
#
# Each inbound has one partner connected, who sends nothing. Needs a release build (`cargo build --release`) and bash.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
lanes=${1:-750} seconds=${2:-60}
url=${HOLDFAST_STORE__URL:-}
url=${url%%\?*}
holdfast=${HOLDFAST_BIN:-target/release/holdfast}
work=$(mktemp -d)
cp -r crates/bench/site "$work/site"
chmod -R go-w "$work/site"
inbound=$(seq -s, 21000 $((21000 + lanes - 1)))
outbound=$(seq -s, 22000 $((22000 + lanes - 1)))
printf 'inbound_ports = "%s"\noutbound_ports = "%s"\nwork = "edit"\n' "$inbound" "$outbound" >"$work/site/environments/dev.toml"
ulimit -n $((4 * lanes + 1000)) 2>/dev/null || ulimit -n "$(ulimit -Hn)"

ticks() { awk '{ print $14 + $15 }' "/proc/$node/stat"; }
resident() { awk '/VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$node/status"; }
transactions() { # of the store's database so far, those of autovacuum included; nothing on SQLite
    ask "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '${url##*/}'"
}
sessions() { # of the node, and how many of them ran a statement in the last so many seconds
    ask "SELECT count(*) || ' sessions of the node, ' || count(*) FILTER (WHERE query_start > now() - interval '$1 s')
             || ' of them ran a statement in the last $1 s'
         FROM pg_stat_activity WHERE datname = '${url##*/}' AND backend_type = 'client backend'"
}
ask() {
    [ "${HOLDFAST_STORE__BACKEND:-sqlite}" = postgres ] || return 0
    psql -XqAt "${url%/*}/template1" -c "$1"
}

started=$(date +%s%N)
"$holdfast" serve --config "$work/site" --env dev --data "$work/data" --api 127.0.0.1:20997 --log warn 2>"$work/log" &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
until curl -fsS -o /dev/null 127.0.0.1:20997/ready 2>/dev/null; do
    kill -0 "$node" || { cat "$work/log"; exit 1; }
    sleep 0.05
done
echo "ready after $((($(date +%s%N) - started) / 1000000)) ms, $(ticks) ticks of CPU (100 a second), $(resident) MiB"
partners=()
for ((lane = 0; lane < lanes; lane++)); do
    exec {partner}<>"/dev/tcp/127.0.0.1/$((21000 + lane))"
    partners+=("$partner")
done
sleep 5 # what the start and the connecting left behind
before=$(ticks) queries=$(transactions)
sleep "$seconds"
used=$(($(ticks) - before))
echo "$lanes inbounds with ${#partners[@]} partners connected, $lanes handlers, $lanes outbounds, for $seconds s:"
awk -v t="$used" -v s="$seconds" 'BEGIN { printf "node: %d ticks of CPU, %.2f %% of a core\n", t, t / s }'
if [ -n "$queries" ]; then
    echo "database: $(($(transactions) - queries)) transactions, those of autovacuum included; $(sessions "$seconds")"
fi
echo "node: $(resident) MiB resident, $(ls "/proc/$node/task" | wc -l) threads"
cat "$work/log"
