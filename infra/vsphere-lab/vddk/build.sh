#!/bin/sh
# Builds the stub libvixDiskLib.so.8 into a directory or, with "fallback",
# nbdkit-vddklike-plugin.so, the stand-in for the vddk plugin; that one needs
# the header of the package nbdkit-plugin-dev.
# usage: build.sh OUTPUT-DIRECTORY [fallback]
set -eu

out=$1
cd "$(dirname "$0")"
mkdir -p "$out"

# Compiles a shared library that appears complete or not at all.
library() {
    name=$1
    shift
    ${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -o "$out/$name.new" "$@" -lpthread
    mv "$out/$name.new" "$out/$name"
}

case ${2:-stub} in
stub)
    library libvixDiskLib.so.8 -Wl,-soname,libvixDiskLib.so.8 stub.c disk.c resolver.c
    ;;
fallback)
    if ! echo '#include <nbdkit-plugin.h>' | ${CC:-cc} -DNBDKIT_API_VERSION=2 ${CPPFLAGS:-} -E - >/dev/null 2>&1; then
        echo "vsphere-lab: the stand-in plugin needs nbdkit-plugin.h; install the package nbdkit-plugin-dev" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    library nbdkit-vddklike-plugin.so ${CPPFLAGS:-} vddklike.c disk.c resolver.c
    ;;
*)
    echo "usage: build.sh OUTPUT-DIRECTORY [fallback]" >&2
    exit 2
    ;;
esac
