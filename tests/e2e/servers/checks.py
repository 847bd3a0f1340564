# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What the JSON of a traced Python family must say."""

from catalogue import line_of
from common import ALL_KINDS, check_invariants, expect, rows_by_pid, wpcopy_of

UNKNOWN_SHARE, UNKNOWN_FEW = 0.005, 5  # of the unshared pages; of a small family's
TOLERANCE = 0.001  # of WPCOPY: two threads that race for a page
DEBIAN = "3.11"


class Bounds:
    """WPCOPY of a family just before and after attaching, and before and after detaching: what
    cowtrace has certainly and what it has possibly seen."""

    def __init__(self, copies):
        self.copies = copies
        self.taken = {}

    def take(self, name, pids):
        counted = {pid: self.copies.of(pid) for pid in pids}
        self.taken[name] = {**self.copies.ended, **counted}

    def of(self, pid):
        """(least, most), or None where the kernel never told. One that was born while cowtrace was
        detaching may not have been seen at all; who ended before is known of from then on."""
        before, attached, detaching, after = (
            self.taken[name].get(pid) for name in ("before", "attached", "detaching", "after"))
        if after is None:
            return None
        return max(0, (detaching or 0) - (attached or 0)), after - (before or 0)


def check_counts(document, bounds, workers):
    """Each process against the kernel's own count. (copies of the workers, of all)"""
    expect(bounds.copies.lost == 0, "the kernel's own counts were lost on the way")
    check_invariants(document)
    rows = rows_by_pid(document)
    total = 0
    for pid in workers:
        expect(pid in rows, f"worker {pid} is not among the processes")
    known = set().union(*bounds.taken.values()) & (set(rows) | set(bounds.taken["after"]))
    for pid in sorted(set(rows) | (known & set(workers))):
        counted = wpcopy_of(rows.get(pid, dict.fromkeys(ALL_KINDS, 0)))
        span = bounds.of(pid)
        expect(span is not None, f"process {pid} has a row, but the kernel never heard of it")
        slack = span[1] * TOLERANCE
        expect(span[0] - slack <= counted <= span[1] + slack,
               f"process {pid}: WPCOPY says {span[0]}..{span[1]}, counted {counted}")
        total += counted
    return sum(wpcopy_of(rows[pid]) for pid in workers), total


def named(document, name):
    """The cells of all rows of a type, whatever module its name is given with."""
    cells = {}
    for row in document["types"]:
        if row["type"] == name or row["type"].endswith(f".{name}"):
            for cell, count in row["cells"].items():
                cells[cell] = cells.get(cell, 0) + count
    return cells


def check_known(document):
    """Next to nothing is unknown. Its share, as text."""
    unshared = document["totals"]["unshared"]
    unknown = document["cells"].get("unknown", 0)
    expect(unknown <= max(unshared * UNKNOWN_SHARE, UNKNOWN_FEW),
           f"{unknown} of {unshared} unshared pages have an unknown cell")
    return f"unknown {unknown}"


def check_interpreter(document, version=DEBIAN, objects=("python3.11",)):
    found = [(one.get("version"), one.get("object")) for one in document["interpreters"]]
    expect(any(str(of).startswith(version) and name.startswith(objects) for of, name in found),
           f"no interpreter {version} in {' or '.join(objects)}, but {found}")
    return found


def mostly(cells, cell, share, what):
    total = sum(cells.values())
    expect(total > 0, f"no {what} at all")
    expect(cells.get(cell, 0) >= share * total,
           f"{what}: only {cells.get(cell, 0)} of {total} in {cell}, but {cells}")


def check_read(document, kind="Pomegranate", share=0.5):
    """Reading: reference counts, of the class that was read and of its dicts."""
    mostly(named(document, kind), "refcount", 0.95, f"type {kind}")
    dicts = named(document, "dict")
    expect(dicts.get("refcount", 0) > 0, f"no reference count of a dict, but {dicts}")
    mostly(document["cells"], "refcount", share, "cells")
    mostly(document["causes"], "refcount", share, "causes")


def check_collected(document, times=1):
    """A collection: the GC headers of what nobody read."""
    mostly(named(document, "Quince"), "gc_header", 0.95, "type Quince")
    gc = document["causes"].get("gc", 0)
    expect(gc >= sum(named(document, "Quince").values()) * 0.95,
           f"cause gc has only {gc}: {document['causes']}")
    rows = document["collections"]
    full = [row for row in rows if row.get("generation") == 2]
    expect(len(full) >= times, f"{len(full)} full collections instead of {times}: {rows}")
    counted = sum(row["unshared"] for row in full)
    expect(counted >= gc * 0.95, f"full collections have {counted} of the {gc} pages of cause gc")


def check_line(document, marker, least):
    """The line of the catalogue that is so marked leads its function, with at least so many."""
    number, function = line_of(marker)
    rows = [row for row in document["lines"] if row["file"].endswith("catalogue.py")]
    hits = {row["line"]: row["unshared"] for row in rows if row["function"] == function}
    expect(hits.get(number, 0) >= least,
           f"catalogue.py:{number} {function} has {hits.get(number, 0)} of at least {least} pages; "
           f"that function: {hits}, all lines: {document['lines'][:4]}")
    return f"catalogue.py:{number} {hits[number]}"
