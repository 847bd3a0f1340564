#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Every fault of a forked interpreter, against what the interpreter itself and the kernel know.

For each interpreter in reach a program builds a mixed heap and writes down what lies where; then
child after child does one thing with it. Each fault that cowtrace tells of must be of the object
that is there, and the pages it tells of must be those whose frames differ (/proc/PID/pagemap).
"""

import collections
import contextlib
import os
import signal
import sys
import tempfile

from harness import (Failed, Program, PythonReport, Skip, Traced, await_state, expect, parse_options, unshares,
                     wanted_interpreters)
from common import check_invariants, delay_accounting, rows_by_pid, wpcopy_of
from oracle import PAGE, Truth, areas_of, place_name, unshared_pages
from taskstats import Taskstats

# PYTHONMALLOC of 3.6 and later: objects in chunks of glibc's, or with marks around them
ALLOCATORS = ["malloc", "debug"]
ALLOCATOR_CASES = ["deep", "collect"]
ALLOCATOR_RECORDS = "800"  # the same things, fewer of them
CASES = ["idle", "read", "deep", "collect", "freeze", "mutate", "allocate", "exit"]
SHOWN = 3  # of many wrong faults
KNOWN_CELLS = 0.995  # of the faults in pymalloc's pools
NEIGHBOURS = 8  # of objects that a fork itself makes and drops
REMAPPED = 32  # pages in a row: what an arena has at the least is 64
NO_ORDINALS = [(2, 7), (3, 15)]  # they do not count collections, or where it can't be read at a fault
UNKNOWN_MOST = 0.005  # of all that were unshared


def told(fault):
    return (f"{fault.address:#x} said to be {fault.cell or '-'} of {fault.type or '-'} at {fault.object:#x}"
            f" ({fault.heap or '-'}, {fault.cause or '-'})")


class Run:
    """One child: what cowtrace says of it, and what is true."""

    def __init__(self, name, truth, pid):
        self.name, self.truth, self.pid = name, truth, pid
        self.child = self.writer = 0  # writer: whose faults are looked at
        self.differ = self.both = None
        self.areas, self.pools = [], set()
        self.wpcopy = None
        self.document, self.faults, self.undetailed = None, [], 0

    def mine(self):
        """The writer's own faults that unshared a page."""
        return [fault for fault in self.faults if fault.pid == self.writer and unshares(fault)]


def wpcopy_now(pid, dead):
    """Copies that the kernel has accounted to a process, None where it does not."""
    with contextlib.suppress(OSError, LookupError):
        return Taskstats().wpcopy(pid, threads=not dead)
    return None


def run_child(options, program, truth, case):
    """Let the program fork a child for that case, under cowtrace."""
    run = Run(case, truth, program.pid)
    with Traced(options, program.pid) as traced:
        run.child = run.writer = int(program.ask(case, "child"))
        state = await_state(run.child, "TZ", options.timeout)
        expect(state == ("Z" if case == "exit" else "T"), f"the child is in state {state}")
        run.wpcopy = wpcopy_now(run.child, state == "Z")
        run.areas = areas_of(program.pid)
        run.pools = truth.pool_pages(run.areas)
        if state == "T":
            run.differ, run.both = unshared_pages(program.pid, run.child)
        run.document, run.faults, run.undetailed = traced.stop()  # before the parent writes again
    if state == "T":
        os.kill(run.child, signal.SIGKILL)
    status = program.ask("reap", "reaped")
    expect(status == ("0" if case == "exit" else str(int(signal.SIGKILL))), f"the child ended with {status}")
    return run


# ---- what must hold ----

def without_remapped(run, missing):
    """Without long rows of anonymous pages: an arena that the child gave back and mapped again at the
    same place is new memory, not copied. Only where WPCOPY has shown that no copy was missed."""
    if run.wpcopy is None or not run.document:
        return missing
    row = rows_by_pid(run.document)[run.child]
    if wpcopy_of(row) != run.wpcopy:
        return missing
    kept, row_of_pages = set(), []
    for page in sorted(missing) + [-1]:
        if row_of_pages and page != row_of_pages[-1] + 1:
            if len(row_of_pages) < REMAPPED or place_name(run.areas, row_of_pages[0]) != "anonymous":
                kept.update(row_of_pages)
            row_of_pages = []
        row_of_pages.append(page)
    return kept


