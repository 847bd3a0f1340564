#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# run.sh SECONDS [TARGET...]: builds each target with libFuzzer, ASan and UBSan and runs it that long.
# Closes with "N passed, N failed, 0 skipped". What it finds stands in $BUILD/fuzz/TARGET.found; what it learns, in $BUILD/fuzz/TARGET.corpus.
set -eu
cd "$(dirname "$0")/../.."

seconds=${1:?run.sh SECONDS [TARGET...]}
shift
build=${BUILD:-build}/fuzz
# shellcheck disable=SC2012
clang=${CLANG:-$(command -v clang || ls /usr/bin/clang-[0-9]* 2> /dev/null | sort -V | tail -n1)}
sources=$(ls user/base/*.c user/process/*.c user/heap/*.c user/heap/cpython/*.c tests/fuzz/image.c)
libraries="$(pkg-config --libs libelf libdw zlib)"
mkdir -p "$build"
TMPDIR=$(mktemp -d /tmp/cowtrace-fuzz-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

# sources change seldom between two runs: each is compiled once
objects() {
	for source in $sources "$1"; do
		object=$build/$(echo "$source" | tr / _).o
		echo "$object"
		[ "$object" -nt "$source" ] && [ -z "$(find user bpf tests/fuzz -name '*.h' -newer "$object")" ] && continue
		"$clang" -std=c17 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
			-fno-sanitize-recover=all -D_GNU_SOURCE -Iuser -Ibpf -c "$source" -o "$object" >&2
	done
}

# any bytes are changes to make (heap.c): some for each saved heap, to begin with
seeds() {
	number=0
	for image in tests/fuzz/corpus/"$1"/*; do
		{
			# shellcheck disable=SC2059
			printf "\\$(printf %o "$number")"
			seq "$number" 7919 300000 | tr -d '\n' | head -c 160
		} > "$build/$1.corpus/seed-$number"
		number=$((number + 1))
	done
	[ -n "$image" ]
}

passed=0 failed=0
[ $# -gt 0 ] || set -- heap
for target in "$@"; do
	# shellcheck disable=SC2046,SC2086
	"$clang" -fsanitize=fuzzer,address,undefined $(objects "tests/fuzz/$target.c") $libraries -o "$build/$target"
	mkdir -p "$build/$target.corpus" "$build/$target.found"
	seeds "$target"
	if ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} "$build/$target" -max_total_time="$seconds" -timeout=10 -max_len=2048 \
		-len_control=0 -rss_limit_mb=2048 -artifact_prefix="$build/$target.found/" -print_final_stats=1 \
		"$build/$target.corpus" > "$build/$target.log" 2>&1; then
		echo "ok $target ($(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log") runs in $seconds s)"
		passed=$((passed + 1))
	else
		tail -n 40 "$build/$target.log"
		echo "FAIL $target: see $build/$target.log and $build/$target.found (run again: tests/fuzz/run.sh $seconds $target)"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
exit $((failed > 0))
