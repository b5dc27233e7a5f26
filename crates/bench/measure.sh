#!/usr/bin/env bash
# Measures a node end to end on this machine, sender and sink included: every message is acknowledged after a
# durable commit, routed, edited, delivered and accounted for.
#
#   crates/bench/measure.sh [LANES] [WINDOW] [COUNT] [extra arguments of `holdfast load`]
#   crates/bench/measure.sh 10 - 15000 --rate 500
#
# HOLDFAST_STORE__BACKEND=postgres and HOLDFAST_STORE__URL measure a node on a database server that runs already.
#
# UNRECORDED=8 lets each outbound have so many deliveries whose outcome is not durable yet (1 unless given).
#
# HOLD=1 holds every outbound until all messages are acknowledged, and releases them then: what a backlog costs, and
# whether it drains in order (add `--quiet 1h`: the judge must wait for it).
#
# Needs a release build (`cargo build --release`). Prints the load tool's report, and the node's CPU seconds and
# resident memory on the way and at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
lanes=${1:-10} window=${2:-8} count=${3:-100000}
shift $(($# < 3 ? $# : 3))
holdfast=${HOLDFAST_BIN:-target/release/holdfast}
work=$(mktemp -d)
cp -r crates/bench/site "$work/site"
chmod -R go-w "$work/site"
inbound=$(seq -s, 21000 $((21000 + lanes - 1)))
sink=$(seq -s, 22000 $((22000 + lanes - 1)))
printf 'inbound_ports = "%s"\noutbound_ports = "%s"\nwork = "edit"\nunrecorded = %s\n' "$inbound" "$sink" "${UNRECORDED:-1}" >"$work/site/environments/dev.toml"
"$holdfast" serve --config "$work/site" --env dev --data "$work/data" --api 127.0.0.1:20999 --log warn 2>"$work/log" &
node=$!
trap 'kill "$node" "${watch:-}" "${releaser:-}" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    curl -fsS -o /dev/null 127.0.0.1:20999/ready 2>/dev/null && break
    sleep 0.1
done
to=$(seq -s, -f '127.0.0.1:%.0f' 21000 $((21000 + lanes - 1)))
pace=(--window "$window")
[ "$window" = - ] && pace=() # the extra arguments say how fast
( # what the node holds in memory, every so often: flat, or it leaks
    sleep 2
    while sleep "${MEMORY_EVERY:-10}"; do
        awk '/VmRSS/ { printf " %.0f", $2 / 1024 }' "/proc/$node/status" >>"$work/memory" 2>/dev/null || break
    done
) &
watch=$!
if [ -n "${HOLD:-}" ]; then
    outbounds=$("$holdfast" connections list --api http://127.0.0.1:20999 --json | grep -o '"OB_[^"]*"' | tr -d '"' | sort -u)
    each() { for name in $outbounds; do "$holdfast" connections "$1" "$name" --api http://127.0.0.1:20999 >>"$work/held" 2>&1; done; }
    each hold
    (
        received() { curl -fsS 127.0.0.1:20999/metrics | awk '/^holdfast_messages_received_total/ { n += $NF } END { print n + 0 }'; }
        begun=$SECONDS last=0
        until [ "$(received)" -ge "$count" ]; do
            sleep 10
            now=$(received)
            echo "held: $now accepted after $((SECONDS - begun)) s, $(((now - last) / 10))/s"
            last=$now
        done
        echo "released after $((SECONDS - begun)) s"
        each release
    ) &
    releaser=$!
fi
"$holdfast" load --to "$to" --lanes "$lanes" "${pace[@]}" --count "$count" --sink "$sink" "$@" || true
awk -v hz="$(getconf CLK_TCK)" -v n="$count" '{ cpu = ($14 + $15) / hz; printf "node: %.1f CPU seconds", cpu; printf ", %.0f us a message\n", cpu * 1e6 / n }' "/proc/$node/stat"
if [ -s "$work/memory" ]; then echo "node: resident MiB every ${MEMORY_EVERY:-10} s:$(cat "$work/memory")"; fi
awk '/VmRSS|VmHWM/ { print "node: " $1 " " $2 / 1024 " MiB" }' "/proc/$node/status"
tail -n 5 "$work/log"
