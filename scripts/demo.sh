#!/bin/bash
# `make demo`: a pod from a real image lives through a SIGKILL of its daemon. Everything is private:
# a temporary directory, cgroup names of its own, a free port on the loopback. Ends non-zero when
# anything is not as it should be, and cleans up in any case.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $(id -u) == 0 ]] || { echo "demo: namespaces, mounts and cgroups need root" >&2; exit 1; }
bin=${COFFER_BIN:-$PWD/bin}
[[ -x $bin/coffer ]] || { echo "demo: $bin/coffer is not there: run make build" >&2; exit 1; }

base=$(mktemp -d /tmp/coffer-demo.XXXXXX)
cgroup=coffer-demo-$$
export COFFER_SOCKET=$base/run/coffer.sock
daemon=
started=$EPOCHREALTIME

# --- output ---------------------------------------------------------------------------------------
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else bold='' dim='' red='' green='' plain=''; fi
number=0
# microseconds since $1
since() { local now=$EPOCHREALTIME; echo $((${now/./} - ${1/./})); }
title() { number=$((number + 1)); printf '\n%s%2d  %s%s\n' "$bold" "$number" "$*" "$plain"; }
indent() { sed 's/^/    /'; }
note() { printf '    %s%s%s\n' "$dim" "$*" "$plain"; }
good() { printf '    %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() {
  printf '\n%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
  [[ -s $base/daemon.log ]] && { echo "last words of the daemon:"; tail -n 15 "$base/daemon.log"; } >&2
  exit 1
}
# Shows a command, runs it, indents what it says and adds the time that it took.
run() {
  local from=$EPOCHREALTIME micros
  printf '    %s$ %s%s\n' "$dim" "${*//$bin\//}" "$plain"
  "$@" 2>&1 | indent || fail "failed: ${*//$bin\//}"
  micros=$(since "$from")
  printf '    %s%*s ms%s\n' "$dim" 70 "$((micros / 1000)).$((micros / 100 % 10))" "$plain"
}

