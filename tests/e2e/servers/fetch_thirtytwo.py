#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A 32-bit CPython: Debian's own for i386, unpacked beside its libc as tests/interpreters/fetch.py
does with other suites, in the same cache. The machine's sources and packages stay as they are."""

import glob
import os
import shutil
import sys
import tempfile

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../interpreters"))

import fetch  # noqa: E402

NAME, PACKAGE, SUITE = "i386-3.11", "python3.11-minimal", "bookworm"
UNNEEDED = {"libssl3", "gcc-12-base"}
WRAPPER = """#!/bin/sh
exec "{root}/lib/ld-linux.so.2" --library-path "{root}/lib/i386-linux-gnu:{root}/usr/lib/i386-linux-gnu" \\
	"{root}/usr/bin/python3.11" "$@"
"""


class Suite(fetch.Suite):
    """The same suite for the other architecture."""

    def __init__(self):
        super().__init__(SUITE)
        self.state += "-i386"

    def write(self, name, text):
        super().write(name, text.replace("amd64", "i386"))


def unpack(folder):
    suite = Suite()
    suite.refresh()
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(os.path.join(part, "root"))
    packages = [name for name in suite.closure(PACKAGE) if name.split("=")[0] not in UNNEEDED]
    with tempfile.TemporaryDirectory(prefix="debs.", dir=suite.state) as debs:
        suite.download(packages, debs)
        for deb in glob.glob(os.path.join(debs, "*.deb")):
            ended = fetch.run(["dpkg", "-x", deb, os.path.join(part, "root")])
            if ended.returncode:
                raise fetch.NotToBeHad(f"cannot unpack {os.path.basename(deb)}")
    wrapper = os.path.join(part, "python")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(WRAPPER.format(root=os.path.join(folder, "root")))
    os.chmod(wrapper, 0o755)
    os.rename(part, folder)


def python():
    """Path of a program that starts it. fetch.NotToBeHad: it can't be had here."""
    folder = os.path.join(fetch.cache_root(), NAME)
    path = os.path.join(folder, "python")
    with fetch.locked():
        if not os.path.exists(path):
            if os.environ.get("CT_PYTHON_OFFLINE"):
                raise fetch.NotToBeHad(f"no {NAME} is cached in {fetch.cache_root()}")
            unpack(folder)
    said = fetch.run([path, "-c", "import sys; print(sys.maxsize)"])
    if said.stdout.strip() != str((1 << 31) - 1):
        raise fetch.NotToBeHad(f"a 32-bit Python does not run here: {fetch.complaint(said.stdout)}")
    return path


if __name__ == "__main__":
    print(python())
