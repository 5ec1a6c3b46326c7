#!/bin/bash
# The only service of the test machine. Takes lines of a number and a script in Base64 from the tests; answers each with
# the number, the exit status, and what the script printed to its two outputs, in Base64. Scripts run beside each other.
set -eu
trap 'busybox poweroff -f' EXIT
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C

mount -t tmpfs -o mode=755 tmpfs /run
modprobe virtio_net
modprobe virtio_console
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0

port="$(grep -l '^tests$' /sys/class/virtio-ports/*/name)"
port="${port%/name}"
exec 3<>"/dev/${port##*/}"

run() {
  local id="$1" out status=0
  out="$(mktemp -d /run/script.XXXXXX)"
  bash -euo pipefail -c "$(base64 -d <<<"$2")" >"$out/1" 2>"$out/2" </dev/null 3>&- || status=$?
  (
    flock 9
    echo "$id $status $(base64 -w0 "$out/1"):$(base64 -w0 "$out/2")" >&3
  ) 9>/run/agent.lock
  rm -r "$out"
}

echo ready >&3
# The end of input is the end of whoever started us.
while read -r -u 3 id script; do run "$id" "$script" & done
