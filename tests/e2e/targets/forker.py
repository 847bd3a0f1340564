#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A program as there are many: it loads a heap, forks workers, and they use it.

    forker.py --mode MODE --workers N --objects N --out FILE [--wait] [--linger S]

Writes {"workers": [{"pid", "wpcopy"}, ...]} to FILE. Each worker's WPCOPY is taken when it has
exited and before it is reaped, so it is the whole of it, the interpreter's end included.
"""

import argparse
import gc
import json
import multiprocessing
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from taskstats import Taskstats  # noqa: E402


class Record:
    """An object with a dict of its own."""

    def __init__(self, number):
        self.name = f"record {number}"
        self.values = [number, float(number), (number, str(number))]


def load(objects):
    return {i: Record(i) for i in range(objects)}


def read_only(heap):
    return sum(len(record.name) for record in heap.values())


def collect(heap):
    read_only(heap)
    gc.collect()


def mutate(heap):
    for number, record in heap.items():
        if number % 7 == 0:
            record.values = [number]
    heap[-1] = Record(-1)


def in_threads(heap):
    threads = [threading.Thread(target=read_only, args=(heap,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


WORK = {"read": read_only, "collect": collect, "mutate": mutate, "threads": in_threads,
        "freeze": collect, "multiprocessing": mutate}


def await_dead(pids, stats, threads):
    """WPCOPY of each, dead but not yet reaped."""
    found = []
    for pid in pids:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if info.si_code != os.CLD_EXITED or info.si_status != 0:
            sys.exit(f"worker {pid} ended with {info.si_status}")
        found.append({"pid": pid, "wpcopy": stats.wpcopy(pid, threads) if stats else None})
    return found


def fork_workers(work, heap, count):
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            work(heap)
            sys.exit(0)  # through the interpreter's finalisation
        pids.append(pid)
    return pids


def run_multiprocessing(work, heap, count):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(heap,)) for _ in range(count)]
    for worker in workers:
        worker.start()
    return [worker.pid for worker in workers]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=sorted(WORK), default="read")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--objects", type=int, default=60000)
    parser.add_argument("--out", required=True)
    parser.add_argument("--linger", type=float, default=0, metavar="S",
                        help="stay for a while, so that the memory that explains the faults does")
    parser.add_argument("--wait", action="store_true", help="begin at a line on standard input")
    options = parser.parse_args()
    heap = load(options.objects)
    try:
        stats = Taskstats()
    except (OSError, LookupError):
        stats = None
    if options.wait:
        sys.stdin.readline()
    if options.mode == "freeze":
        gc.collect()
        gc.freeze()
    work = WORK[options.mode]
    start = run_multiprocessing if options.mode == "multiprocessing" else fork_workers
    pids = start(work, heap, options.workers)
    workers = await_dead(pids, stats, options.mode == "threads")
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump({"workers": workers}, file)
    for pid in pids:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # multiprocessing was first
    time.sleep(options.linger)


if __name__ == "__main__":
    main()
