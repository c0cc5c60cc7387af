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
# A warning, as documents of runc's `spec` have one.
sed -i 's/"capabilities": {/&"ambient": ["CAP_KILL"],/' "$work/once/config.json"
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

nm "$oci" | python3 -c '
import bisect, collections, re, sys
# What is the same code has been made one, with the names of all: which of them the linker kept, nobody knows.
functions = collections.defaultdict(list)
for line in sys.stdin:
    words = line.split()
    if len(words) == 3 and words[1] in "tTwW":
        functions[int(words[0], 16)].append(words[2])
starts = sorted(functions)
used = collections.defaultdict(set)
for path in sys.argv[1:]:
    for line in open(path):
        at = bisect.bisect_right(starts, int(line, 16)) - 1
        for name in functions[starts[at]] if at >= 0 else []:
            # Hashes of crates (v0) and of instances (legacy); $ begins a variable of the linker script.
            name = re.sub("Cs[0-9A-Za-z]+_", "Cs*_", name) if name.startswith("_R") else name
            name = re.sub("17h[0-9a-f]{16}E$", "17h*", name) if name.startswith("_ZN") else name
            used[name.replace("$", "?")].add(path)
order = sorted(used, key=lambda name: (-len(used[name]), sorted(used[name]), name))
print("/* Made by scripts/hot-functions.sh: what the frequent commands execute, side by side. */")
print("SECTIONS\n{\n  .text.hot :\n  {")
for name in order:
    # What is marked as cold has a section of that name.
    print(f"    *(.text.{name} .text.unlikely.{name})")
    # What libc has in assembly is all its file has.
    if name in ("_start", "memset", "memmove", "__set_thread_area"):
        file = "crt1.o" if name == "_start" else f":{name}.lo"
        print(f"    *{file}(.text)")
print("  }\n}\nINSERT BEFORE .text;")
' "$work"/*.hit >"$work/hot.ld"
mv "$work/hot.ld" crates/oci-cli/hot.ld
wc -l crates/oci-cli/hot.ld
