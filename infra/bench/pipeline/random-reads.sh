#!/usr/bin/env bash
# Random reads through the reader of restore points; see crates/engine/examples/random_reads.rs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
source infra/env.sh
export PASSWORD="$SENDENSE_BENCH_PASSWORD"
cargo build --quiet --release --package sendense-engine --example random_reads
exec "$CARGO_TARGET_DIR/release/examples/random_reads" "$@"
