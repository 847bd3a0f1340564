#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Bad input: names that bite, broken heaps and frames, children half there, and other Pythons.

Each time: no crash, no hang, the right exit status, valid JSON, exact counts, no control character
anywhere, no name that is not one; and what is not supported is said once.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers"))

import fetch_thirtytwo  # noqa: E402
from checks import mostly, named  # noqa: E402
from common import Attached, Failed, Skip, check_invariants, expect, group, load, main_of, run  # noqa: E402
from families import HERE, PYTHON, Piped, environment, need  # noqa: E402
from traced import STACKS, Traced, copies_here  # noqa: E402

LEAST = 300  # pages that rotten.py's 30,000 objects fill, or a few less
ROTTEN = os.path.join(HERE, "rotten.py")


# ---- nothing that a terminal would obey ----

def check_text(text, what):
    for number, line in enumerate(text.splitlines() if isinstance(text, str) else [text]):
        for character in line:
            expect(unicodedata.category(character) != "Cc" and character != "\ufffd",
                   f"{what}, line {number + 1}: raw {character!r} in {line[:200]!r}")


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)


def check_clean(document, *texts):
    for text in texts:
        check_text(text, "output")
    for text in strings_of(document):
        check_text(text, "a string of the JSON")
        expect(len(text) <= 4096, f"a string of {len(text)} characters in the JSON")


def said_once(text, pattern):
    """Exactly one line of standard error matches; the others say nothing of the kind twice."""
    lines = [line for line in text.splitlines() if not line.startswith("cowtrace: tracing")]
    found = [line for line in lines if re.search(pattern, line, re.IGNORECASE)]
    expect(len(found) == 1, f"{len(found)} lines on standard error with {pattern!r}: {lines}")
    return found[0].strip()


def said_nothing(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(
        ("cowtrace: tracing", "cowtrace: warning: this kernel skipped"))]
    expect(not lines, f"standard error says {lines}")


# ---- names ----

def check_names(document, way):
    """The type of the objects that were read: its name made harmless, or none."""
    wanted = {"name_escapes": r"\\x1b\[31mRED", "name_long": r"Q{20}", "name_bytes": r"\\xff\\xfe"}
    rows = [row for row in document["types"] if re.match(wanted[way], row["type"])]
    expect(len(rows) == 1, f"{len(rows)} types {wanted[way]}: "
                           f"{[row['type'][:40] for row in document['types'][:5]]}")
    expect(rows[0]["unshared"] >= LEAST, f"only {rows[0]['unshared']} pages of that type")
    mostly(rows[0]["cells"], "refcount", 0.95, "that type")
    functions = {"name_escapes": r"\\x1b\[31mRED", "name_long": r"Q{20}", "name_bytes": "surrogates"}
    lines = [row for row in document["lines"] if re.match(functions[way], row["function"])]
    expect(sum(row["unshared"] for row in lines) >= rows[0]["unshared"] * 0.8,
           f"lines of {functions[way]}: {[(row['function'][:40], row['line']) for row in document['lines'][:5]]}")
    return f"{rows[0]['unshared']} pages of {rows[0]['type'][:24]!r}"


def names(options, way, axis):
    """As a report, by each axis that shows names; with names in the command line too."""
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as folder:
        path = os.path.join(folder, "cow.json")
        finished = run([options.cowtrace, "--hook", options.hook, "--json", path, *STACKS, "--plain",
                        "--by", axis, "--", "bash", "-c", 'exec -a "$0" "$@"',
                        "\x1b]0;pwned\x07\x9b2J\r\n", PYTHON, ROTTEN, way], options.timeout, "go\n",
                       cwd=folder, env=environment(PYTHONIOENCODING="utf-8"))
        expect(finished.status == 0, f"exit status {finished.status}: {finished.err[-300:]!r}")
        document = load(path)
    check_invariants(document)
    check_clean(document, finished.err, *[line for line in finished.out.splitlines()])
    longest = max(map(len, finished.err.splitlines()))
    expect(longest <= 400, f"a line of {longest} characters in the report")
    return check_names(document, way)


