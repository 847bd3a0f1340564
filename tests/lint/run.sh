#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# run.sh - every lint; prints "ok NAME", "FAIL NAME: why" or "skip NAME: why", each finding below
# it as file:line, and closes with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

export BUILD=${BUILD:-build}
passed=0 failed=0 skipped=0

# lint NAME COMMAND... - findings are what the command prints; its status tells good from bad
lint() {
	local name=$1 out
	shift
	if ! command -v "$1" > /dev/null; then
		echo "skip $name: $1 is not installed"
		skipped=$((skipped + 1))
	elif out=$("$@" 2>&1); then
		echo "ok $name"
		[ -z "$out" ] || echo "$out"
		passed=$((passed + 1))
	else
		echo "FAIL $name: $(wc -l <<< "$out") lines of findings (run again: make lint)"
		echo "$out"
		failed=$((failed + 1))
	fi
}

# the first line of each finding; the others draw the place
format() {
	clang-format --dry-run -Werror "${c_files[@]}" 2>&1 | sed -n 's/ error: code should.*/ run make format/p'
	return "${PIPESTATUS[0]}"
}

mapfile -t c_files < <(git -c safe.directory="$PWD" ls-files -co --exclude-standard -- 'bpf/*.[ch]' 'user/*.[ch]' 'tests/*.[ch]')
mapfile -t scripts < <(git -c safe.directory="$PWD" ls-files -co --exclude-standard -- '*.sh' .ci/run user/cli/completion.bash)

lint layers tests/lint/source.py layers
lint sizes tests/lint/source.py sizes
lint calls tests/lint/source.py calls
lint licence tests/lint/source.py licence
# Another release formats a few lines differently: only the one that .clang-format is written for
# can say what is wrong.
if clang-format --version 2> /dev/null | grep -q 'version 14\.'; then
	lint format format
else
	echo "skip format: needs clang-format 14, here is $(clang-format --version 2>&1 | head -n1)"
	skipped=$((skipped + 1))
fi
lint shell shellcheck -s bash "${scripts[@]}"
lint man mandoc -T lint -W warning user/cli/cowtrace.1
lint bpf-budget tests/lint/bpf-budget.py

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
