#!/usr/bin/env bash
# What a message costs by how many are stored already: one node process fills one store, and is measured at each level.
#
#   crates/bench/fill.sh LEVEL...                # 0 7500000 10000000
#   RATE=11574 crates/bench/fill.sh 0 7424400    # fills at that rate, which is measured too
#
# HOLDFAST_STORE__BACKEND=postgres and HOLDFAST_STORE__URL measure a node on a database server that runs on this machine already, and
# whose data directory this user may ask for; the database should be empty.
#
# 16 lanes, a handler with five edits each, UNRECORDED (8) deliveries unrecorded. RUNS (4) runs of 120,000 messages flat out at each level,
# after the store has come to rest: those in which a segment is sealed cost more, so compare means. Needs a release build
# (`cargo build --release`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
holdfast=${HOLDFAST_BIN:-target/release/holdfast}
work=$(mktemp -d)
cp -r crates/bench/site "$work/site"
chmod -R go-w "$work/site"
inbound=$(seq -s, 21000 21015) sink=$(seq -s, 22000 22015)
to=$(seq -s, -f '127.0.0.1:%.0f' 21000 21015)
printf 'inbound_ports = "%s"\noutbound_ports = "%s"\nwork = "edit"\nunrecorded = %s\n' "$inbound" "$sink" "${UNRECORDED:-8}" >"$work/site/environments/dev.toml"
"$holdfast" serve --config "$work/site" --env dev --data "$work/data" --api 127.0.0.1:20999 --log warn 2>"$work/log" &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
until curl -fsS -o /dev/null 127.0.0.1:20999/ready 2>/dev/null; do
    kill -0 "$node" || { cat "$work/log"; exit 1; }
    sleep 0.1
done
hz=$(getconf CLK_TCK)
url=${HOLDFAST_STORE__URL:-}
ask() { psql -XqAt "$url" -c "$1"; }
server=
if [ "${HOLDFAST_STORE__BACKEND:-sqlite}" = postgres ]; then
    server=$(head -n 1 "$(ask 'SHOW data_directory')/postmaster.pid")
fi

node_ticks() { awk '{ print $14 + $15 }' "/proc/$node/stat"; }
server_ticks() { # of the server, of its processes, and of those that have ended
    [ -n "$server" ] || { echo 0; return; }
    local files=("/proc/$server/stat") child
    for child in $(pgrep -P "$server"); do files+=("/proc/$child/stat"); done
    cat "${files[@]}" 2>/dev/null | awk '{ n += $14 + $15 + $16 + $17 } END { print n }'
}
commits() { if [ -n "$server" ]; then ask 'SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()'; else echo 0; fi; }
rest() { # until housekeeping has ended
    local before now
    before=$(($(node_ticks) + $(server_ticks)))
    for _ in $(seq 60); do
        sleep 2
        now=$(($(node_ticks) + $(server_ticks)))
        [ $((now - before)) -lt 10 ] && return
        before=$now
    done
}
run() { # COUNT, arguments of `holdfast load`
    local count=$1 cpu database transactions
    shift
    rest
    cpu=$(node_ticks) database=$(server_ticks) transactions=$(commits)
    "$holdfast" load --to "$to" --lanes 16 --sink "$sink" --count "$count" "$@" >"$work/report" 2>&1 || true
    sleep 1.5 # what the server counts comes a second late
    awk -v n="$count" -v hz="$hz" -v cpu=$(($(node_ticks) - cpu)) -v db=$(($(server_ticks) - database)) -v x=$(($(commits) - transactions)) \
        -v stored="$stored" -v rss="$(awk '/VmRSS/ { print $2 / 1024 }' "/proc/$node/status")" 'BEGIN {
        printf "%d stored, %d more: node %.1f us a message, database %.1f us, %.3f commits, %.0f MiB resident\n", stored, n, cpu * 1e6 / hz / n, db * 1e6 / hz / n, x / n, rss }'
    grep -E 'last delivery|answer, from the intended|missing|inversions' "$work/report" | tr -s ' │' ' ' | sed 's/^ */    /'
    stored=$((stored + count))
}
stored=0
for level in "$@"; do
    if [ "$stored" -lt "$level" ]; then
        if [ -n "${RATE:-}" ]; then pace=(--rate "$RATE"); else pace=(--window 8); fi
        run $((level - stored)) "${pace[@]}"
    fi
    for _ in $(seq "${RUNS:-4}"); do run 120000 --window 8; done
done
tail -n 5 "$work/log"
