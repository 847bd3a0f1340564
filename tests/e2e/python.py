#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A real Python parent that forks workers: each worker's faults against its WPCOPY, and what is said
of them with the bytes that the kernel carried against what is said without."""

import os
import subprocess
import sys
import tempfile

from common import (ALL_KINDS, Attached, Failed, Skip, check_invariants, expect, group, load,
                    main_of, rows_by_pid, run, wpcopy_of)

PYTHON = "/usr/bin/python3"  # Debian's own
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "targets", "forker.py")
MODES = ("read", "collect", "mutate", "threads", "freeze", "multiprocessing")
TOLERANCE = 0.001
EVIDENCE_MODES = ("read", "collect", "freeze")
PLACE_TOLERANCE = 0.001  # of the faults compared


def command(mode, out):
    return [PYTHON, TARGET, "--mode", mode, "--out", out]


def compare(document, workers, mode):
    rows = rows_by_pid(document)
    worst, total = 0, 0
    for worker in workers:
        pid, wpcopy = worker["pid"], worker["wpcopy"]
        if wpcopy is None:
            raise Skip("this kernel does not count WPCOPY")
        counted = wpcopy_of(rows.get(pid, dict.fromkeys(ALL_KINDS, 0)))
        expect(wpcopy > (10 if mode == "freeze" else 1000),
               f"worker {pid} copied only {wpcopy} pages: not the program that was meant")
        expect(abs(counted - wpcopy) <= wpcopy * TOLERANCE,
               f"worker {pid}: WPCOPY says {wpcopy}, counted {counted}")
        worst = max(worst, abs(counted - wpcopy))
        total += wpcopy
    check_invariants(document)
    return f"{document['hook']}, n={total} in {len(workers)} workers, off by {worst} at most"


def run_mode(options, mode):
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        out, path = os.path.join(directory, "truth.json"), os.path.join(directory, "cow.json")
        finished = run([options.cowtrace, "--hook", options.hook, "--json", path, "--",
                        *command(mode, out)], options.timeout)
        expect(finished.status == 0, f"ended with {finished.status}: {finished.last_error()}")
        return compare(load(path), load(out)["workers"], mode)


def check_causes(document, workers, mode):
    """Of the workers alone: reading writes refcounts, a collection GC headers, frozen none."""
    pids = {worker["pid"] for worker in workers}
    rows = [row for row in document["processes"] if row["pid"] in pids]
    headers = sum(row["causes"].get("gc", 0) + row["causes"].get("gc_link", 0) for row in rows)
    refcounts = sum(row["causes"].get("refcount", 0) for row in rows)
    expect(refcounts > (10 if mode == "freeze" else 300), f"only {refcounts} refcount writes")
    if mode == "collect":
        expect(headers > 30, f"a collection, but only {headers} faults of it")
    return f"{refcounts} refcount, {headers} gc"


def evidence_mode(options, mode):
    """Small, for emulated machines: the count, the causes, and both ways to know the place."""
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        out, path = os.path.join(directory, "truth.json"), os.path.join(directory, "cow.json")
        finished = run([options.cowtrace, "--hook", options.hook, "--json", path, "--",
                        *command(mode, out), "--workers", "1", "--objects", "20000",
                        "--linger", "4"],
                       options.timeout)
        expect(finished.status == 0, f"ended with {finished.status}: {finished.last_error()}")
        document, workers = load(path), load(out)["workers"]
    text = compare(document, workers, mode) + "; " + check_causes(document, workers, mode)
    carried = document["bytes"]
    if document["hook"] == "tracepoint":
        expect(carried is None, f"the tracepoint hook carried bytes: {carried}")
        return text
    expect(carried and carried["compared"] > (100 if mode == "freeze" else 1000),
           f"too few records carried bytes: {carried}")
    expect(carried["place_differ"] <= carried["compared"] * PLACE_TOLERANCE,
           f"of {carried['compared']} places {carried['place_differ']} differ with the bytes "
           "before the write")
    return (f"{text}; of {carried['compared']} compared {carried['differ']} had other bytes, "
            f"{carried['place_differ']} another place")


def attach_mode(options, mode):
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        out = os.path.join(directory, "truth.json")
        with group([*command(mode, out), "--wait"], stdin=subprocess.PIPE,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program, \
                Attached(options, program.pid) as attached:
            try:
                _, err = program.communicate("\n", timeout=options.timeout)
            except subprocess.TimeoutExpired as late:
                raise Failed(f"{mode} still runs after {options.timeout:g} s") from late
            expect(program.returncode == 0, f"{mode} ended with {program.returncode}: {err}")
            return compare(attached.stop(), load(out)["workers"], mode)


def cases(report, options):
    for mode in MODES:
        report.run(f"python/{mode}", run_mode, options, mode)
        report.run(f"attach/python/{mode}", attach_mode, options, mode)
    for mode in EVIDENCE_MODES:
        report.run(f"evidence/python/{mode}", evidence_mode, options, mode)


if __name__ == "__main__":
    sys.exit(main_of("tests/e2e/python.py", __doc__.splitlines()[0], cases))
