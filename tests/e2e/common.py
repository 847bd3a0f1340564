# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What the end-to-end tests share: starting cowtrace, reading its JSON, saying how it went."""

import argparse
import contextlib
import fnmatch
import json
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

DELAYACCT = "/proc/sys/kernel/task_delayacct"
KINDS = ("copy", "copy_file", "copy_ksm", "copy_huge", "copy_hugetlb")
ALL_KINDS = KINDS + ("copy_file_unread", "zero_fill", "reuse")


class Skip(Exception):
    """This case can't be run here; the text says why."""


class Failed(Exception):
    """This case went wrong; the text says how."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


class Report:
    """One line a case, and the tally of them."""

    def __init__(self, script, options):
        self.script, self.options = script, options
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.results = []

    def wanted(self, name):
        only = self.options.only
        return not only or any(fnmatch.fnmatch(name, pattern) or pattern in name
                               for pattern in only)

    def run(self, name, function, *arguments):
        if not self.wanted(name):
            return
        if self.options.list:
            print(name)
            return
        started = time.monotonic()
        try:
            verdict, text = "ok", function(*arguments) or ""
        except Skip as skip:
            verdict, text = "skip", str(skip)
        except Failed as failed:
            verdict, text = "FAIL", f"{failed} (run again: {self.again(name)})"
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            verdict, text = "FAIL", (f"{type(error).__name__}: {error} "
                                     f"(run again: {self.again(name)})")
        self.counts[verdict] += 1
        self.results.append({"name": name, "verdict": verdict, "text": text,
                             "seconds": round(time.monotonic() - started, 3)})
        if verdict == "ok":
            print(f"ok {name} ({text})" if text else f"ok {name}", flush=True)
        else:
            print(f"{verdict} {name}: {text}", flush=True)

    def again(self, name):
        o = self.options
        return (f"{self.script} --cowtrace {o.cowtrace} --truth {o.truth} --hook {o.hook} "
                f"--only {name}")

    def finish(self):
        if self.options.list:
            return 0
        if self.options.json:
            with open(self.options.json, "w", encoding="utf-8") as file:
                json.dump({"kernel": platform.release(), "hook": self.options.hook,
                           "counts": self.counts, "results": self.results}, file, indent=1)
        c = self.counts
        print(f"{c['ok']} passed, {c['FAIL']} failed, {c['skip']} skipped")
        return 1 if c["FAIL"] or not (c["ok"] or c["skip"]) else 0


def parse_options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cowtrace", default="build/cowtrace", help="the program under test")
    parser.add_argument("--truth", default="build/truth", help="folder of the truth programs")
    parser.add_argument("--hook", default="auto", choices=["auto", "tracepoint", "fexit", "kprobe"])
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="only cases of this name; part of a name or a pattern")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--json", metavar="OUT", help="also write the results there")
    parser.add_argument("--timeout", type=float, default=120, metavar="S",
                        help="seconds for a program (default 120; more under emulation)")
    options = parser.parse_args()
    if not options.list:
        for path in (options.cowtrace, options.truth):
            if not os.path.exists(path):
                parser.error(f"{path} does not exist")
        if os.geteuid():
            parser.error("needs root")
    options.cowtrace = os.path.abspath(options.cowtrace)
    options.truth = os.path.abspath(options.truth)
    return options


@contextlib.contextmanager
def delay_accounting():
    """kernel.task_delayacct=1 while the tests run: a process that is forked without it has no
    WPCOPY. Kernels before 5.14 have it always or never."""
    before = None
    if os.path.exists(DELAYACCT):
        with open(DELAYACCT, encoding="ascii") as file:
            before = file.read()
        with open(DELAYACCT, "w", encoding="ascii") as file:
            file.write("1")
    try:
        yield
    finally:
        if before is not None:
            with open(DELAYACCT, "w", encoding="ascii") as file:
                file.write(before)


@contextlib.contextmanager
def group(command, **keywords):
    """A process in a session of its own, all of which is gone at the end."""
    process = subprocess.Popen(command, start_new_session=True, **keywords)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


class Finished:
    """What a command came to. status as a shell has it: 128 + signal."""

    def __init__(self, status, out, err, seconds):
        self.status = status if status >= 0 else 128 - status
        self.out, self.err, self.seconds = out, err, seconds

    def last_error(self):
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else "nothing on standard error"


def run(command, timeout, text_in="", **keywords):
    started = time.monotonic()
    keywords.setdefault("stdout", subprocess.PIPE)
    with group(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
               **keywords) as process:
        try:
            out, err = process.communicate(text_in, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"still running after {timeout:g} s: {' '.join(command)}") from late
        return Finished(process.returncode, out, err, time.monotonic() - started)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Failed(f"no JSON in {os.path.basename(path)}: {error}") from error


class Attached:
    """cowtrace -p PID, from its readiness line to its JSON."""

    def __init__(self, options, pid, extra=()):
        self.options = options
        self.directory = tempfile.TemporaryDirectory(prefix="cowtrace-e2e-")
        self.path = os.path.join(self.directory.name, "cowtrace.json")
        self.command = [options.cowtrace, "--hook", options.hook, "--json", self.path,
                        *extra, "-p", str(pid)]
        self.err = b""

    def __enter__(self):
        started = time.monotonic()
        self.stack = contextlib.ExitStack()
        self.process = self.stack.enter_context(
            group(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                  stderr=subprocess.PIPE))
        try:
            self.await_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.attach_seconds = time.monotonic() - started
        return self

    def __exit__(self, *details):
        self.stack.close()
        self.directory.cleanup()

    def await_ready(self):
        end = time.monotonic() + self.options.timeout
        while b"tracing" not in self.err:
            ready, _, _ = select.select([self.process.stderr], [], [], end - time.monotonic()
                                        if end > time.monotonic() else 0)
            data = os.read(self.process.stderr.fileno(), 4096) if ready else b""
            if not data:
                raise Failed(f"cowtrace -p never said \"tracing\": {self.err.decode().strip()!r}")
            self.err += data

    def stop(self, signal_number=signal.SIGINT):
        """Detach; its JSON."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            _, err = self.process.communicate(timeout=self.options.timeout)
        except subprocess.TimeoutExpired as late:
            raise Failed("cowtrace does not end on a signal") from late
        self.err += err
        expect(self.process.returncode == 0,
               f"cowtrace -p ended with {self.process.returncode}: "
               f"{self.err.decode(errors='replace').strip()[-200:]}")
        return load(self.path)


