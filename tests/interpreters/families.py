#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Families of several interpreters: a forked child that becomes one of another version, and
sub-interpreters, whose heaps and collectors are others than the main one's.

The same truth as in truth.py: each fault must be of the object that is there.
"""

import os
import signal
import sys
import tempfile

from harness import (Failed, Program, PythonReport, Skip, Traced, await_state, expect, parse_options, unshares,
                     wanted_interpreters)
from common import check_invariants, delay_accounting
from oracle import Truth, areas_of, unshared_pages
from truth import Run, check_objects, check_pages, check_unknown, expect_none, expect_share

# (first, what its child becomes)
PAIRS = [("deb3.11", "3.8"), ("3.8", "deb3.15"), ("deb3.13", "2.7"), ("2.7", "3.12"), ("3.11", "deb3.11")]
SUBS = [("3.8", "legacy"), ("3.11", "legacy"), ("deb3.11", "legacy"), ("3.12", "legacy"), ("3.12", "isolated"),
        ("3.13", "legacy"), ("3.13", "isolated"), ("deb3.14", "isolated"), ("deb3.15", "isolated")]
RECORDS = {"TRUTH_RECORDS": "800"}
GAP_S = 0.9  # that the child waits before it becomes another


def digits(name):
    return name.removeprefix("deb")


def looked_at(name, truth, pid, writer, document, faults):
    run = Run(name, truth, pid)
    run.writer, run.document, run.faults = writer, document, faults
    return run


def before_and_after(faults, pid):
    """The copies of one process before and after it slept for a second, to become another program."""
    mine = sorted((fault for fault in faults if fault.pid == pid and unshares(fault)), key=lambda fault: fault.t_s)
    copies = [fault for fault in mine if fault.kind == "copy"]
    expect(copies, f"process {pid} has no copies")
    times = [fault.t_s for fault in copies]
    gaps = [(late - early, early, late) for early, late in zip(times, times[1:])]
    longest, last, first = max(gaps, default=(0, times[-1], times[-1]))
    if longest < GAP_S:  # it became another program and copied nothing more
        last, first = times[-1], times[-1] + 1e-6
    # what the new one writes of its files while it starts was not yet as its truth says
    return [fault for fault in mine if fault.t_s <= last], [fault for fault in copies if fault.t_s >= first]


def versions_of(document):
    return {(row["pid"], row["version"].rpartition(".")[0]) for row in document["interpreters"]}


def become(options, first, second):
    """first reads, becomes second, whose own child reads: three processes, two versions."""
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        file = os.path.join(folder, "truth")
        with Program(options, first, "family_case.py", file, second, environment=RECORDS) as program, \
                Traced(options, program.pid) as traced:
            middle = int(program.ask("become", "ready"))
            last = int(program.ask("deep", "child"))
            expect(await_state(last, "TZ", options.timeout) == "T", "the last child has ended")
            document, faults, undetailed = traced.stop()
            os.kill(last, signal.SIGKILL)
            program.ask("reap", "reaped")
        check_invariants(document)
        expect(undetailed == 0, f"{undetailed} faults without detail")
        early, late = before_and_after(faults, middle)
        first_truth, second_truth = Truth(file), Truth(file + ".child")
        said = []
        for name, truth, writer, some in (("first", first_truth, middle, early), ("second", second_truth, middle, late),
                                          ("last", second_truth, last, faults)):
            run = looked_at(name, truth, program.pid, writer, document, some)
            seen = check_objects(run)
            if name != "second":  # which only waits, after a shell that was there for a millisecond
                expect(seen > 100, f"{name}: only {seen} faults on known objects")
                expect_share(run, 0.8, "cell", "refcount", "static")
                expect_none(run, "cause", "gc")
                try:
                    check_unknown(run)
                except Failed as failed:
                    raise Failed(f"{name}: {failed}") from failed
            said.append(f"{name} {seen}")
        versions = versions_of(document)
        for pid, truth in ((program.pid, first_truth), (last, second_truth)):
            version = "%d.%d" % truth.version
            expect(any(told == version for _, told in versions), f"{version} of {pid} is not among {versions}")
        return f"faults on known objects: {', '.join(said)}"


def sub_case(options, path, kind, case):
    """The parent's sub-interpreter writes while a child shares all of it."""
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        file = os.path.join(folder, "truth")
        with Program(options, path, "family_case.py", file, "-", environment=RECORDS) as program:
            program.ask("sub " + kind, "done")
            truth = Truth(file + ".sub")
            run = Run(case, truth, program.pid)
            run.writer = program.pid
            with Traced(options, program.pid) as traced:
                run.child = int(program.ask("aside", "child"))
                expect(await_state(run.child, "TZ", options.timeout) == "T", "the child has ended")
                program.ask(case, "done")
                await_state(program.pid, "S", options.timeout)
                run.areas = areas_of(program.pid)
                run.pools = truth.pool_pages(run.areas)
                run.differ, run.both = unshared_pages(program.pid, run.child)
                run.document, run.faults, run.undetailed = traced.stop()
            os.kill(run.child, signal.SIGKILL)
            program.ask("reap", "reaped")
        check_invariants(run.document)
        check_pages(run)
        seen = check_objects(run)
        expect(seen > 100, f"only {seen} faults on known objects")
        check_unknown(run)
        if case == "collect":
            expect_share(run, 0.6, "cell", "gc_header")
            expect_share(run, 0.6, "cause", "gc")
        else:
            expect_share(run, 0.8, "cell", "refcount", "static")
            expect_none(run, "cause", "gc")
        return f"{len(run.mine())} unshared, {seen} on known objects of the sub-interpreter"


def missing(why):
    raise Skip(why)


def cases(report, options):
    found = {name: (path, why) for name, path, why in wanted_interpreters(options)}
    for first, second in PAIRS:
        if first in found and second in found:
            why = found[first][1] or found[second][1]
            here = options.list or (found[first][0] and found[second][0])
            report.run(f"become/{first}/{second}", *([become, options, found[first][0], found[second][0]] if here
                                                    else [missing, why]))
    for name, kind in SUBS:
        if name in found:
            for case in ("deep", "collect"):
                report.run(f"sub/{name}/{kind}/{case}",
                           *([sub_case, options, found[name][0], kind, case] if options.list or found[name][0]
                             else [missing, found[name][1]]))


def main():
    options = parse_options(__doc__.split("\n", maxsplit=1)[0])
    report = PythonReport("tests/interpreters/families.py", options)
    with delay_accounting():
        cases(report, options)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
