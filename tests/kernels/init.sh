#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=dash
# init.sh - process 1 of a kernel started by boot.sh. Mounts the host's / (9p, read-only) below a
# tmpfs, runs /command (base64 of a shell line) in it, and powers off.
# ttyS1 carries the command's output, ttyS2 tells boot.sh "ready" and then "rc=N".

B=/bin/busybox
root=/root
share=trans=virtio,version=9p2000.L,msize=512000

fail() {
	echo "boot.sh init: $*" # on the console
	$B poweroff -f
}

$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r m; do
	$B insmod "/modules/$m" || fail "insmod $m"
done < /modules/order

$B mount -t 9p -o "ro,$share,cache=loose" root /lower || fail "mount / by 9p"
$B mount -t tmpfs -o size=80% rw /rw
$B mkdir /rw/upper /rw/work
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work over $root ||
	fail "mount the overlay"

$B mount --move /proc $root/proc
$B mount --move /sys $root/sys
$B mount --move /dev $root/dev
$B mount -t debugfs debug $root/sys/kernel/debug
$B mount -t tracefs trace $root/sys/kernel/tracing
$B mount -t bpf bpf $root/sys/fs/bpf
$B mkdir -p $root/dev/pts $root/dev/shm $root/out
$B mount -t devpts -o ptmxmode=666 pts $root/dev/pts
$B mount -t tmpfs shm $root/dev/shm
$B mount -t tmpfs run $root/run
$B ip link set lo up
if $B grep -q ct_share_out $root/proc/cmdline; then
	$B mount -t 9p -o "rw,$share,cache=none" out $root/out || fail "mount /out"
fi

$B stty -F $root/dev/ttyS1 raw -echo
$B stty -F $root/dev/ttyS2 raw -echo
echo ready > $root/dev/ttyS2
$B chroot $root /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/bin/bash -c "$($B base64 -d /command)" > $root/dev/ttyS1 2>&1 < $root/dev/null
echo "rc=$?" > $root/dev/ttyS2
$B poweroff -f
