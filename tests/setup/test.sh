#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# test.sh - the Makefile and install.sh as a user meets them: nothing to do, something missing,
# something broken, make install. Prints ok / FAIL lines as tests/check reads them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

build=${BUILD:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
unset MAKEFLAGS MAKELEVEL MFLAGS # we may run below "make check -j"

# verdict NAME WHY - a test is good when WHY is empty
verdict() {
	if [ -z "$2" ]; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		echo "FAIL $1: $2 (run again: tests/setup/test.sh)"
		failed=$((failed + 1))
	fi
}

# one_line NAME PATTERN COMMAND... - fails, with one line on stderr and stdout together but for
# make's own "Error 1", and that line matches
one_line() {
	local name=$1 pattern=$2 out rc=0
	shift 2
	out=$("$@" 2>&1) || rc=$?
	out=$(grep -v '^make.*\*\*\* \[.* Error ' <<< "$out")
	if [ $rc -eq 0 ]; then
		verdict "$name" "it did not fail"
	elif [ "$(wc -l <<< "$out")" != 1 ]; then
		verdict "$name" "$(wc -l <<< "$out") lines: $(head -n2 <<< "$out" | tr '\n' ' ')"
	elif ! grep -qE "$pattern" <<< "$out"; then
		verdict "$name" "it says: $out"
	else
		verdict "$name" ""
	fi
}

test_make() {
	local why=
	make -q BUILD="$build" all unit truth benches || why="make has something to do"
	verdict make-no-op "$why"
	one_line make-no-bpftool 'cowtrace: bpftool not found: run tests/setup/install.sh or apt-get' \
		make BUILD="$build" BPFTOOL=/nonexistent/bpftool
	one_line make-no-clang 'cowtrace: clang not found: .* apt-get install clang' \
		make BUILD="$build" CLANG=/nonexistent/clang
	one_line make-no-library 'cowtrace: library libbpf not found: .* apt-get install libbpf-dev' \
		env PKG_CONFIG_LIBDIR=/nonexistent make BUILD="$build"
	one_line make-broken-clang 'cowtrace: .*false cannot compile for bpf' \
		make -s BUILD="$tmp/broken" CLANG="$(command -v false)" "$tmp/broken/tools.ok"
	one_line make-broken-bpftool 'cowtrace: .*false does not run' \
		make -s BUILD="$tmp/broken" BPFTOOL="$(command -v false)" "$tmp/broken/tools.ok"
}

test_install() {
	local f why=
	make -s BUILD="$build" DESTDIR="$tmp/root" PREFIX=/usr install > /dev/null || why="make install fails"
	for f in sbin/cowtrace share/man/man1/cowtrace.1 share/bash-completion/completions/cowtrace; do
		[ -s "$tmp/root/usr/$f" ] || why="no /usr/$f"
	done
	[ -x "$tmp/root/usr/sbin/cowtrace" ] || why="cowtrace is not executable"
	verdict make-install "$why"
	"$tmp/root/usr/sbin/cowtrace" --version > "$tmp/version" 2>&1 || why="--version fails"
	grep -q cowtrace "$tmp/version" || why="--version says: $(head -n1 "$tmp/version")"
	verdict installed-runs "$why"
	why=$(BASH_ENV='' bash -c 'source user/cli/completion.bash
		COMP_WORDS=(cowtrace --hook "") COMP_CWORD=2 && _cowtrace && echo "${COMPREPLY[*]}"')
	[ "$why" = "auto fexit kprobe tracepoint" ] && why='' || why="completes to: $why"
	verdict completion "$why"
}

stub() {
	printf '#!/bin/sh\n%s\n' "$2" > "$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}

# A machine that has nothing installed, played by stubs: apt-get writes down what it is asked.
test_packages() {
	local out why=
	out=$(tests/setup/install.sh build check 2>&1) || why="status $?"
	verdict packages-there "${out:-$why}"

	mkdir -p "$tmp/bin"
	stub dpkg-query "cat $tmp/installed"
	# shellcheck disable=SC2016
	stub apt-cache 'case $2 in lost*) ;; *) echo "  Candidate: 1" ;; esac'
	stub sudo 'shift; exec "$@"'
	stub apt-get "echo \"\$*\" >> $tmp/asked; for a; do case \$a in gcc|clang|make) echo \"ii  \$a\" >> $tmp/installed ;; \
		esac; done; case \"\$*\" in *lost*) echo 'E: Unable to locate package lost'; exit 100 ;; esac"
	cp tests/setup/*.sh "$tmp/"
	printf '%s\n' 'build gcc x' 'build bpftool|clang x' 'check make x' > "$tmp/packages.txt"
	echo 'ii  bpftool' > "$tmp/installed"
	: > "$tmp/asked"
	PATH=$tmp/bin:$PATH "$tmp/install.sh" build check 2> /dev/null
	why=$?
	out=$(grep -c . "$tmp/asked")
	[ "$why" = 0 ] && [ "$out" = 1 ] && grep -q 'install --no-install-recommends gcc make$' "$tmp/asked" &&
		why='' || why="status $why, asked: $(tr '\n' ';' < "$tmp/asked")"
	verdict packages-missing "$why"

	echo 'build lost x' >> "$tmp/packages.txt"
	out=$(PATH=$tmp/bin:$PATH "$tmp/install.sh" build check 2>&1) && why="it did not fail" || why=''
	[ "$(tail -n1 <<< "$out")" = "cowtrace: cannot install lost: E: Unable to locate package lost" ] ||
		why="it says: $(tail -n1 <<< "$out")"
	verdict packages-unknown "$why"

	mkdir "$tmp/other" # a system without dpkg
	for why in bash awk sed grep mktemp cat id dirname rm; do ln -s "$(command -v $why)" "$tmp/other/"; done
	out=$(PATH=$tmp/other "$tmp/install.sh" build 2>&1) || out="status $?, $out"
	why=
	[ "$out" = "cowtrace: not a Debian system: please install by hand (Debian's names): gcc bpftool|clang lost" ] ||
		why="it says: $out"
	verdict packages-not-debian "$why"
}

test_make
test_install
test_packages
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
