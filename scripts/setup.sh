#!/bin/bash
# Installs what a target needs on Debian 12, as root: only what is missing, and quietly.
#   setup.sh build | demo | test | vm | bench | fuzz
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

build=(gcc libc6-dev libseccomp-dev protobuf-compiler)
demo=(busybox-static iproute2)
# procps: `ps`, for coffer-oci ps. fish, zsh: completions are tried in the shells themselves.
# containerd: coffer-oci below its shim, with a daemon of the test's own.
test=("${build[@]}" "${demo[@]}" podman crun runc skopeo umoci containerd procps fish zsh)
# A registry.
test+=(docker-registry)
# Virtual machines: the emulator, mkfs.ext4 (disks in files elsewhere, too), strip, setpriv.
test+=(qemu-system-x86 e2fsprogs binutils util-linux)
# The bus on which a test plays systemd; systemd itself, in a virtual machine; profiles for its kernel.
test+=(dbus-daemon systemd apparmor)
# virtiofsd (qemu-system-common), mkswap (util-linux), debugfs (e2fsprogs) and ldd (libc-bin) come with others.
# What the agent's network and storage calls are tried with.
test+=(iptables xfsprogs btrfs-progs erofs-utils)
# pkg-config: for youki's build. time: peak memory.
bench=("${build[@]}" "${demo[@]}" crun runc podman containerd skopeo umoci pkg-config time)
fuzz=("${build[@]}" g++)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  demo) wanted=("${demo[@]}") ;;
  test | vm) wanted=("${test[@]}") ;;
  bench) wanted=("${bench[@]}") ;;
  fuzz) wanted=("${fuzz[@]}") ;;
  *) die "usage: setup.sh build|demo|test|vm|bench|fuzz" ;;
esac

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  [[ $(id -u) == 0 ]] || die "these Debian packages are missing: ${missing[*]} (install them as root)"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
  # The package lists may be absent or old: fetch them when the first try fails.
  install || { apt-get update -qq >"$log" 2>&1 && install; } || {
    cat "$log" >&2
    die "apt-get could not install ${missing[*]}"
  }
fi

[[ $1 == demo ]] && exit 0
command -v cargo >/dev/null || die "cargo is not there: install Rust with rustup; \
rust-toolchain.toml names the version"
cargo --version >/dev/null 2>&1 || die "cargo does not run here; rust-toolchain.toml asks for \
$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml): rustup toolchain install fetches it"
# coffer-oci is half a megabyte smaller with musl, but runs with glibc just as well.
musl=x86_64-unknown-linux-musl
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$musl ]]; then
  say "installing Rust's std for $musl"
  timeout 300 rustup --quiet target add $musl >/dev/null 2>&1 ||
    say "rustup could not install it (rustup target add $musl): coffer-oci will be built with glibc, larger and slower"
fi
# cargo's own programs may not be in PATH.
if [[ $1 == test || $1 == vm ]] && ! PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin command -v vhost-device-vsock >/dev/null; then
  say "installing vhost-device-vsock, the host's end of a virtual machine's sockets (this takes some minutes)"
  cargo install --locked --quiet vhost-device-vsock --version 0.3.0
fi
if [[ $1 == test ]] && ! cargo nextest --version >/dev/null 2>&1; then
  say "installing cargo-nextest (this takes some minutes)"
  cargo install --locked --quiet cargo-nextest
fi
