#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""foo.py - a parent makes many numbers and forks, and each child runs foo(), which only adds them up.

    foo.py [--list | --array] [--numbers N] [--children K]

As Python objects in a list they are copied by being read; in a shared array of multiprocessing
they are not. foo.c beside this is the same in C. Compare:

    cowtrace -- python3 foo.py --list
    cowtrace -- python3 foo.py --array
"""
import argparse
import array
import multiprocessing
import os
import sys

FIRST = 1000  # small integers are one object each for all their users


def make(kind, count):
    if kind == "list":
        return list(range(FIRST, FIRST + count))
    shared = multiprocessing.RawArray("q", count)
    shared[:] = array.array("q", range(FIRST, FIRST + count))
    return shared


def foo(numbers):
    total = 0
    for number in numbers:
        total += number
    return total


def private_kib():
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1])
    return -1


def child(numbers, number, count):
    before = private_kib()
    total = foo(numbers)
    grown = private_kib() - before
    print(f"foo.py: child {number}: sum {total}, private memory {grown:+d} KiB", flush=True)
    return 0 if total == count * FIRST + count * (count - 1) // 2 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", dest="kind", action="store_const", const="list", default="list")
    parser.add_argument("--array", dest="kind", action="store_const", const="array")
    parser.add_argument("--numbers", type=int, default=1000000)
    parser.add_argument("--children", type=int, default=2)
    args = parser.parse_args()
    if args.numbers < 1 or args.children < 1:
        parser.error("--numbers and --children must be 1 or more")
    numbers = make(args.kind, args.numbers)
    print(f"foo.py: pid {os.getpid()}: {args.numbers} numbers, {args.children} children", flush=True)
    failed = 0
    pids = []
    for number in range(args.children):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = child(numbers, number + 1, args.numbers)
            finally:
                os._exit(status)  # an ordinary exit would drop every object, and write to it
        pids.append(pid)
    for pid in pids:
        failed |= os.waitpid(pid, 0)[1]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