def read_screen(master, seconds, until=None):
    data, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not (until and until in data):
        if select.select([master], [], [], 0.1)[0]:
            try:
                data += os.read(master, 65536)
            except OSError:
                break
    return data


def names_on_screen(options, way, axis):
    """The live screen writes sequences of its own, but none of the name's."""
    master, slave = pty.openpty()
    try:
        with Piped(options, "rotten.py", way) as family, \
                group([options.cowtrace, "--hook", options.hook, "-i", "0.2", *STACKS, "--by", axis,
                       "-p", str(family.master.pid)], stdin=slave, stdout=slave, stderr=slave,
                      env=dict(os.environ, TERM="xterm-256color", LANG="C.UTF-8", LINES="30",
                               COLUMNS="100")) as tracer:
            shown = read_screen(master, options.timeout, b"\x1b[")
            family.do("go")
            shown += read_screen(master, 1.5)
            expect(tracer.poll() in (None, 0), f"the live screen ended with {tracer.poll()}: {shown[-300:]!r}")
            os.write(master, b"q")
            shown += read_screen(master, 1)
    finally:
        os.close(slave)
        os.close(master)
    expect(b"\x1b[" in shown, "no live screen")
    for bad in (b"\x1b]0;", b"\x07", b"\x1b[31mRED", b"\xff\xfe", b"\xc2\x9b"):
        expect(bad not in shown, f"the screen got {bad!r}")


# ---- broken heaps and frames, half a child ----

def rotten(options, way, steps=("go",)):
    """(what Traced has, its JSON, the folder's type_names or None)."""
    with copies_here() as copies, Piped(options, "rotten.py", way) as family:
        traced = Traced(options, family, copies)
        document = traced.run(steps)
        path = os.path.join(family.folder, "type_names")
        known = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                known = set(json.load(file))
    check_clean(document, traced.said)
    said_nothing(traced.said)
    return traced, document, known


def broken_heap(options):
    traced, document, known = rotten(options, "heap")
    expect(traced.of_workers > 1000, f"only {traced.of_workers} pages")
    for row in document["types"]:
        expect(row["heap"] != "cpython" or row["type"] in known or row["type"].startswith("["),
               f"a type {row['type']!r} that is none: {row}")
    expect(not named(document, "FALSE"), f"a false type is believed: {named(document, 'FALSE')}")
    whole = sum(named(document, "Loquat").values())
    expect(whole > 100, f"only {whole} pages of the objects that are whole")
    return f"{document['hook']}, n={traced.total}, whole {whole}, cells {document['cells']}"


def broken_frames(options, way):
    traced, document, _ = rotten(options, way)
    mostly(named(document, "Loquat"), "refcount", 0.95, "type Loquat")
    lines = [row for row in document["lines"] if row["file"].endswith("rotten.py")]
    reads = sum(row["unshared"] for row in lines if row["function"] == "chain")
    loquats = sum(named(document, "Loquat").values())
    expect(reads >= 0.8 * loquats, f"{reads} of {loquats} pages in lines of chain(): {lines[:5]}")
    return f"{document['hook']}, n={traced.total}"


def half_forked(options, way):
    """The copies are the parent's; the child is attached to as well, as it is."""
    with copies_here() as copies, Piped(options, "rotten.py", way) as family:
        alone = run([options.cowtrace, "--hook", options.hook, "-d", "0.5", "--json", "-", *STACKS, "-p",
                     str(family.workers[0])], options.timeout)
        expect(alone.status == 0, f"-p of the child: {alone.status}, {alone.err!r}")
        check_invariants(json.loads(alone.out))
        traced = Traced(options, family, copies)
        document = traced.run(("go",))
    check_clean(document, traced.said)
    mostly(named(document, "Loquat"), "refcount", 0.95, "type Loquat")
    return f"{document['hook']}, n={traced.total}"


