#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The Python programs that python.py measures; each says what it is ready for, and obeys its input.

python_target.py heap MIB FILE   a heap of that size; ids and types of some objects to FILE
python_target.py storm CPU       as storm.c: "cow N" has N children write 2000 pages, timed in slices
python_target.py serve           "serve N": a child handles N requests, which read shared objects; its
                                 latencies in ns
"""

import array
import gc
import mmap
import os
import sys
import time

SLICE, SLICES, HEAPS = 50, 40, 16


class Row:
    def __init__(self, number):
        self.number, self.name = number + 100000, f"row {number} of the table"
        self.tags, self.more = [number + 0.5, number + 1.5], {"id": number + 200000, "key": str(number)}


def resident_mib():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE >> 20


def heap(mib, path):
    gc.disable()
    rows, ids, types = [], array.array("Q"), []
    number = 0
    while number % 4096 or resident_mib() < mib:
        row = Row(number)
        rows.append(row)
        if number % 64 == 0:
            for some in row, row.name, row.tags, row.more, row.tags[0], row.number:
                name = type(some).__name__
                if name not in types:
                    types.append(name)
                ids.append(id(some))
                ids.append(types.index(name))
        number += 1
    with open(path, "wb") as file:
        ids.tofile(file)
    with open(path + ".types", "w", encoding="ascii") as file:
        file.write("\n".join(types) + "\n")
    print(f"ready {resident_mib()} {len(ids) // 2}", flush=True)
    sys.stdin.readline()


def objects_on_pages(count):
    """So many small lists, each the first that was seen on its page."""
    kept, found, seen = [], [], set()
    while len(found) < count:
        small = [len(kept)]
        kept.append(small)
        if id(small) >> 12 not in seen:
            seen.add(id(small) >> 12)
            found.append(small)
    return kept, found


def write_slices(slices, shared):
    """Iterating counts a reference to each object up and down: a write to its page."""
    clock = time.perf_counter_ns
    shared[0] = 0
    before = clock()
    for i, objects in enumerate(slices):
        for _ in objects:
            pass
        now = clock()
        shared[i] = now - before
        before = now


def storm(cpu):
    gc.disable()
    os.sched_setaffinity(0, {cpu})
    kept, found = objects_on_pages(HEAPS * SLICES * SLICE)
    slices = [found[i:i + SLICE] for i in range(0, len(found), SLICE)]
    shared = memoryview(mmap.mmap(-1, 8 * SLICES)).cast("Q")
    print(f"slice {SLICE}", flush=True)
    turn = 0
    for line in sys.stdin:
        answer = []
        for _ in range(int(line.split()[1])):
            part = slices[turn % HEAPS * SLICES:][:SLICES]
            turn += 1
            pid = os.fork()
            if not pid:
                write_slices(part, shared)
                os._exit(0)
            os.waitpid(pid, 0)
            answer += [str(ns) for ns in shared]
        print(*answer, flush=True)
    del kept


def handle(rows, number):
    """A request: reads some hundred objects that the parent made."""
    total, at = 0, number * 7919 % (len(rows) - 100)
    for row in rows[at:at + 100]:
        total += row.number + len(row.name) + len(row.more["key"]) + int(row.tags[0])
    return total


def serve():
    rows = [Row(number) for number in range(300000)]
    gc.collect()
    print("ready", flush=True)
    for line in sys.stdin:
        requests = int(line.split()[1])
        shared = mmap.mmap(-1, 8 * requests)
        pid = os.fork()
        if not pid:
            times, clock = memoryview(shared).cast("Q"), time.perf_counter_ns
            for number in range(requests):
                before = clock()
                handle(rows, number)
                times[number] = clock() - before
            os._exit(0)
        os.waitpid(pid, 0)
        print(*memoryview(shared).cast("Q"), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "heap":
        heap(int(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "storm":
        storm(int(sys.argv[2]))
    else:
        serve()
