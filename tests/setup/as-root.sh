#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# as-root.sh COMMAND... - run COMMAND as root: as it is when we are root, by sudo otherwise.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
	exec "$@"
fi
if ! command -v sudo > /dev/null; then
	echo "cowtrace: root is needed, and there is no sudo: run this as root" >&2
	exit 1
fi
exec sudo -- env PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" "$@"
