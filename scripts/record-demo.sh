#!/bin/bash
# Records the demo in a terminal of its own: docs/pictures/demo.cast (asciinema play) and demo.svg, the
# picture in the README. Uses the programs in ./bin, or in COFFER_BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
export COFFER_BIN=${COFFER_BIN:-$PWD/bin}
[[ -x $COFFER_BIN/coffer ]] || { echo "record-demo: $COFFER_BIN/coffer is not there: run make build" >&2; exit 1; }
mkdir -p docs/pictures
cargo run --quiet -p system-tests --example record -- docs/pictures/demo 100 scripts/demo.sh
ls -l docs/pictures
