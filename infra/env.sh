# To be sourced by bash: puts the project's own tools first on PATH and keeps build output out of the tree.
# Changes nothing on disk. The Makefile sources it for every target; so can you: `source infra/env.sh`.

SENDENSE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SENDENSE_CACHE="${SENDENSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sendense}"
export SENDENSE_ROOT SENDENSE_CACHE

# Rust, Go and the tools of file systems are often where only a login shell looks. Theirs go last: what is on PATH already wins.
for sendense_dir in "$HOME/.cargo/bin" /usr/local/go/bin /usr/sbin; do
  case ":$PATH:" in
    *":$sendense_dir:"*) ;;
    *) [ -d "$sendense_dir" ] && PATH="$PATH:$sendense_dir" ;;
  esac
done
unset sendense_dir

PATH="$SENDENSE_CACHE/tools/node_modules/.bin:$SENDENSE_CACHE/tools/bin:$PATH"
export PATH

# One folder per checkout: two clones must never pick up each other's native module.
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$SENDENSE_CACHE/target/$(printf '%s' "$SENDENSE_ROOT" | cksum | cut -d' ' -f1)}"
export CARGO_TARGET_DIR
