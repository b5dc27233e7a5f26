#!/usr/bin/env bash
# Fuzzes the HL7 core with libFuzzer on stable Rust: run.sh [seconds, default 20].
# New inputs go to target/fuzz/corpus; the committed corpus stays as it is. A crash leaves its input in
# target/fuzz/crash-*, and exits non-zero; run the binary with that file to see it again.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-20}"
root="$(cd ../../.. && pwd)"
out="$root/target/fuzz"
target="x86_64-unknown-linux-gnu"
mkdir -p "$out/corpus"

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

"$out/$target/release/hl7" "$out/corpus" corpus/hl7 \
  -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
  -dict=hl7.dict -artifact_prefix="$out/" -print_final_stats=1
