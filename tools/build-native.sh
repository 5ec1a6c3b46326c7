#!/usr/bin/env bash
# Builds the native engine and puts it where packages/engine looks for it: packages/engine/native/engine.node.
# A running process keeps the file it has loaded: the new one takes its place by a rename, and only when it differs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/env.sh

readonly ADDON=packages/engine/native/engine.node

cargo build --release --package sendense-engine-napi
built="$CARGO_TARGET_DIR/release/libsendense_engine_napi.so"

mkdir -p "$(dirname "$ADDON")"
if cmp --silent "$built" "$ADDON"; then exit 0; fi
trap 'rm -f "$ADDON.$$"' EXIT
cp "$built" "$ADDON.$$"
mv --force "$ADDON.$$" "$ADDON"
echo "build: $ADDON, $(du -h "$ADDON" | cut -f1)"