# --- clean-up: by what carries our names, never more ------------------------------------------------
processes() { # that live in our cgroups; one that only waits for init to reap it is gone
  local pid
  for pid in $(grep -lE ":/([^:]*/)?$cgroup(-agents)?/" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do
    grep -qE '^State:[[:space:]]+[ZX]' "/proc/$pid/status" 2>/dev/null || echo "$pid"
  done
}
cleanup() {
  local status=$? pid directory
  trap - EXIT INT TERM
  if [[ -n $daemon ]] && kill -0 "$daemon" 2>/dev/null; then
    mapfile -t pods < <(timeout 10 "$bin/coffer" pods -q 2>/dev/null || true)
    ((${#pods[@]})) && timeout 30 "$bin/coffer" rm -f "${pods[@]}" >/dev/null 2>&1
    kill -TERM "$daemon" 2>/dev/null
    wait "$daemon" 2>/dev/null
  fi
  for _ in 1 2 3 4 5; do
    mapfile -t left < <(processes)
    ((${#left[@]})) || break
    kill -KILL "${left[@]}" 2>/dev/null
    sleep 0.1
  done
  while read -r _ _ _ _ directory _; do
    [[ $directory == "$base"/* ]] && umount -l "$directory" 2>/dev/null
  done < <(tac /proc/self/mountinfo)
  for directory in /sys/fs/cgroup/*/"$cgroup"{,-agents} /sys/fs/cgroup/"$cgroup"{,-agents}; do
    [[ -d $directory ]] && find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  rm -rf "$base"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the daemon -----------------------------------------------------------------------------------
serve() {
  "$bin/coffer" serve --root "$base/root" --state "$base/run" --cgroup-root "$cgroup" \
    --config "$base/config.toml" 2>>"$base/daemon.log" &
  daemon=$!
  for _ in {1..500}; do
    "$bin/coffer" version >/dev/null 2>&1 && return
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.01
  done
  fail "the daemon does not serve"
}
field() { # FIELD NAME: a value of `coffer inspect`
  "$bin/coffer" inspect "$2" | sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" | head -n 1
}
fetch() { # the page, from the host
  exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && sed -n '$p' <&3
}
free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  fail "no free port on the loopback"
}

printf '%sCoffer: a pod that needs no daemon to live%s\n' "$bold" "$plain"
note "everything is below $base and goes with it"
: >"$base/config.toml"

title "An image from Debian's busybox-static: two layers, environment, entrypoint, user 1000"
run scripts/make-image.sh "$base/image.tar"

title "A daemon of our own"
from=$EPOCHREALTIME
serve
note "pid $daemon serves CRI after $(($(since "$from") / 1000)) ms"
run "$bin/coffer" version

title "Import the image"
if [[ -t 2 ]]; then "$bin/coffer" import "$base/image.tar" | indent || fail "the import failed"
else run "$bin/coffer" import "$base/image.tar"; fi
run "$bin/coffer" images

port=$(free_port)
title "A pod with a web server, on the host's loopback, port $port"
run "$bin/coffer" run -d --name web --network host -e "PORT=$port" -e LISTEN=127.0.0.1 coffer-demo
for _ in {1..100}; do page=$(fetch 2>/dev/null) && [[ -n $page ]] && break; sleep 0.02; done
[[ ${page:-} == *Hello* ]] || fail "nobody serves on 127.0.0.1:$port"
good "the host reads: $page"

title "A client container in the same pod"
run "$bin/coffer" run --rm --pod web --name client coffer-demo "wget -qO- http://127.0.0.1:$port/"
run "$bin/coffer" pods
run "$bin/coffer" ps

title "Its logs, a command in it, what it uses"
run "$bin/coffer" logs --tail 3 web
run "$bin/coffer" exec web ps
run "$bin/coffer" stats --no-stream web

title "SIGKILL for the daemon while the pod runs"
pid=$(field pid web)
[[ $pid =~ ^[0-9]+$ ]] || fail "no pid of the container in \`coffer inspect web\`"
born=$(cut -d')' -f2 "/proc/$pid/stat" | cut -d' ' -f21)
note "the web server's first process is pid $pid, the daemon is pid $daemon"
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
good "the daemon is dead: $("$bin/coffer" version 2>&1 | head -n 1)"
sleep 0.4
page=$(fetch) && [[ $page == *Hello* ]] || fail "the web server died with the daemon"
good "the web server still answers: $page"

title "A new daemon finds the pod"
from=$EPOCHREALTIME
serve
note "pid $daemon serves after $(($(since "$from") / 1000)) ms"
run "$bin/coffer" ps
now=$(field pid web)
[[ $now == "$pid" ]] || fail "the container's process is $now now, it was $pid"
[[ $(cut -d')' -f2 "/proc/$now/stat" | cut -d' ' -f21) == "$born" ]] || fail "pid $pid is another process"
page=$(fetch) && [[ $page == *Hello* ]] || fail "the web server does not answer"
good "the same process, pid $now, serves as before"
sleep 0.2
lines=$("$bin/coffer" logs web | sed -n 's/^line //p')
count=$(wc -l <<<"$lines")
diff <(seq "$count") <(echo "$lines") >/dev/null || fail "log lines are missing or doubled"
((count > 10)) || fail "only $count lines in the log"
good "all of the $count lines that it counted are in the log, none missing, none twice"

title "Clean up"
run "$bin/coffer" stop -t 2 web
run "$bin/coffer" rm web
[[ -z $("$bin/coffer" pods -q) ]] || fail "a pod is left"
kill -TERM "$daemon"
wait "$daemon" || fail "the daemon ended badly"
daemon=
[[ -z $(processes) ]] || fail "processes are left: $(processes | tr '\n' ' ')"
grep -q " $base/" /proc/self/mountinfo && fail "mounts are left"
left=$(find /sys/fs/cgroup -maxdepth 4 -type d -name "$cgroup*" 2>/dev/null | head -n 3)
[[ -z $left ]] || fail "cgroups are left: $left"
good "no process, no mount, no cgroup is left"

micros=$(since "$started")
printf '\n%sDone in %d.%d s.%s Try next, as root:\n\n' "$bold" $((micros / 1000000)) $((micros / 100000 % 10)) "$plain"
cat <<HINT
    export PATH=$bin:\$PATH
    coffer serve &                                  # the real places: /var/lib/coffer, /run/coffer
    scripts/make-image.sh /tmp/demo.tar && coffer import /tmp/demo.tar
    coffer run --rm coffer-demo 'echo hello from \$(hostname)'
    coffer run -d --name web --network host coffer-demo && coffer logs -f web
    coffer --help

HINT
