#!/usr/bin/env bash
# Runs the six type-aware rules of .oxlintrc.json over the source folders, and over nothing else:
# given the root, oxlint's type checker reads node_modules and ends on somebody's declaration file.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s nullglob
exec pnpm exec oxlint --type-aware --deny-warnings apps/*/src apps/*/test packages/*/src packages/*/test tests tools
