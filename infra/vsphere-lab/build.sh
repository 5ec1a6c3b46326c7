#!/bin/sh
# Builds the vSphere lab: vcsim-lab, govc, the stub libvixDiskLib, and fetches
# Debian's nbdkit vddk plugin. What is up to date is left alone.
#
# Everything goes to ${SENDENSE_CACHE:-~/.cache/sendense}/lab; parts.json there
# says where each part is. Several builds at once wait for each other.
set -eu

cd "$(dirname "$0")"
cache=${SENDENSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sendense}
lab=$cache/lab
mkdir -p "$lab"

say() { echo "vsphere-lab: $*" >&2; }

exec 9>"$lab/.lock"
flock 9

# The hash of all sources decides whether there is anything to do.
hash_of() { find "$@" -type f ! -name '*_test.go' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16; }

build_go() {
    stamp=$(hash_of go.mod go.sum cmd internal)
    if [ "$(cat "$lab/go.stamp" 2>/dev/null)" != "$stamp" ]; then
        say "building vcsim-lab and govc (the first time takes a minute or two)"
        mkdir -p "$lab/new"
        go build -trimpath -o "$lab/new/" ./cmd/vcsim-lab ./cmd/govc
        mv "$lab/new/vcsim-lab" "$lab/new/govc" "$lab/"
        echo "$stamp" >"$lab/go.stamp"
    fi
}

build_stub() {
    stamp=$(hash_of vddk)
    if [ "$(cat "$lab/stub.stamp" 2>/dev/null)" != "$stamp" ]; then
        say "building the stub libvixDiskLib.so.8"
        vddk/build.sh "$lab"
        rm -f "$lab/nbdkit-vddklike-plugin.so"
        echo "$stamp" >"$lab/stub.stamp"
    fi
}

# Sets plugin and is_fallback. SENDENSE_LAB_FALLBACK=1 tries out the stand-in.
get_plugin() {
    is_fallback=false
    if [ -n "${SENDENSE_LAB_FALLBACK:-}" ]; then
        say "SENDENSE_LAB_FALLBACK is set: not looking for Debian's nbdkit-plugin-vddk"
    elif plugin=$(vddk/get-plugin.sh "$cache/vddk-plugin"); then
        return
    fi
    say "WARNING: Debian's nbdkit-plugin-vddk is not used, see above."
    say "WARNING: tests use nbdkit-vddklike-plugin, which is NOT the plugin used in production."
    is_fallback=true
    plugin=$lab/nbdkit-vddklike-plugin.so
    if [ ! -e "$plugin" ]; then
        vddk/build.sh "$lab" fallback
    fi
}

build_go
build_stub
get_plugin
printf '{"vcsimLab":"%s","govc":"%s","stub":"%s","plugin":"%s","pluginIsFallback":%s}\n' \
    "$lab/vcsim-lab" "$lab/govc" "$lab/libvixDiskLib.so.8" "$plugin" "$is_fallback" >"$lab/parts.json.new"
mv "$lab/parts.json.new" "$lab/parts.json"
echo "$lab/parts.json"
