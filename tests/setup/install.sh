#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# install.sh [GROUP...] - install what is missing of the packages that packages.txt lists for the
# groups (default: build). Does nothing, and asks for no rights, when all of them are there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
list=$here/packages.txt
log=$(mktemp)
trap 'rm -f "$log"' EXIT

die() {
	echo "cowtrace: $*" >&2
	exit 1
}

as_root() { "$here/as-root.sh" "$@"; }

# wanted GROUP... - one line a package: "name" or "name|other"
wanted() {
	local g
	for g in "$@"; do
		awk -v g="$g" '$1 == g { print $2; n++ } END { exit n == 0 }' "$list" ||
			die "no group $g in tests/setup/packages.txt"
	done
}

installed() { grep -qx "$1" <<< "$have"; }

# missing_of PACKAGES... - the lines of which no alternative is installed
missing_of() {
	local line name found
	have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2> /dev/null |
		sed -n 's/^.i  *//p' || true)
	for line in "$@"; do
		found=
		for name in ${line//|/ }; do
			if installed "$name"; then found=y; fi
		done
		[ -n "$found" ] || echo "$line"
	done
}

has_candidate() { apt-cache policy "$1" 2> /dev/null | grep -q '^  Candidate: [^(]'; }

# choose LINE - the first alternative that the machine's sources offer, else the first
choose() {
	local name
	for name in ${1//|/ }; do
		if has_candidate "$name"; then
			echo "$name"
			return
		fi
	done
	echo "${1%%|*}"
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		-o Acquire::Retries=2 "$@" > "$log" 2>&1 < /dev/null
}

update() {
	echo "cowtrace: reading the package lists (apt-get update)" >&2
	apt update || echo "cowtrace: apt-get update failed: $(grep -m1 '^[EW]:' "$log")" >&2
}

choose_all() {
	local line
	names=()
	for line in "${missing[@]}"; do names+=("$(choose "$line")"); done
}

# Bulk first; then, lists refreshed, one by one, so that the package at fault has a name.
install_all() {
	local name
	apt install --no-install-recommends "${names[@]}" && return
	update
	choose_all
	apt install --no-install-recommends "${names[@]}" && return
	for name in "${names[@]}"; do
		apt install --no-install-recommends "$name" ||
			die "cannot install $name: $(grep -m1 '^E:' "$log" || tail -n1 "$log")"
	done
}

[ $# -gt 0 ] || set -- build
all=$(wanted "$@")
mapfile -t lines <<< "$all"

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
	echo "cowtrace: not a Debian system: please install by hand (Debian's names): ${lines[*]}" >&2
	exit 0 # make itself tells, in one line, what it does not find
fi

mapfile -t missing < <(missing_of "${lines[@]}")
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] && ! command -v sudo > /dev/null; then
	die "these packages are missing, and you are neither root nor have sudo: ${missing[*]}"
fi
for line in "${missing[@]}"; do
	if ! has_candidate "$(choose "$line")"; then
		update
		break
	fi
done
choose_all
echo "cowtrace: installing ${names[*]}" >&2
install_all
mapfile -t missing < <(missing_of "${lines[@]}")
[ ${#missing[@]} -eq 0 ] || die "still missing after the install: ${missing[*]}"
