#!/bin/bash
# Feeds hostile input to every reader of hostile input, with libFuzzer.
#   fuzz.sh [SECONDS [TARGET...]]     without a target all of them, SECONDS (60) each
#   KEEP=1 fuzz.sh …                  adds what reached new code to fuzz/corpus, for the tests to replay
# What is found lies in target/fuzz/corpus, what breaks something in target/fuzz/broken.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'fuzz: %s\n' "$*" >&2; exit 1; }

seconds=${1:-60}
shift || true
work=$PWD/target/fuzz
triple=x86_64-unknown-linux-gnu
# What cargo-fuzz passes, without the sanitizers that a stable compiler does not have: counters and
# comparisons tell libFuzzer what an input has reached.
export RUSTFLAGS="-Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1 --cfg fuzzing"
command -v g++ >/dev/null || die "g++ is missing: scripts/setup.sh fuzz installs it"
# An explicit target keeps the flags from build scripts and macros.
CARGO_TARGET_DIR=$work/build cargo build --release --locked --target $triple --manifest-path fuzz/Cargo.toml
program=$work/build/$triple/release/fuzz

if (($# == 0)); then
  # The program ends inside its target, which libFuzzer takes for a crash: its file goes aside.
  mapfile -t targets < <(COFFER_FUZZ=list "$program" -runs=1 -artifact_prefix="$work/" 2>/dev/null)
else
  targets=("$@")
fi
((${#targets[@]})) || die "the program names no target"

failed=()
for target in "${targets[@]}"; do
  saved=fuzz/corpus/$target
  [[ -d $saved ]] || die "$saved is missing: a target needs an input to begin with"
  mkdir -p "$work/corpus/$target" "$work/broken"
  log=$work/$target.log
  printf 'fuzz: %-12s %s s … ' "$target" "$seconds"
  if COFFER_FUZZ=$target "$program" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
    -artifact_prefix="$work/broken/$target-" "$work/corpus/$target" "$saved" >"$log" 2>&1; then
    sed -n 's/^Done \([0-9]*\) runs in .*/\1 runs, nothing broke/p' "$log"
  else
    printf 'BROKEN, see %s\n' "$log"
    failed+=("$target")
  fi
  if [[ -n ${KEEP:-} ]]; then
    COFFER_FUZZ=$target "$program" -merge=1 -max_len=4096 "$saved" "$work/corpus/$target" >>"$log" 2>&1 ||
      die "cannot merge the inputs of $target, see $log"
  fi
done
((${#failed[@]} == 0)) || die "broken: ${failed[*]}"
