#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Run the truth programs on other kernels, each hook in a freshly booted one.

    tests/kernels/run.py [--hook HOOK]... [--jobs N] [KERNEL...]     names are in matrix.txt

Prints the lines of tests/e2e/run.py with kernel and hook before the name, and closes as it does.
A kernel that cannot be fetched is skipped with the reason; one that does not boot is a failure.
"""
import argparse
import concurrent.futures
import os
import re
import shlex
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("BUILD", "build")
HOOKS = ("fexit", "kprobe", "tracepoint")
VM_SECONDS = 1200
NO_KERNEL = 3  # fetch.sh: neither cached nor to be had
AGAIN = re.compile(r"^(.*?) \(run again: (.*)\)$")
LINE = re.compile(r"^(ok|FAIL|skip) +(\S.*)$")
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
BOOT = "tests/kernels/boot.sh"


class Report:
    """Result lines of several virtual machines at once."""

    def __init__(self):
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.lock = threading.Lock()
        self.running = set()
        self.stopped = False

    def stop(self, *_):
        """A signal: no machine outlives us."""
        self.stopped = True
        for process in list(self.running):
            process.terminate()

    def add(self, how, text):
        with self.lock:
            self.counts[how] += 1
            print(f"{how} {text}", flush=True)

    def note(self, text):
        with self.lock:
            print(text, flush=True)


def matrix():
    table = {}
    with open(os.path.join(HERE, "matrix.txt"), encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                table[words[0]] = words[1:]
    return table


def fetch(report, name, suite):
    """The directory of the newest kernel of @suite, or None."""
    run = subprocess.run([os.path.join(HERE, "fetch.sh"), suite], capture_output=True, text=True)
    if run.returncode == 0:
        return run.stdout.split()[2]
    why = (run.stderr.strip().splitlines() or ["fetch.sh failed"])[-1]
    if run.returncode == NO_KERNEL:
        report.add("skip", f"{name}: {why}")
    else:
        report.add("FAIL", f"{name}: {why} (run again: tests/kernels/fetch.sh {suite})")
    return None


class Machine:
    """One boot: a kernel, a hook, how QEMU runs it, and the command of which it reads the lines."""

    def __init__(self, name, kernel, label, command, accel="tcg,thread=single"):
        self.title, self.kernel, self.command = f"{name} {label}", kernel, command
        self.env = dict(os.environ, VM_ACCEL=accel, VM_TIMEOUT=str(VM_SECONDS))
        self.counted = {"ok": 0, "FAIL": 0, "skip": 0}
        self.closing, self.other = None, []

    def again(self, command):
        accel = self.env["VM_ACCEL"]
        return f"VM_ACCEL={accel} {BOOT} {self.kernel} -- {shlex.quote(command)}"

    def take(self, report, line):
        result, closing = LINE.match(line), CLOSING.match(line)
        if result:
            how, text = result.groups()
            self.counted[how] += 1
            own = AGAIN.match(text)
            text, command = own.groups() if own else (text, self.command)
            if how == "FAIL":
                text += f" (run again: {self.again(command)})"
            report.add(how, f"{self.title} {text}")
        elif closing:
            self.closing = tuple(int(n or 0) for n in closing.groups())
        else:
            self.other.append(line)

    def run(self, report):
        if report.stopped:
            return
        with subprocess.Popen([BOOT, self.kernel, "--", self.command], cwd=ROOT, env=self.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, errors="replace") as p:
            report.running.add(p)
            for line in p.stdout:
                self.take(report, line.rstrip())
        report.running.discard(p)
        why = self.wrong(p.returncode)
        if why:
            report.add("FAIL", f"{self.title}: {why} (run again: {self.again(self.command)})")
        if p.returncode:
            for line in self.other[-25:]:
                report.note(f"    | {self.title}: {line}")

    def wrong(self, status):
        told = tuple(self.counted.values())
        if self.closing is None:
            return "the time ran out" if status == 124 else f"did not finish, exit status {status}"
        if self.closing != told:
            return f"closes with {self.closing} but printed {told}"
        if not any(told):
            return "ran no test"
        return f"exit status {status}" if status and not self.counted["FAIL"] else None


def auto_command(hook):
    """That the ladder ends at the right rung, in the kind of lines that we read."""
    check = ("import json, sys; hook = json.load(sys.stdin)['hook']; good = hook == sys.argv[1]; "
             "print('ok' if good else 'FAIL', 'auto' if good else 'auto: it chose ' + hook); "
             "print(f'{int(good)} passed, {int(not good)} failed, 0 skipped')")
    return f'{BUILD}/cowtrace --json - -- true | python3 -c "{check}" {hook}'


def machines(name, kernel, auto, hooks):
    programs = f"--cowtrace {BUILD}/cowtrace --truth {BUILD}/truth --timeout 600 --hook "
    e2e = "python3 tests/e2e/run.py " + programs
    for hook in hooks:
        yield Machine(name, kernel, hook, e2e + hook)
        yield Machine(name, kernel, f"{hook} python",
                      f"python3 tests/e2e/python.py {programs}{hook} --only evidence/")
        # Only with a host thread for each CPU do two threads really race for a page.
        yield Machine(name, kernel, f"{hook} 2-cpu", f"{e2e}{hook} --only thread/",
                      "tcg,thread=multi")
    yield Machine(name, kernel, "ladder", auto_command(auto))


def main():
    table = matrix()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hook", action="append", choices=HOOKS, help="only this hook")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=", ".join(table))
    args = parser.parse_args()
    for name in args.kernels:
        if name not in table:
            parser.error(f"no kernel {name}: {', '.join(table)}")
    report, todo = Report(), []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, report.stop)
    for name in args.kernels or [n for n, row in table.items() if row[1] == "default"]:
        suite, _, auto = table[name]
        kernel = fetch(report, name, suite)
        if kernel:
            todo += machines(name, kernel, auto, args.hook or HOOKS)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in [pool.submit(m.run, report) for m in todo]:
            done.result()
    print("{ok} passed, {FAIL} failed, {skip} skipped".format(**report.counts))
    return 1 if report.counts["FAIL"] or report.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
