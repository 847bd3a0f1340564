#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""locate.py [--build DIR] [NAME...] - every word of every object, asked of the reader, against id().

In each interpreter that fetch.py --list knows (or those named) locate_case.py makes tens of
thousands of objects of all kinds, and noise that looks like objects; build/interpreters/locate asks
the reader about each of their words: object, type, part, size, owner of what they keep elsewhere.
With each allocator that the interpreter has. Needs root, or a kernel that lets a parent read its
child's memory.
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = 300
ALLOCATORS = ["pymalloc", "pymalloc_debug", "malloc", "malloc_debug"]

sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
from fetch import interpreters  # noqa: E402


def look(locate, python, allocator, count, path):
    """What locate says of a process that @python made @count rounds of objects in."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONIOENCODING="utf-8", PYTHONMALLOC=allocator)
    with subprocess.Popen([python, os.path.join(HERE, "locate_case.py"), path, str(count)], env=env,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as case:
        try:
            if case.stdout.readline().strip() != b"ready":
                case.kill()
                raise AssertionError("the case ended early: " + case.stderr.read().decode()[-300:])
            ended = subprocess.run([locate, str(case.pid), path], capture_output=True, text=True, timeout=SECONDS,
                                   check=False)
        finally:
            case.kill()
    lines = ended.stdout.splitlines()
    if ended.returncode:
        raise AssertionError("; ".join(line.strip() for line in lines if "wrong" in line or line[:1] == " ")
                             or ended.stderr.strip() or f"locate ended with {ended.returncode}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--allocator", action="append", choices=ALLOCATORS)
    parser.add_argument("--count", type=int, default=200, help="rounds of some 90 objects each")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    locate = os.path.join(args.build, "interpreters", "locate")
    counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def report(how, said):
        counts[how] += 1
        print(f"{how} {said}", flush=True)

    found = [i for i in interpreters().items() if not args.names or i[0] in args.names]
    if not found:
        report("FAIL", "locate: no interpreter in reach (run again: tests/interpreters/fetch.py --list)")
    for name, python in found:
        for allocator in args.allocator or (ALLOCATORS if name != "2.7" else ALLOCATORS[:1]):
            label = f"locate/{name}/{allocator}"
            try:
                with tempfile.TemporaryDirectory() as folder:
                    lines = look(locate, python, allocator, args.count, os.path.join(folder, "truth"))
                said = [line for line in lines if line.startswith("objects")]
                report("ok", f"{label} ({said[0]})")
            except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as why:
                report("FAIL", f"{label}: {why} (run again: tests/interpreters/locate.py --allocator {allocator} "
                               f"{name})")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
