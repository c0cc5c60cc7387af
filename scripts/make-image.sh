#!/bin/bash
# Makes a real OCI image archive from Debian's busybox-static, with tar and sha256sum alone: two
# layers (a root filesystem, a web site), environment, entrypoint, working directory, non-root user.
#   make-image.sh ARCHIVE.tar [NAME]
set -euo pipefail

archive=${1:?usage: make-image.sh ARCHIVE.tar [NAME]}
name=${2:-docker.io/library/coffer-demo:latest}
busybox=/bin/busybox
[[ -x $busybox ]] || { echo "make-image: $busybox is not there: install busybox-static" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/image/blobs/sha256
mkdir -p "$blobs" "$work"/base/{bin,etc,proc,sys,dev,tmp,home/user} "$work"/site/{www,bin}

# Layer 1: the root filesystem.
install -D "$busybox" "$work/base$(readlink -f "$busybox")"
"$busybox" --install -s "$work/base/bin"
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$work/base/etc/passwd"
printf 'root:x:0:\nuser:x:1000:\n' >"$work/base/etc/group"
chmod 1777 "$work/base/tmp"

# Layer 2: a web site and the program that serves it and counts aloud.
printf '<html><body>Hello from a pod that needs no daemon.</body></html>\n' >"$work/site/www/index.html"
cat >"$work/site/bin/serve" <<'SERVE'
#!/bin/sh
trap 'exit 0' TERM
echo "serving $(pwd) on ${LISTEN:-all addresses}, port $PORT, as $(id -un)"
httpd -f -p "${LISTEN:+$LISTEN:}$PORT" -h . &
count=0
while :; do
  count=$((count + 1))
  echo "line $count"
  sleep 0.05
done
SERVE
chmod 755 "$work/site/bin/serve"

# Adds a file to the blobs and prints its digest.
blob() {
  local digest
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  mv "$1" "$blobs/$digest"
  echo "sha256:$digest"
}
size() { stat -c %s "$blobs/${1#sha256:}"; }

layers='' diff_ids=''
for layer in base site; do
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/$layer" -cf "$work/$layer.tar" .
  diff_ids+="${diff_ids:+,}\"sha256:$(sha256sum "$work/$layer.tar" | cut -d' ' -f1)\""
  gzip -1 -n "$work/$layer.tar"
  digest=$(blob "$work/$layer.tar.gz")
  layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"$digest\",\"size\":$(size "$digest")}"
done

case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
cat >"$work/config" <<JSON
{"architecture":"$arch","os":"linux","config":{"User":"user","Env":["PATH=/bin","PORT=8080"],
"Entrypoint":["/bin/sh","-c"],"Cmd":["serve"],"WorkingDir":"/www"},
"rootfs":{"type":"layers","diff_ids":[$diff_ids]}}
JSON
config=$(blob "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":
"application/vnd.oci.image.config.v1+json","digest":"$config","size":$(size "$config")},"layers":[$layers]}
JSON
manifest=$(blob "$work/manifest")
cat >"$work/image/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":
"$manifest","size":$(size "$manifest"),"annotations":{"org.opencontainers.image.ref.name":"$name"}}]}
JSON
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
tar --sort=name -C "$work/image" -cf "$archive" oci-layout index.json blobs
