#!/bin/bash
# Writes crates/oci-cli/hot.ld anew: the functions of coffer-oci that its frequent commands execute, those of most
# commands first, as the linker is to lay them out. A start then touches ten pieces of 64 KiB of the program instead
# of twenty-two, and each costs a page fault. Names are without what changes from build to build, so an old list
# works, too: it only misses what is new. Needs root, as the commands do; takes five minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
oci="$target_dir/hot/shipped/coffer-oci"
cleanup() {
  "$oci" --root "$work/state" delete --force waits 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

CARGO_TARGET_DIR="$target_dir/hot" CARGO_PROFILE_OCI_STRIP=none scripts/build-oci.sh
gcc -O2 -o "$work/steps" bench/src/oci_steps.c

mkdir -p "$work"/{once,waits}/rootfs/bin
for bundle in once waits; do
  cp /bin/busybox "$work/$bundle/rootfs/bin/"
  ln -s busybox "$work/$bundle/rootfs/bin/true"
  ln -s busybox "$work/$bundle/rootfs/bin/sleep"
  (cd "$work/$bundle" && "$oci" spec)
  sed -i 's/"terminal": true/"terminal": false/' "$work/$bundle/config.json"
done
sed -i 's/"sh"/"true"/' "$work/once/config.json"
sed -i 's/"sh"/"sleep", "1000"/' "$work/waits/config.json"

read -r first end < <(readelf -lW "$oci" | awk '$1 == "LOAD" && / E / { print $3, $6 }' |
  python3 -c 'start, size = (int(word, 16) for word in input().split()); print(f"{start:x} {start + size:x}")')
steps() {
  local name=$1
  shift
  "$work/steps" "$work/$name.hit" "$first" "$end" "$oci" --root "$work/state" "$@" </dev/null >/dev/null
}
steps run run --bundle "$work/once" once
# Its process waits: not in steps, and what it does is what run does.
"$oci" --root "$work/state" create --bundle "$work/waits" waits </dev/null >/dev/null 2>&1
steps start start waits
steps state state waits
steps exec exec waits true
steps kill kill waits KILL
for _ in {1..50}; do
  "$oci" --root "$work/state" state waits | grep -q '"stopped"' && break
  sleep 0.1
done
steps delete delete waits

nm -n -S "$oci" | python3 -c '
import bisect, collections, re, sys
functions = [line.split() for line in sys.stdin]
functions = [(int(f[0], 16), f[3]) for f in functions if len(f) == 4 and f[2] in "tTwW"]
starts = [start for start, _ in functions]
used = collections.defaultdict(set)
for path in sys.argv[1:]:
    for line in open(path):
        at = bisect.bisect_right(starts, int(line, 16)) - 1
        name = functions[at][1] if at >= 0 else ""
        # Hashes of crates (v0) and of instances (legacy); $ begins a variable of the linker script.
        name = re.sub("Cs[0-9A-Za-z]+_", "Cs*_", name) if name.startswith("_R") else name
        name = re.sub("17h[0-9a-f]{16}E$", "17h*", name) if name.startswith("_ZN") else name
        used[name.replace("$", "?")].add(path)
order = sorted(filter(None, used), key=lambda name: (-len(used[name]), sorted(used[name]), name))
print("/* Made by scripts/hot-functions.sh: what the frequent commands execute, side by side. */")
print("SECTIONS\n{\n  .text.hot :\n  {")
for name in order:
    print(f"    *(.text.{name})")
print("  }\n}\nINSERT BEFORE .text;")
' "$work"/*.hit >"$work/hot.ld"
mv "$work/hot.ld" crates/oci-cli/hot.ld
wc -l crates/oci-cli/hot.ld