# ---- what must hold in every JSON ----

def rows_by_pid(document):
    """A pid has a row for each program that it ran: their sums."""
    rows = {}
    for process in document["processes"]:
        row = rows.setdefault(process["pid"], dict.fromkeys(ALL_KINDS, 0))
        for kind in ALL_KINDS:
            row[kind] += process.get(kind, 0)
    return rows


def wpcopy_of(row):
    """What taskstats would count for a process with these faults."""
    return (row["copy"] + row["copy_ksm"] + row["copy_file"] - row["copy_file_unread"]
            + row["zero_fill"])


def check_invariants(document, undetailed=0):
    totals = document["totals"]
    expect(document["schema"] == "cowtrace/1", f"schema is {document['schema']!r}")
    expect(totals["unshared"] == sum(totals[kind] for kind in KINDS),
           f"totals.unshared {totals['unshared']} is not the sum of its kinds "
           f"{[totals[kind] for kind in KINDS]}")
    expect(undetailed is None or totals["undetailed"] <= undetailed,
           f"undetailed is {totals['undetailed']}")
    for table in ("cells", "causes"):
        counted = sum(document[table].values())
        expect(counted == totals["unshared"] - totals["undetailed"],
               f"{table} sum to {counted}, not to unshared {totals['unshared']} - undetailed "
               f"{totals['undetailed']}")
    for kind in ("unshared",) + ALL_KINDS:
        counted = sum(process.get(kind, 0) for process in document["processes"])
        expect(counted == totals[kind],
               f"processes' {kind} sum to {counted}, totals say {totals[kind]}")
    for kind, value in totals.items():
        expect(value >= 0, f"totals.{kind} is {value}")
    for process in document["processes"]:
        expect(process["unshared"] == sum(process.get(kind, 0) for kind in KINDS),
               f"process {process['pid']}: unshared is not the sum of its kinds")


def kernel_version():
    numbers = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(numbers.group(1)), int(numbers.group(2)))


def main_of(script, description, cases):
    """cases(report, options) runs them."""
    options = parse_options(description)
    report = Report(script, options)
    if options.list:
        cases(report, options)
        return 0
    with delay_accounting():
        cases(report, options)
    return report.finish()


if __name__ == "__main__":
    sys.exit("not a test of its own")
