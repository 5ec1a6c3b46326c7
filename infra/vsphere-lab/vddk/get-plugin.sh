#!/bin/sh
# Fetches Debian's own build of nbdkit's vddk plugin (package
# nbdkit-plugin-vddk, BSD licence, suite trixie, component contrib). It needs
# libc6 >= 2.34 only, so it loads into bookworm's nbdkit as it is. apt runs
# with private state; nothing is installed.
#
# usage: get-plugin.sh [CACHE-DIRECTORY]
# Prints the path of the plugin; fails with a reason if it cannot be had.
set -eu

suite=trixie
package=nbdkit-plugin-vddk
cache=${1:-${SENDENSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sendense}/vddk-plugin}

fail() {
    echo "get-plugin: $*" >&2
    exit 1
}

plugin_in() {
    find "$1" -name nbdkit-vddk-plugin.so 2>/dev/null | head -n 1
}

# The mirror and key of the distribution's own main archive, from deb822 files
# or from classic lists: "URI<newline>KEYRING-or-empty".
debian_mirror() {
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        awk 'tolower($1) == "uris:" { uri = $2 }
             tolower($1) == "signed-by:" { key = $2 }
             /^[[:space:]]*$/ { if (uri ~ /\/debian\/?$/) exit; uri = key = "" }
             END { if (uri ~ /\/debian\/?$/) print uri "\n" key }' "$file" | grep . && return
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\/debian\/\{0,1\}\)[[:space:]].*/\2/p' "$file" |
            head -n 1 | grep . && return
    done
    return 1
}

write_source() {
    mirror=$(debian_mirror) || fail "no Debian archive in /etc/apt/sources.list*; $package cannot be fetched"
    uri=$(printf '%s\n' "$mirror" | sed -n 1p)
    key=$(printf '%s\n' "$mirror" | sed -n 2p)
    [ -n "$key" ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: contrib\nSigned-By: %s\n' "$uri" "$suite" "$key" >"$1"
}

known=$(plugin_in "$cache")
if [ -n "$known" ]; then
    echo "$known"
    exit 0
fi
command -v apt-get >/dev/null || fail "there is no apt-get; $package cannot be fetched"
command -v dpkg-deb >/dev/null || fail "there is no dpkg-deb; $package cannot be unpacked"

mkdir -p "$(dirname "$cache")"
work=$(mktemp -d "$(dirname "$cache")/.vddk-plugin.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/archives/partial" "$work/root"
: >"$work/status"
write_source "$work/parts/debian.sources"

apt() {
    apt-get -qq -o Acquire::Retries=3 -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Cache="$work" -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update >&2 || fail "apt cannot read suite $suite of the Debian archive"
(cd "$work" && apt download "$package" >&2) || fail "apt cannot download $package"
dpkg-deb -x "$work/$package"_*.deb "$work/root"
[ -n "$(plugin_in "$work/root")" ] || fail "$package does not hold the plugin"

# Appears complete or not at all; whoever comes second keeps what is there.
mv -T "$work/root" "$cache" 2>/dev/null || rm -rf "$work/root"
plugin_in "$cache"
