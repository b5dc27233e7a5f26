#!/usr/bin/env bash
# Fuzzes the HL7 core with libFuzzer on stable Rust: run.sh [seconds, default 20], or
# run.sh --runs N: N inputs from a fixed seed and the committed corpus alone, the same ones each time.
# New inputs go to target/fuzz/corpus; the committed corpus stays as it is. A crash leaves its input in
# target/fuzz/crash-*, and exits non-zero; run the binary with that file to see it again.
set -euo pipefail
cd "$(dirname "$0")"

bound=(-max_total_time="${1:-20}")
root="$(cd ../../.. && pwd)"
out="$root/target/fuzz"
target="x86_64-unknown-linux-gnu"
corpus="$out/corpus"
if [ "${1:-}" = --runs ]; then
  bound=(-runs="${2:?a number of runs}" -seed=1)
  corpus="$out/corpus-of-fixed-runs"
  rm -rf "$corpus"
fi
mkdir -p "$corpus"

# What `cargo fuzz` sets on nightly, without the address sanitizer: coverage by counters. The explicit
# target keeps the flags away from build scripts.
flags=(
  --cfg fuzzing
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Ccodegen-units=1
)
RUSTFLAGS="${flags[*]}" cargo build --release --target "$target" --target-dir "$out" --bin hl7

# Each new input is a line of its own: the log keeps them all, the screen shows the start, the end and any crash.
log="$out/fuzz.log"
code=0
"$out/$target/release/hl7" "$corpus" corpus/hl7 \
  "${bound[@]}" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
  -dict=hl7.dict -artifact_prefix="$out/" -print_final_stats=1 >"$log" 2>&1 || code=$?
grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|RELOAD)|# Uses: ' "$log" | tail -n 60
exit "$code"
