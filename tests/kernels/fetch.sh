#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# fetch.sh SUITE... - fetch the newest kernel of each Debian suite (bullseye, bookworm, trixie, sid)
# and print one line for each: "SUITE VERSION DIRECTORY". What is cached is not fetched again.
#
# apt-get does the fetching and checks signatures and hashes, with lists, cache and sources of its
# own below the cache directory: the machine's sources and packages stay as they are.
# Status 3: a kernel is neither cached nor to be had from here.
# Environment: CT_KERNEL_CACHE (default ~/.cache/cowtrace/kernels), CT_KERNEL_MIRROR (default:
# the machine's own Debian mirror), CT_KERNEL_OFFLINE=1 (use what is cached, ask nobody).
set -euo pipefail

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache=${CT_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cowtrace/kernels}
list_age_min=1440

# die STATUS WHY - status 3: the kernel is neither cached nor to be had from here
die() {
	echo "fetch.sh: ${*:2}" >&2
	exit "$1"
}

# The machine's mirror, as apt knows it: the site that its own Debian release comes from.
mirror() {
	[ -z "${CT_KERNEL_MIRROR:-}" ] || {
		echo "$CT_KERNEL_MIRROR"
		return
	}
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian|Debian|//p' | head -n1
}

# Each suite has a state of its own, so that "newest" means newest of that suite.
make_state() {
	state=$cache/apt/$1
	mkdir -p "$state"/{lists/partial,archives/partial,prefs}
	: > "$state/status"
	cat > "$state/apt.conf" <<-CONF
		Dir::State "$state";
		Dir::State::lists "$state/lists";
		Dir::State::status "$state/status";
		Dir::Cache "$state";
		Dir::Cache::pkgcache "$state/pkgcache.bin";
		Dir::Cache::srcpkgcache "";
		Dir::Cache::archives "$state/archives";
		Dir::Etc::sourcelist "$state/sources.list";
		Dir::Etc::sourceparts "$state/none";
		Dir::Etc::preferences "$state/none";
		Dir::Etc::preferencesparts "$state/prefs";
		APT::Architecture "amd64";
		#clear APT::Architectures;
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
	CONF
}

apt_do() {
	local tool=$1
	shift
	"$tool" -c "$state/apt.conf" "$@"
}

# refresh SUITE - read the suite's package list anew
refresh() {
	local site
	site=$(mirror)
	[ -n "$site" ] || die 3 "no Debian mirror among this machine's sources: set CT_KERNEL_MIRROR"
	[ -r "$keyring" ] || die 1 "no $keyring: apt-get install debian-archive-keyring"
	echo "deb [arch=amd64 signed-by=$keyring] $site $1 main" > "$state/sources.list"
	apt_do apt-get -q -o APT::Update::Error-Mode=any update > "$state/log" 2>&1
}

field() { sed -n "s/^$1: //p" | head -n1; }

# resolve - the packages that hold the newest kernel and its modules
resolve() {
	local image
	image=$(apt_do apt-cache show --no-all-versions linux-image-amd64 2> /dev/null | field Depends |
		grep -o 'linux-image-[^ ,]*' | head -n1)
	[ -n "$image" ] || return 1
	if [ -n "$(apt_do apt-cache show --no-all-versions "${image/image/binary}" 2> /dev/null)" ]; then
		echo "${image/image/binary}" "${image/image/modules}" # from 7.2 on the image is empty
	else
		echo "$image"
	fi
}

version_of() { apt_do apt-cache show --no-all-versions "$1" | field Version; }

# unpack DEBS_DIR TARGET - the kernel, and of the modules only those that boot.sh may load
unpack() {
	local deb all=$2.all dir
	rm -rf "$all" "$2.part"
	mkdir -p "$all" "$2.part"
	for deb in "$1"/*.deb; do dpkg -x "$deb" "$all"; done
	find "$all" -name 'vmlinuz*' -type f -exec cp {} "$2.part/vmlinuz" \;
	[ -s "$2.part/vmlinuz" ] || die 1 "no kernel in $(echo "$1"/*.deb)"
	for dir in fs net/9p drivers/virtio; do
		find "$all" -path "*/kernel/$dir/*" -name '*.ko*' -type f -exec cp -t "$2.part" {} +
	done
	rm -rf "$all" "$2"
	mv "$2.part" "$2"
}

# A bare "SUITE VERSION DIR" of the newest that is cached; fails when there is none.
cached() {
	local dir
	dir=$(find "$cache/$1" -mindepth 1 -maxdepth 1 -type d ! -name '*.part' ! -name '*.all' -printf '%T@ %p\n' \
		2> /dev/null | sort -n | tail -n1 | cut -d' ' -f2-)
	[ -s "$dir/vmlinuz" ] && echo "$1 ${dir##*/} $dir"
}

fetch() {
	local suite=$1 newest packages version dir debs
	make_state "$suite"
	if [ -n "${CT_KERNEL_OFFLINE:-}" ]; then
		cached "$suite" || die 3 "no kernel of $suite is cached in $cache"
		return
	fi
	newest=$state/newest # "VERSION PACKAGE...", good for a day
	if [ -z "$(find "$newest" -mmin -$list_age_min 2> /dev/null)" ]; then
		if ! refresh "$suite"; then
			cached "$suite" && return
			die 3 "cannot read the package list of $suite: $(grep -m1 '^[EW]:' "$state/log")"
		fi
		packages=$(resolve) || die 1 "$suite has no linux-image-amd64"
		echo "$(version_of "${packages%% *}") $packages" > "$newest"
	fi
	read -r version packages < "$newest"
	dir=$cache/$suite/$version
	if [ ! -s "$dir/vmlinuz" ]; then
		echo "fetch.sh: fetching $packages $version of $suite" >&2
		debs=$(mktemp -d "$state/debs.XXXXXX")
		# shellcheck disable=SC2086
		(cd "$debs" && apt_do apt-get -q download $packages) > "$state/log" 2>&1 || {
			rm -rf "$debs"
			die 3 "cannot fetch $packages: $(grep -m1 '^E:' "$state/log")"
		}
		mkdir -p "$cache/$suite"
		unpack "$debs" "$dir"
		rm -rf "$debs"
		find "$cache/$suite" -mindepth 1 -maxdepth 1 ! -name "$version" -exec rm -rf {} +
	fi
	touch "$dir"
	echo "$suite $version $dir"
}

[ $# -gt 0 ] || die 1 "usage: fetch.sh SUITE..."
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
for suite in "$@"; do fetch "$suite"; done
