#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# demo.sh BUILD [SECONDS] - what `make demo` shows: a forking program with a garbage-collected heap,
# watched by cowtrace. Live histograms on a terminal, a block each two seconds elsewhere.
set -eu
build=$1
seconds=${2:-20}
here=$(dirname "$0")

"$here/as-root.sh" true # asks for a password now, not while the demo is running
"$build/gcheap-demo" --seconds "$seconds" &
demo=$!
trap 'kill $demo 2> /dev/null || :' EXIT INT TERM
"$here/as-root.sh" "$build/cowtrace" -p $demo