def check_pages(run):
    """The faults are those of the pages whose frames differ. Pages that the parent has not, or that
    the child gave back, have no frames to compare."""
    if run.differ is None:
        return
    family = [fault for fault in run.faults if fault.pid in (run.pid, run.child)]
    mapped = {fault.address // PAGE for fault in family}
    copied = {fault.address // PAGE for fault in family if unshares(fault) and fault.kind != "copy_file"}
    missing, extra = without_remapped(run, run.differ - mapped), (copied & run.both) - run.differ
    for pages, what in ((missing, "differ but have no fault"), (extra, "have a fault but do not differ")):
        by = {fault.address // PAGE: fault for fault in family}
        expect(not pages, f"{len(pages)} of {len(run.differ)} pages {what}: " + ", ".join(
            f"{page * PAGE:#x} ({place_name(run.areas, page)}"
            + (f", {told(by[page])} by {'parent' if by[page].pid == run.pid else 'child'})" if page in by else ")")
            for page in sorted(pages)[:SHOWN]))


def check_counts(run):
    check_invariants(run.document)
    expect(run.undetailed == 0, f"{run.undetailed} faults without detail")
    row = rows_by_pid(run.document).get(run.child)
    expect(row, f"the child {run.child} has no row")
    if run.wpcopy is not None:
        expect(wpcopy_of(row) == run.wpcopy, f"WPCOPY says {run.wpcopy}, counted {wpcopy_of(row)}")
    listed, counted = len(run.mine()), sum(row[kind] for kind in ("copy", "copy_file", "copy_ksm"))
    expect(listed == counted, f"--faults lists {listed} faults of the child, the JSON counts {counted}")


def wrong_object(run, fault, thing):
    """Why the fault is not told as what lies there, or None."""
    if fault.object != thing.id:
        return "another object"
    if not run.truth.is_type(fault.type, thing.type):
        return "another type"
    if fault.offset not in (fault.address - thing.id, (fault.address - thing.id) & 0xffffffff):
        return f"offset {fault.offset}"
    cell = run.truth.cell(thing, fault.address)
    if fault.cell not in (cell, "static"):
        return f"not {cell}"
    return None


def check_objects(run):
    """Each fault on an object that the interpreter knows of. Return: how many there were."""
    seen, wrong = 0, []
    for fault in run.mine():
        thing = run.truth.thing(fault.address)
        if not thing:
            continue
        seen += 1
        why = wrong_object(run, fault, thing)
        if why:
            wrong.append(f"{told(fault)} is {run.truth.cell(thing, fault.address)} of {thing.type.name} at "
                         f"{thing.id:#x}: {why}")
    expect(not wrong, f"{len(wrong)} of {seen} faults on known objects are wrong: " + "; ".join(wrong[:SHOWN]))
    return seen


def check_buffers(run):
    """Items of lists and bytes of bytearrays: what is said of an owner must be true. Return: the
    share of those whose owner was told, and how many there were."""
    seen, owned, wrong = 0, 0, []
    for fault in run.mine():
        buffer = run.truth.buffer(fault.address)
        if not buffer:
            continue
        seen += 1
        owned += bool(fault.type)
        if fault.cell != "buffer" or (fault.type and not run.truth.is_type(fault.type, buffer[2])) or \
                (fault.owner and fault.owner != buffer[3]):
            wrong.append(f"{told(fault)} is of {buffer[2].name} at {buffer[3]:#x}")
    expect(not wrong, f"{len(wrong)} of {seen} faults on buffers are wrong: " + "; ".join(wrong[:SHOWN]))
    return seen, owned


def check_unknown(run):
    """Nearly all of the faults have a cell."""
    mine = run.mine()
    pooled = [fault for fault in mine if fault.address // PAGE in run.pools]
    bad = [fault for fault in pooled if fault.cell in ("", "unknown") or fault.heap != "cpython"]
    expect(len(bad) <= len(pooled) * (1 - KNOWN_CELLS),
           f"{len(bad)} of {len(pooled)} faults in pymalloc have no cell: " + "; ".join(map(told, bad[:SHOWN])))
    unknown = [fault for fault in mine if fault.cell in ("", "unknown")]
    expect(len(unknown) <= max(len(mine) * UNKNOWN_MOST, 1),
           f"{len(unknown)} of {len(mine)} pages are of cell unknown: " + "; ".join(
               f"{told(fault)} in {place_name(run.areas, fault.address // PAGE)}" for fault in unknown[:SHOWN]))
    return len(unknown)


def share(run, key, *values):
    """Of the child's faults outside stacks, files and the libraries' data."""
    heap = [fault for fault in run.mine() if fault.cell not in ("stack", "data", "file")]
    return sum(getattr(fault, key) in values for fault in heap) / max(len(heap), 1)


def expect_share(run, least, key, *values):
    found = share(run, key, *values)
    counted = collections.Counter(getattr(fault, key) for fault in run.mine()).most_common()
    expect(found >= least, f"only {found:.0%} of the heap's faults have {key} {' or '.join(values)}: {counted}")


def expect_none(run, key, value):
    found = [fault for fault in run.mine() if getattr(fault, key) == value]
    expect(not found, f"{len(found)} faults have {key} {value}: " + "; ".join(map(told, found[:SHOWN])))


def check_collections(run):
    """Two full collections, of which the first unshares nearly everything."""
    rows = [row for row in run.document["collections"] if row["pid"] == run.writer]
    full = {row["ordinal"]: row["unshared"] for row in rows if row["generation"] == 2}
    gc = sum(fault.cause == "gc" for fault in run.mine())
    if run.truth.version in NO_ORDINALS:
        expect(not rows, f"{run.truth.version} does not count its collections, but told is {rows}")
        return
    expect(full, f"no full collection is told of: {rows}")
    expect(set(full) <= {1, 2}, f"two full collections, but told of {full}")
    expect(full.get(1, 0) >= 0.95 * gc, f"the first full collection unshared {full.get(1, 0)} of {gc}")


def expect_no_headers(run):
    """No GC header is written but those of neighbours, which fork itself (threading's _after_fork)
    relinks when it makes and drops a few objects."""
    links = [fault for fault in run.mine() if fault.cell == "gc_header"]
    expect(len(links) <= NEIGHBOURS and all(fault.cause == "gc_link" for fault in links),
           f"{len(links)} faults on GC headers: " + "; ".join(map(told, links[:SHOWN])))


def check_case(run):
    case = run.name
    if case in ("read", "deep"):
        expect_share(run, 0.8, "cell", "refcount", "static")
        expect_none(run, "cause", "gc")
        expect_no_headers(run)
    elif case == "collect":
        # 2.7 also goes through the free ints and floats of all their blocks
        expect_share(run, 0.5 if run.truth.version < (3,) else 0.8, "cell", "gc_header")
        expect_share(run, 0.8, "cause", "gc")
        check_collections(run)
    elif case == "freeze":
        expect_no_headers(run)
    elif case == "mutate":
        expect_share(run, 0.05, "cell", "payload", "buffer")
        expect_share(run, 0.05, "cause", "mutation")
    elif case == "allocate":
        expect_share(run, 0.5, "cause", "allocation")
        expect_none(run, "cause", "gc")
    elif case == "exit":
        expect_share(run, 0.8, "cause", "exit")


def check_immortals(run, counted):
    """From 3.12 on nobody writes the counts of None, True and the small ints. Before, everybody
    does, but the first writer of their page may well be a neighbour of theirs."""
    pages = {address // PAGE for address in run.truth.statics}
    family = [fault for fault in run.faults if fault.pid in (run.pid, run.child) and unshares(fault)]
    counted["pages"] += sum(fault.address // PAGE in pages for fault in family)
    hits = [fault for fault in family if run.truth.static(fault.address) and fault.cause == "refcount"]
    counted["hits"] += len(hits)
    if run.truth.version >= (3, 12):
        expect(not hits, f"{len(hits)} refcount faults on immortal objects: " + "; ".join(
            f"{told(fault)} is {run.truth.static(fault.address)}" for fault in hits[:SHOWN]))


def check(run, refcounts):
    """All of it; every way in which it is wrong is told, not only the first."""
    wrong, said = [], {}
    checks = [("counts", check_counts), ("pages", check_pages), ("objects", check_objects),
              ("buffers", check_buffers), ("unknown", check_unknown), ("case", check_case),
              ("immortals", lambda run: check_immortals(run, refcounts))]
    for name, function in checks:
        try:
            said[name] = function(run)
        except Failed as failed:
            wrong.append(f"{name}: {failed}")
    if wrong:
        raise Failed(" | ".join(wrong))
    text = f"{len(run.mine())} unshared, {said['objects']} on known objects"
    if said["buffers"][0]:
        text += f", owner of {said['buffers'][1]} of {said['buffers'][0]} buffers"
    return text + (f", {said['unknown']} unknown" if said["unknown"] else "")


class Interpreter:
    """One interpreter and its program, started at the first case that needs it."""

    def __init__(self, options, path, stack, environment=None):
        self.options, self.path, self.stack, self.environment = options, path, stack, environment
        self.program = self.truth = None
        self.refcounts = collections.Counter()

    def start(self):
        if self.program and self.program.process.poll() is None:
            return
        folder = self.options.keep or self.stack.enter_context(tempfile.TemporaryDirectory(prefix="truth-"))
        file = os.path.join(folder, "truth")
        self.program = self.stack.enter_context(Program(self.options, self.path, "truth_case.py", file,
                                                        environment=self.environment))
        self.truth = Truth(file)

    def case(self, case):
        self.start()
        if self.environment and self.truth.version < (3, 6):
            raise Skip("no PYTHONMALLOC before 3.6")
        if case == "freeze" and self.truth.version < (3, 7):
            raise Skip("no gc.freeze() before 3.7")
        try:
            return check(run_child(self.options, self.program, self.truth, case), self.refcounts)
        except BaseException:
            if self.program.process.poll() is not None:
                self.program = None
            raise

    def immortals(self):
        """The control group, over all the cases so far."""
        if not self.truth:
            raise Skip("no case was run")
        if self.truth.version >= (3, 12):
            expect(not self.refcounts["hits"], f"{self.refcounts['hits']} refcount faults on None and small ints")
        else:
            expect(self.refcounts["pages"], "no fault on the pages of None and small ints, which are counted here")
        return f"{self.refcounts['hits']} refcount faults on them, {self.refcounts['pages']} of any kind on their pages"


def missing(why):
    raise Skip(why)


def cases(report, options):
    for name, path, why in wanted_interpreters(options):
        with contextlib.ExitStack() as stack:
            interpreter = Interpreter(options, path, stack)
            for case in CASES:
                report.run(f"truth/{name}/{case}", *([interpreter.case, case] if path or options.list
                                                    else [missing, why]))
            report.run(f"truth/{name}/immortals", *([interpreter.immortals] if path or options.list
                                                   else [missing, why]))
        for allocator in ALLOCATORS:
            with contextlib.ExitStack() as stack:
                interpreter = Interpreter(options, path, stack, {"PYTHONMALLOC": allocator,
                                                                        "TRUTH_RECORDS": ALLOCATOR_RECORDS})
                for case in ALLOCATOR_CASES:
                    report.run(f"truth/{name}/{allocator}/{case}", *([interpreter.case, case] if path or options.list
                                                                    else [missing, why]))


def main():
    options = parse_options(__doc__.split("\n", maxsplit=1)[0])
    report = PythonReport("tests/interpreters/truth.py", options)
    with delay_accounting():
        cases(report, options)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
