#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# boot.sh KERNEL_DIR -- COMMAND... - boot a kernel that fetch.sh unpacked, run COMMAND in it as root.
#
# The guest's / is this machine's, read by 9p below a tmpfs: what the guest writes is lost, but for
# /out, the directory VM_OUT shared read-write; /run is empty. The current directory is
# kept. One word is a shell line, several are one command's words. stdout and stderr come back on
# stdout, and the exit status is the command's; 124: VM_TIMEOUT ran out; 125: the kernel did not
# get as far as the command, or died in it (console in VM_LOG).
# Needs no root and no KVM: plain emulation boots in 5 to 10 s and is the same on every machine.
#
# Environment: VM_CPUS=2 VM_MEM=3G VM_CPU=max,-cx16 VM_TIMEOUT=300 VM_APPEND= VM_OUT= VM_LOG=
#   VM_ACCEL=tcg,thread=single   (thread=multi for tests that need two CPUs to race)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

die() {
	echo "boot.sh: $*" >&2
	exit 125
}

if [ $# -lt 3 ] || [ "$2" != -- ]; then die "usage: boot.sh KERNEL_DIR -- COMMAND..."; fi
kernel=$(cd "$1" 2> /dev/null && pwd) || die "no directory $1"
shift 2
[ -s "$kernel/vmlinuz" ] || die "no vmlinuz in $kernel"
for tool in qemu-system-x86_64 cpio xz; do
	command -v $tool > /dev/null || die "$tool not found: run tests/setup/install.sh check"
done
[ -x /bin/busybox ] || die "busybox not found: apt-get install busybox-static"

tmp=$(mktemp -d)
vm=
# shellcheck disable=SC2317 # called by the trap
finish() {
	[ -z "$vm" ] || kill "$vm" 2> /dev/null || :
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP # in "wait" below, so QEMU does not outlive us
log=${VM_LOG:-$tmp/console.log}

pack() { (cd "$1" && find . | cpio -o -H newc --quiet | gzip -1); }

find_module() { find "$kernel" -name "$1.ko*" | head -n1; }

# add_module NAME - after the modules that it depends on; a built-in one has no file
add_module() {
	local name=${1//-/_} file dep
	file=$(find_module "$name")
	[ -n "$file" ] || file=$(find_module "${name//_/-}")
	[ -n "$file" ] && [ ! -e "$tmp/i/modules/$name.ko" ] || return 0
	case $file in
	*.xz) xz -dc "$file" ;;
	*.zst) zstd -qdc "$file" ;;
	*) cat "$file" ;;
	esac > "$tmp/i/modules/$name.ko"
	for dep in $(tr '\0' '\n' < "$tmp/i/modules/$name.ko" | sed -n 's/^depends=//p' | tr , ' '); do
		add_module "$dep"
	done
	echo "$name.ko" >> "$tmp/i/modules/order"
}

# The initramfs does not depend on the command: made once for a kernel, kept beside it.
make_initramfs() {
	mkdir -p "$tmp"/i/{bin,modules,proc,sys,dev,lower,rw,root}
	cp /bin/busybox "$tmp/i/bin/busybox"
	cp "$here/init.sh" "$tmp/i/init"
	: > "$tmp/i/modules/order"
	for m in virtio_pci 9pnet_virtio 9p overlay; do add_module $m; done
	pack "$tmp/i" > "$kernel/initramfs.$$"
	mv "$kernel/initramfs.$$" "$kernel/initramfs"
}

# Archives one behind the other are one initramfs: the second holds the command.
make_command() {
	local line
	if [ $# -eq 1 ]; then line=$1; else line=$(printf '%q ' "$@"); fi
	mkdir "$tmp/c"
	printf 'cd %q; %s' "$PWD" "$line" | base64 > "$tmp/c/command"
	pack "$tmp/c" | cat "$kernel/initramfs" - > "$tmp/initrd"
}

boot() {
	# Emulated CPUs share one clock, but start too far apart for the kernel's check up to 6.1; with
	# an "unstable" TSC its delay accounting drops each copy that took no measurable time.
	local append="console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable ${VM_APPEND:-}"
	# QEMU 7.2 can lose the flags of a cmpxchg16b that an interrupt follows, which the kernel's
	# allocator uses: without cx16 it takes another way.
	local options=(-accel "${VM_ACCEL:-tcg,thread=single}" -cpu "${VM_CPU:-max,-cx16}"
		-smp "${VM_CPUS:-2}" -m "${VM_MEM:-3G}" -nodefaults -no-user-config -display none -no-reboot
		-serial "file:$log" -serial stdio -serial "file:$tmp/status"
		-kernel "$kernel/vmlinuz" -initrd "$tmp/initrd"
		-virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap")
	if [ -n "${VM_OUT:-}" ]; then
		options+=(-virtfs "local,path=$VM_OUT,mount_tag=out,security_model=none,multidevs=remap")
		append+=" ct_share_out"
	fi
	: > "$tmp/status"
	rc=0
	timeout -k 5 "${VM_TIMEOUT:-300}" qemu-system-x86_64 "${options[@]}" -append "$append" \
		< /dev/null &
	vm=$!
	wait $vm || rc=$?
	vm=
}

for f in "$here/boot.sh" "$here/init.sh"; do
	[ "$kernel/initramfs" -nt "$f" ] || rm -f "$kernel/initramfs"
done
[ -s "$kernel/initramfs" ] || make_initramfs
make_command "$@"

boot
if ! grep -q ready "$tmp/status" && [ $rc -ne 124 ]; then
	echo "boot.sh: the kernel did not come up (QEMU's status $rc); once more" >&2
	boot
fi
[ $rc -ne 124 ] || {
	echo "boot.sh: stopped after ${VM_TIMEOUT:-300} s" >&2
	exit 124
}
status=$(sed -n 's/^rc=\([0-9]*\).*/\1/p' "$tmp/status" | tail -n1)
if [ -z "$status" ]; then
	tail -n 15 "$log" >&2
	die "no exit status came back (QEMU's status $rc)"
fi
exit "$status"