def killed(options, delay):
    """The whole family is killed while its faults are on their way: cowtrace ends by itself."""
    with Piped(options, "rotten.py", "storm") as family, \
            Attached(options, family.master.pid, STACKS) as attached:
        family.do("go")
        time.sleep(delay)
        os.killpg(family.master.pid, signal.SIGKILL)
        try:
            _, err = attached.process.communicate(timeout=options.timeout)
        except subprocess.TimeoutExpired as late:
            raise Failed("cowtrace does not end with its target") from late
        expect(attached.process.returncode == 0,
               f"ended with {attached.process.returncode}: {err.decode(errors='replace')!r}")
        document = load(attached.path)
    check_invariants(document, undetailed=None)
    check_clean(document, err.decode(errors="replace"))
    cells = named(document, "Loquat")
    loquats = sum(cells.values())
    # what was still to be explained when the memory went can't be
    expect(cells.get("refcount", 0) == loquats and loquats >= (delay >= 0.5) * LEAST,
           f"type Loquat: {cells}")
    return f"{document['hook']}, n={document['totals']['unshared']}, Loquat {loquats}"


# ---- what is not supported ----

def unsupported(options, family, pattern, types, least=200):
    """Counted exactly, as by a program without a known heap; and said once, if there is a word to
    say. types: what of the JSON's types may be there."""
    with copies_here() as copies, family:
        traced = Traced(options, family, copies)
        document = traced.run(("go",))
    check_clean(document, traced.said)
    expect(traced.of_workers >= least, f"only {traced.of_workers} pages")
    wrong = [row for row in document["types"]
             if row.get("heap") not in types and row["type"] != "unknown" and row["unshared"]]
    expect(not wrong, f"types of a heap that is not known: {wrong[:4]}")
    said = said_once(traced.said, pattern) if pattern else said_nothing(traced.said)
    return f"{document['hook']}, n={traced.total}" + (f", {said}" if said else "")


def thirty_two(options):
    try:
        program = fetch_thirtytwo.python()
    except fetch_thirtytwo.fetch.NotToBeHad as reason:
        raise Skip(str(reason)) from reason
    return unsupported(options, Piped(options, "medlar.py", "Medlar", program=program), "32-bit",
                       ("generic",))


def pypy(options):
    need("/usr/bin/pypy3", "pypy3")
    return unsupported(options, Piped(options, "medlar.py", "Medlar", program="/usr/bin/pypy3"),
                       "PyPy", ("generic", "glibc"), 20)  # it counts no references


def musl(options, *flags):
    need("/usr/bin/musl-gcc", "musl-tools")
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as folder:
        program = os.path.join(folder, "plain")
        run_compiler = run(["/usr/bin/musl-gcc", "-O1", *flags, os.path.join(HERE, "plain.c"), "-o",
                            program], options.timeout)
        expect(run_compiler.status == 0, f"musl-gcc: {run_compiler.err[-200:]!r}")
        return unsupported(options, Piped(options, program=program), None, ("generic",))


def not_there(options, reason):
    raise Skip(reason)


WAYS = ("name_escapes", "name_long", "name_bytes")
CASES = {
    **{f"{way}/{axis}": (names, way, axis) for way in WAYS for axis in ("type", "line", "process")},
    **{f"{way}/screen": (names_on_screen, way, axis)
       for way, axis in zip(WAYS, ("type", "line", "type"))},
    "broken_heap": (broken_heap,),
    "frames_cycle": (broken_frames, "frames_cycle"),
    "frames_garbage": (broken_frames, "frames_garbage"),
    "half_forked": (half_forked, "half_forked"),
    "raw_forked": (half_forked, "raw_forked"),
    "vforked": (half_forked, "vforked"),
    **{f"killed/{delay}": (killed, delay) for delay in (0.01, 0.1, 0.5, 1.0)},
    "32-bit": (thirty_two,),
    "pypy": (pypy,),
    "musl": (musl,),
    "musl_static": (musl, "-static"),
    "musl_python": (not_there, "Debian has no CPython for musl"),
    "free_threaded": (not_there, "Debian has no free-threaded CPython; tests/unit reads its layout"),
}


def cases(report, options):
    for name, (function, *arguments) in CASES.items():
        report.run(f"hostile/{name}", function, options, *arguments)


if __name__ == "__main__":
    sys.exit(main_of("tests/e2e/hostile.py", __doc__.splitlines()[0], cases))
