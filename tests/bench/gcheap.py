#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The embedded heap against CPython, on the same graphs, in turn: rates, their ratios, the budgets.

gcheap.py [--build DIR] [--python PYTHON] [--objects N] [--biggest N]

A missed budget is told, and is no failure: numbers depend on the machine.
"""

import argparse
import collections
import gc
import os
import resource
import subprocess
import sys
import time

ROUNDS = 15


# --- what runs in the other interpreter: the same graphs as in gcheap.c -----------------------------

def make_records(objects):
    records = []
    for i in range(objects // 10):
        name = "user-%d" % i
        records.append((i + 3000, name, [i + 1000, i + 1001, i + 1002, i + 1003], {i + 2000: name}))
    return records


def best(work, prepare=lambda: None):
    times = []
    for _ in range(ROUNDS):
        prepare()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def rss_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def make_rings(objects):
    for i in range(objects // 8):
        a, b, c, d = [], [], [], []
        a.append(b), b.append(c), c.append(d), d.append(a)
        a.append(i + 1000), b.append(i + 1001), c.append(i + 1002), d.append(i + 1003)


def measure_here(what, objects):
    gc.disable()
    if what == "alloc":
        print("alloc_per_s", objects / best(lambda: make_records(objects)))
    elif what == "collect":
        kept = make_records(objects)
        gc.collect()
        print("collect_per_s", objects / best(gc.collect))
        del kept
    elif what == "cycles":
        print("cycles_per_s", objects / best(gc.collect, lambda: make_rings(objects)))
    elif what == "refs":
        items = list(range(1000, 1000 + objects))
        print("refs_per_s", objects / best(lambda: items[:]))
    elif what == "rss":
        before = rss_bytes()
        kept = make_records(objects)
        print("rss_per_object", (rss_bytes() - before) / objects)
        del kept


# --- the comparison ----------------------------------------------------------------------------------

BUDGETS = [  # what, name printed, key, CPython's is to be multiplied by, bigger is better
    ("alloc", "allocation + free, objects/s", "alloc_per_s", 2.0, True),
    ("collect", "full collection, objects/s", "collect_per_s", 1.5, True),
    ("cycles", "collection of garbage, objects/s", "cycles_per_s", 1.5, True),
    ("refs", "incref + decref, objects/s", "refs_per_s", 1.0, True),
    ("rss", "memory, bytes/object", "rss_per_object", 1.0, False),
]


def run(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}


def compare(options):
    program = os.path.join(options.build, "bench", "gcheap")
    print(f"{'':34}{'CPython':>14}{'inline':>14}{'split':>14}{'ratio':>9}{'split':>7}  budget")
    missed = 0
    for what, title, key, factor, more in BUDGETS:
        values = collections.defaultdict(list)
        for _ in range(3):  # in turn, so that a busy machine is so for all
            values["python"].append(run([options.python, __file__, "--here", what,
                                         "--objects", str(options.objects)])[key])
            for layout in "inline", "split":
                values[layout].append(run([program, layout, what, str(options.objects)])[key])
        pick = max if more else min
        python, inline, split = (pick(values[n]) for n in ("python", "inline", "split"))
        fine = inline >= factor * python if more else inline <= factor * python
        missed += not fine
        print(f"{title:34}{python:14,.0f}{inline:14,.0f}{split:14,.0f}{inline / python:9.2f}"
              f"{split / python:7.2f}  {'>=' if more else '<='} {factor} {'ok' if fine else 'MISSED'}")
    print("\nfull collection, ns an object:")
    for name in "CPython", "inline", "split":
        objects, line = 10000, []
        while objects <= options.biggest:
            if name == "CPython":
                rate = run([options.python, __file__, "--here", "collect",
                            "--objects", str(objects)])["collect_per_s"]
            else:
                rate = run([program, name, "collect", str(objects)])["collect_per_s"]
            line.append(f"10^{len(str(objects)) - 1}: {1e9 / rate:.2f}")
            objects *= 10
        print(f"  {name:8}" + "  ".join(line))
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--python", default="python3.11")
    parser.add_argument("--objects", type=int, default=1000000)
    parser.add_argument("--biggest", type=int, default=10000000)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure_here(options.here, options.objects)
        return 0
    compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
