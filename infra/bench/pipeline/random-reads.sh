#!/usr/bin/env bash
# Random reads through the reader of restore points; see crates/engine/examples/random_reads.rs. With --build only that is
# built, so that no measurement waits for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
source infra/env.sh
cargo build --quiet --release --package sendense-engine --example random_reads
if [ "$1" = --build ]; then exit; fi
export PASSWORD="$SENDENSE_BENCH_PASSWORD"
exec "$CARGO_TARGET_DIR/release/examples/random_reads" "$@"
