#!/bin/sh
# Builds the stub libvixDiskLib.so.8 into a directory.
# usage: build.sh OUTPUT-DIRECTORY [fallback]
# With "fallback" it builds nbdkit-vddklike-plugin.so instead, the stand-in for
# the vddk plugin; that needs the header of the package nbdkit-plugin-dev.
set -eu

out=$1
cd "$(dirname "$0")"
mkdir -p "$out"
flags='-std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden'

case ${2:-stub} in
stub)
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -Wl,-soname,libvixDiskLib.so.8 -o "$out/libvixDiskLib.so.8.new" stub.c disk.c resolver.c -lpthread
    mv "$out/libvixDiskLib.so.8.new" "$out/libvixDiskLib.so.8"
    ;;
fallback)
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -o "$out/nbdkit-vddklike-plugin.so.new" vddklike.c disk.c resolver.c -lpthread
    mv "$out/nbdkit-vddklike-plugin.so.new" "$out/nbdkit-vddklike-plugin.so"
    ;;
esac
