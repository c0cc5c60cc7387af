#!/bin/bash
# Builds coffer-oci as it is shipped, to target/shipped/coffer-oci.
#   build-oci.sh [musl | gnu]    which libc: musl, by default, if its std is installed (rustup target add)
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-$PWD/target}
musl=x86_64-unknown-linux-musl
libc=${1:-}
if [[ -z $libc ]]; then
  libc=gnu
  [[ -d $(rustc --print sysroot)/lib/rustlib/$musl ]] && libc=musl
fi
[[ $libc == musl || $libc == gnu ]] || { echo "usage: build-oci.sh [musl | gnu]" >&2; exit 2; }
if [[ $libc == musl ]]; then
  target=$musl
  # In a directory of its own: beside it lies glibc's libc.a, which the linker would find first.
  export LIBSECCOMP_LIB_PATH=$target_dir/$musl/seccomp
  mkdir -p "$LIBSECCOMP_LIB_PATH"
  ln -sf /usr/lib/x86_64-linux-gnu/libseccomp.a "$LIBSECCOMP_LIB_PATH/"
else
  target=x86_64-unknown-linux-gnu
fi
cargo build --profile oci --locked -p oci-cli --target "$target" --config crates/oci-cli/release.toml
install -D -t "$target_dir/shipped" "$target_dir/$target/oci/coffer-oci"
