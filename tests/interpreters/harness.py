# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What the tests of interpreters share: options, a program that takes orders, what cowtrace wrote."""

import argparse
import collections
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

# pylint: disable=wrong-import-position
from common import KINDS, Attached, Failed, Report, Skip, expect, group  # noqa: E402
from fetch import SOURCES, NotToBeHad, fetch, interpreters  # noqa: E402

# Of these the tests speak even where they are not in reach: then they are skipped, one by one.
EXPECTED = ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "deb3.11", *SOURCES]
SECONDS = 120  # for any one answer; much more than it ever took


class PythonReport(Report):
    """The same lines, with the options of these tests in "run again"."""

    def again(self, name):
        return f"{self.script} --cowtrace {self.options.cowtrace} --hook {self.options.hook} --only {name}"


def parse_options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cowtrace", help="the program under test (default BUILD/cowtrace)")
    parser.add_argument("--build", default="build", help="build directory (default build)")
    parser.add_argument("--hook", default="auto", choices=["auto", "tracepoint", "fexit", "kprobe"])
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="only cases of this name; part of a name or a pattern")
    parser.add_argument("--interpreter", action="append", metavar="NAME",
                        help=f"only these of {', '.join(EXPECTED)}")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--json", metavar="OUT", help="also write the results there")
    parser.add_argument("--keep", metavar="FOLDER", help="leave what was written there")
    parser.add_argument("--timeout", type=float, default=SECONDS, metavar="S", help=f"default {SECONDS}")
    options = parser.parse_args()
    options.cowtrace = os.path.abspath(options.cowtrace or os.path.join(options.build, "cowtrace"))
    if not options.list:
        if not os.path.exists(options.cowtrace):
            parser.error(f"{options.cowtrace} does not exist")
        if os.geteuid():
            parser.error("needs root")
    return options


def wanted_interpreters(options):
    """(name, path or None, why there is none) of each one asked for, fetched if need be."""
    here = interpreters()
    names = options.interpreter or [*EXPECTED, *(name for name in here if name not in EXPECTED)]
    for name in names:
        why = "not installed here (pyenv)" if name not in SOURCES else ""
        if name in SOURCES and not options.list:
            try:
                here[name] = fetch(name)[1]
            except NotToBeHad as error:
                why = str(error)
        yield name, here.get(name), why


class Program:
    """An interpreter that runs a script which takes orders on its standard input, a line each."""

    def __init__(self, options, python, script, *arguments, environment=None):
        self.options = options
        self.command = [python, "-B", os.path.join(HERE, script), *arguments]
        self.environment = {**os.environ, **(environment or {})}
        self.buffer = b""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.process = self.stack.enter_context(
            group(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                  env=self.environment))
        try:
            self.pid = int(self.answer("ready"))
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *details):
        self.stack.close()

    def answer(self, word):
        """The rest of the next line, which must begin with that word."""
        end = time.monotonic() + self.options.timeout
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not data:
                raise Failed(f"the program did not say {word!r} but {self.buffer!r}: {self.complaint()}")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        said, _, rest = line.decode().partition(" ")
        expect(said == word, f"the program said {line.decode()!r}, not {word!r}")
        return rest

    def complaint(self):
        if self.process.poll() is None:
            return "it still runs"
        return f"ended with {self.process.returncode}: {self.process.stderr.read().decode(errors='replace')[-400:]}"

    def order(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, text, word):
        self.order(text)
        return self.answer(word)


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def await_state(pid, states, seconds):
    end = time.monotonic() + seconds
    while state_of(pid) not in states:
        expect(time.monotonic() < end, f"process {pid} is {state_of(pid)} after {seconds:g} s, not {states}")
        time.sleep(0.005)
    return state_of(pid)


Fault = collections.namedtuple("Fault", "pid address kind cell cause type heap object offset size owner "
                                        "line file function generation collection t_s")


def fault_of(row):
    def number(key):
        return int(row[key], 16) if key in row else 0

    return Fault(row["pid"], number("address"), row["kind"], row.get("cell", ""), row.get("cause", ""),
                 row.get("type", ""), row.get("heap", ""), number("object"), row.get("offset"), row.get("size"),
                 number("owner"), row.get("line"), row.get("file"), row.get("function"),
                 row.get("generation"), row.get("collection"), row.get("t_s"))


def read_faults(path):
    """What --faults wrote: (faults that were not taken back, those without detail). A correction
    takes a fault back and gives it anew."""
    kept, undetailed = collections.defaultdict(list), 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row.get("undetailed"):
                undetailed += row["count"]
                continue
            fault = fault_of(row)
            if row["count"] > 0:
                kept[fault[:3]].append(fault)
            else:
                expect(kept[fault[:3]], f"a fault is taken back that never was: {line.strip()}")
                kept[fault[:3]].pop()
    return [fault for faults in kept.values() for fault in faults], undetailed


def unshares(fault):
    return fault.kind in KINDS


class Traced:
    """cowtrace -p PID with --faults, from its readiness to its output."""

    def __init__(self, options, pid, *extra):
        self.folder = tempfile.TemporaryDirectory(prefix="cowtrace-faults-")
        self.path = os.path.join(self.folder.name, "faults")
        self.attached = Attached(options, pid, ["--faults", self.path, *extra])

    def __enter__(self):
        self.attached.__enter__()
        return self

    def __exit__(self, *details):
        self.attached.__exit__(*details)
        self.folder.cleanup()

    def stop(self):
        """(the JSON, the faults, how many have no detail)"""
        document = self.attached.stop()
        return (document, *read_faults(self.path))


__all__ = ["Failed", "Fault", "HERE", "KINDS", "Program", "PythonReport", "Skip", "Traced", "await_state", "expect",
           "parse_options", "state_of", "unshares", "wanted_interpreters"]
