#!/bin/bash
# `make measure`: what the release build costs: memory of the daemon idle and with 20 pods, of each
# pod's agent, and the sizes of the programs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${COFFER_BIN:-$PWD/bin}
pods=${1:-20}
base=$(mktemp -d /tmp/coffer-measure.XXXXXX)
cgroup=coffer-measure-$$
export COFFER_SOCKET=$base/run/coffer.sock
daemon=
cleanup() {
  local status=$?
  trap - EXIT
  if [[ -n $daemon ]] && kill -0 "$daemon" 2>/dev/null; then
    mapfile -t ids < <("$bin/coffer" pods -q || true)
    ((${#ids[@]})) && "$bin/coffer" rm -f "${ids[@]}" >/dev/null
    kill -TERM "$daemon"
    wait "$daemon" || true
  fi
  rm -rf "$base"
  exit "$status"
}
trap cleanup EXIT

kib() { awk -v key="$2:" '$1 == key { sum += $2 } END { print sum + 0 }' "/proc/$1/$3"; }

: >"$base/config.toml"
"$bin/coffer" serve --root "$base/root" --state "$base/run" --cgroup-root "$cgroup" \
  --config "$base/config.toml" 2>"$base/daemon.log" &
daemon=$!
until "$bin/coffer" version >/dev/null 2>&1; do
  kill -0 "$daemon" || { cat "$base/daemon.log"; exit 1; }
  sleep 0.02
done
scripts/make-image.sh "$base/image.tar"
"$bin/coffer" import -q "$base/image.tar" >/dev/null
sleep 0.5
printf '%-34s %8s KiB\n' "daemon, idle, RSS" "$(kib "$daemon" VmRSS status)"
for ((number = 1; number <= pods; number++)); do
  "$bin/coffer" run -d --name "pod$number" coffer-demo 'exec sleep 1000' >/dev/null
done
sleep 1
printf '%-34s %8s KiB\n' "daemon, $pods pods, RSS" "$(kib "$daemon" VmRSS status)"
total=0 rss=0 count=0
for directory in $(grep -lE ":/([^:]*/)?$cgroup-agents/" /proc/[0-9]*/cgroup 2>/dev/null); do
  pid=$(cut -d/ -f3 <<<"$directory")
  pss=$(kib "$pid" Pss smaps_rollup)
  total=$((total + pss)) rss=$((rss + $(kib "$pid" Rss smaps_rollup))) count=$((count + 1))
done
((count == pods)) || { echo "measure: $count agents for $pods pods" >&2; exit 1; }
printf '%-34s %8s KiB\n' "agent, mean of $count, PSS" "$((total / count))"
printf '%-34s %8s KiB\n' "agent, mean of $count, RSS" "$((rss / count))"
for program in coffer coffer-agent coffer-oci; do
  printf '%-34s %8s KiB\n' "$program, file" "$(($(stat -c %s "$bin/$program") / 1024))"
done
