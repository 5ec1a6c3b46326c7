#!/usr/bin/env bash
# Makes what the tests boot to mount shares with a kernel that can: Debian's kernel, a RAM disk that starts it, and a
# layer with what serves and mounts NFS and SMB. The machine's root is this layer over the root of the system here, so
# that it needs no disk image; nothing is installed into the system.
#
#   make.sh <folder>    what is up to date is left alone
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly OUT="$1"
readonly PACKAGES=(busybox-static cifs-utils iproute2 nfs-common nfs-kernel-server samba)
# What it takes to reach the root; the other modules are loaded from the layer when they are needed.
readonly BOOT_MODULES=(virtio_pci 9pnet_virtio 9p overlay)

main() {
  local stamp
  stamp="$(cat "$HERE/make.sh" "$HERE/init" | sha256sum)"
  if [ "$(cat "$OUT/stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  echo "test-machine: unpacking a kernel and the programs of NFS and SMB into $OUT"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  fetch_packages "$work/packages"
  mkdir "$work/layer" "$work/kernel" "$work/ram"
  unpack_programs
  unpack_kernel
  make_ram_disk
  rm -rf "$OUT"
  mkdir -p "$OUT"
  mv "$work/layer" "$work/vmlinuz" "$work/initrd" "$OUT/"
  printf '%s' "$stamp" >"$OUT/stamp"
}

# A mirror may be away for a moment; and the lists may be missing, or name what it no longer has.
fetch_packages() {
  local round
  for round in 1 2 3; do
    if download_packages "$1"; then return; fi
    echo "test-machine: fetching packages failed ($round of 3); fetching the lists of packages anew" >&2
    sleep "$((round * 5))"
    as_root apt-get update --quiet=2 || true
  done
  download_packages "$1"
}

# The kernel, busybox, and of the others what this system lacks. What may fail says so itself: in a condition,
# `set -e` does not count.
download_packages() {
  local kernel missing
  kernel="$(apt-cache depends "linux-image-$(dpkg --print-architecture)" |
    sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')" && [ -n "$kernel" ] || return 1
  missing="$(apt-get install --simulate --no-install-recommends "${PACKAGES[@]}" |
    awk '/^Inst / && $2 !~ /^(python3-|busybox-static)/ {print $2}')" || return 1
  rm -rf "$1"
  mkdir "$1"
  # shellcheck disable=SC2086 # They are names, one a word.
  (cd "$1" && apt-get download --quiet=2 -o APT::Sandbox::User=root -o Acquire::Retries=5 \
    busybox-static "$kernel" $missing)
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

unpack_programs() {
  local package folder
  for package in "$work"/packages/*.deb; do
    case "$package" in
      */linux-image-*) ;;
      *) dpkg-deb --extract "$package" "$work/layer" ;;
    esac
  done
  # As everywhere since Debian 12: otherwise they would hide the links of the system below.
  for folder in bin sbin lib; do
    if [ ! -d "$work/layer/$folder" ]; then continue; fi
    mkdir -p "$work/layer/usr/$folder"
    cp --archive "$work/layer/$folder/." "$work/layer/usr/$folder/"
    rm -r "${work:?}/layer/$folder"
  done
  # The kernel asks for its modules by this name.
  ln --symbolic --force ../bin/busybox "$work/layer/usr/sbin/modprobe"
}

# Without the drivers of real hardware, which are two thirds of it.
unpack_kernel() {
  dpkg-deb --fsys-tarfile "$work"/packages/linux-image-*.deb |
    tar --extract --directory "$work/kernel" --wildcards ./boot/vmlinuz-* './lib/modules/*/modules.*' \
      './lib/modules/*/kernel/'{arch,crypto,fs,lib,net}'/*' \
      './lib/modules/*/kernel/drivers/'{char/virtio*,net/net_failover,net/veth,net/virtio*,virtio/*}.ko
  mv "$work"/kernel/boot/vmlinuz-* "$work/vmlinuz"
  mkdir -p "$work/layer/usr/lib/modules"
  mv "$work"/kernel/lib/modules/* "$work/layer/usr/lib/modules/"
  modules="$(echo "$work"/layer/usr/lib/modules/*)"
  busybox depmod -b "$work/layer/usr" "$(basename "$modules")"
}

make_ram_disk() {
  local module target="$work/ram/lib/modules/${modules##*/}"
  mkdir -p "$work/ram/bin" "$target"
  cp "$work/layer/usr/bin/busybox" "$work/ram/bin/"
  install -m 755 "$HERE/init" "$work/ram/init"
  for module in "${BOOT_MODULES[@]}"; do
    (cd "$modules" && grep "/$module.ko:" modules.dep | tr -d : | xargs cp --parents --target-directory "$target")
  done
  cp "$modules"/modules.{dep,alias,symbols} "$target/"
  (cd "$work/ram" && find . | busybox cpio -o -H newc 2>/dev/null | gzip >"$work/initrd")
}

busybox() { "$work/layer/usr/bin/busybox" "$@"; }

main
