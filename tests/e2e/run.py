#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The truth programs under cowtrace: what it counts against what they know.

Each case of each program is run as `cowtrace -- PROGRAM`; some once more by `cowtrace -p`, and a
storm is attached to, left and attached to again. A truth program says what must be counted, from
its plan, from page frames and from taskstats (tests/truth/truth.h); numbers are compared exactly.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from common import (ALL_KINDS, Attached, Failed, Finished, Skip, check_invariants, expect,
                    group, kernel_version, load, main_of, rows_by_pid, run, wpcopy_of)

PROGRAMS = ("anon", "file", "kernel", "thread", "foreign", "huge", "ksm", "exec", "dying", "noise")

# What a hook can't see, as the README's table has it: hook -> {field of a truth program's
# expectation: why}. There exactly 0 of those is asserted, and the rest is exact all the same.
#   foreign       copies by the kernel's own page walk: /proc/PID/mem, process_vm_writev and
#                 _readv, direct I/O
#   copy_hugetlb  copies of hugetlb pages
#   copy_file_unread  first writes to private file pages that were never mapped
NOT_SEEN = {
    "fexit": {},
    "kprobe": {},
    "tracepoint": {
        "foreign": "no page-fault exception is raised, so the tracepoints don't fire",
        "copy_hugetlb": "the page comes from hugetlb's pool, not from the page allocator",
    },
}
if kernel_version() < (5, 17):  # no bpf_find_vma
    NOT_SEEN["tracepoint"]["copy_file_unread"] = "looks like the first touch of new memory"

ZERO_NOISE = 2  # as TRUTH_ZERO_NOISE of tests/truth

ATTACHED = ("anon/child_writes", "anon/last_sharer", "anon/eight_children", "anon/grandchildren",
            "anon/fork_loop", "file/zero_page", "file/file_unread", "kernel/read_each",
            "kernel/reuse_then_read", "thread/two_race", "foreign/vm_writev", "huge/thp_every_4k",
            "exec/exec", "exec/posix_spawn", "dying/killed")


# ---- expectation against JSON ----

def span(bounds):
    return str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]}..{bounds[1]}"


def unread_bounds(process):
    """How many of a process's copy_file were unread, as well as the oracles know."""
    wanted = process["expect"]
    nothing = [0, 0]
    files = wanted.get("copy_file", nothing)
    least, most = wanted.get("copy_file_unread", [0, files[1]])
    most = min(most, files[1])
    if process["wpcopy"] is not None and "copy_file" in wanted:
        zero = wanted.get("zero_fill", [0, ZERO_NOISE])
        # WPCOPY counts all but the unread ones, and up to wpcopy_extra that came to nothing.
        rest = (wanted["copy"][0] + wanted.get("copy_ksm", nothing)[0] + files[0]
                - process["wpcopy"] - process["wpcopy_adjust"])
        least = max(least, rest + zero[0])
        most = min(most, rest + zero[1] + process["wpcopy_extra"])
    return least, most


def without_unseen(process, hook):
    """The expectation of a process, less what the hook can't see."""
    wanted = {kind: list(bounds) for kind, bounds in process["expect"].items()}
    if "copy" in wanted and "foreign" in NOT_SEEN[hook]:
        wanted["copy"] = [bound - process["foreign"] for bound in wanted["copy"]]
    if "copy_hugetlb" in NOT_SEEN[hook]:
        wanted["copy_hugetlb"] = [0, 0]
    if "copy_file_unread" in NOT_SEEN[hook]:
        wanted["copy_file_unread"] = [0, 0]
        if "copy_file" in wanted:
            least, most = unread_bounds(process)
            wanted["copy_file"] = [wanted["copy_file"][0] - most, wanted["copy_file"][1] - least]
    return wanted


def compare_process(process, row, hook, problems):
    hidden = process["foreign"] if "foreign" in NOT_SEEN[hook] else 0
    wanted = without_unseen(process, hook)
    who = f"{process['role']} {process['pid']}"
    for kind, bounds in wanted.items():
        if not bounds[0] <= row[kind] <= bounds[1]:
            problems.append(f"{who}: expected {kind} {span(bounds)}, counted {row[kind]}")
    if process["wpcopy"] is not None:
        most = process["wpcopy"] + process["wpcopy_adjust"] - hidden
        least = most - process["wpcopy_extra"]
        if not least <= wpcopy_of(row) <= most:
            problems.append(f"{who}: WPCOPY says {span([least, most])}, counted {wpcopy_of(row)}")


def compare_ranges(truth, document, hook, problems):
    listed = sum(page["unshared"] for page in document["pages"])
    least_hidden = most_hidden = 0
    for process in truth["processes"]:
        if "foreign" in NOT_SEEN[hook]:
            least_hidden += process["foreign"]
            most_hidden += process["foreign"]
        if "copy_file_unread" in NOT_SEEN[hook] and process["expect"].get("copy_file_unread"):
            least_hidden += process["expect"]["copy_file_unread"][0]
            most_hidden += unread_bounds(process)[1]
    for number, area in enumerate(truth["ranges"]):
        start = int(area["start"], 16)
        counted = sum(page["unshared"] for page in document["pages"]
                      if start <= int(page["address"], 16) < start + area["len"])
        least, most = area["unshared"][0] - most_hidden, area["unshared"][1] - least_hidden
        if listed < document["totals"]["unshared"]:
            least = 0  # the list is cut: no more than a bound
        if not least <= counted <= most:
            problems.append(f"range {number}: expected {span([least, most])} unshared pages, "
                            f"counted {counted}")


def compare(truth, document, may_lack=()):
    """Failed with everything that differs, or a short text of what was compared."""
    hook = document["hook"]
    expect(hook in NOT_SEEN, f"JSON says hook {hook!r}")
    problems = []
    rows = rows_by_pid(document)
    nothing = dict.fromkeys(ALL_KINDS, 0)
    for process in truth["processes"]:
        if process["pid"] not in rows and process["pid"] not in may_lack and process["wpcopy"]:
            problems.append(f"{process['role']} {process['pid']} is not among the processes")
        compare_process(process, rows.get(process["pid"], nothing), hook, problems)
    compare_ranges(truth, document, hook, problems)
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise Failed("; ".join(problems[:4]) + more)
    check_invariants(document)
    return f"{hook}, n={document['totals']['unshared']}"


# ---- one case, run from its first instruction or attached to ----

def program_command(options, name, out):
    program, case = name.split("/")
    return [os.path.join(options.truth, program), "--case", case, "--out", out]


def check_status(finished, what):
    if finished.status == 77:
        reason = [line for line in finished.err.splitlines() if line.startswith("skip: ")]
        raise Skip(reason[-1][6:] if reason else "the program did not say why")
    expect(finished.status == 0, f"{what} ended with {finished.status}: {finished.last_error()}")


def run_case(options, name):
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        out, path = os.path.join(directory, "truth.json"), os.path.join(directory, "cow.json")
        finished = run([options.cowtrace, "--hook", options.hook, "--json", path, "--",
                        *program_command(options, name, out)], options.timeout)
        check_status(finished, f"cowtrace -- {name}")
        return compare(load(out), load(path))


def attach_case(options, name):
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        out = os.path.join(directory, "truth.json")
        with group([*program_command(options, name, out), "--wait"], stdin=subprocess.PIPE,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program, \
                Attached(options, program.pid) as attached:
            started = time.monotonic()
            try:
                _, err = program.communicate("\n", timeout=options.timeout)
            except subprocess.TimeoutExpired as late:
                raise Failed(f"{name} still runs after {options.timeout:g} s") from late
            check_status(Finished(program.returncode, "", err, time.monotonic() - started), name)
            return compare(load(out), attached.stop())


# ---- the storm ----

class Storm:
    """tests/truth/storm.c and its commands."""

    def __init__(self, options):
        self.options = options

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="cowtrace-e2e-")
        self.manager = group(
            program_command(self.options, "storm/storm",
                            os.path.join(self.directory.name, "truth.json")),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            bufsize=1)
        self.process = self.manager.__enter__()
        self.start = self.read()
        return self

    def __exit__(self, *details):
        self.manager.__exit__(*details)
        self.directory.cleanup()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(timeout=self.options.timeout)
            raise Skip(self.process.stderr.read().strip() or "the storm ended")
        workers = {process["pid"]: process["wpcopy"] for process in json.loads(line)["processes"]
                   if process["role"] == "worker"}
        if min(workers.values()) < 0:
            raise Skip("this kernel does not count WPCOPY")
        return workers

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def ask(self, command):
        self.tell(command)
        return self.read()


def compare_workers(document, before, after):
    rows = rows_by_pid(document)
    total = 0
    for pid in before:
        expect(pid in rows, f"worker {pid} is not among the processes")
        counted = wpcopy_of(rows[pid])
        expect(counted == after[pid] - before[pid],
               f"worker {pid}: WPCOPY says {after[pid] - before[pid]}, counted {counted}")
        total += counted
    expect(total > 0, "the storm did not copy anything")
    check_invariants(document)
    return total


def storm_paused(options):
    """Attach while it stands still, let it run, detach while it stands still; twice."""
    totals = []
    with Storm(options) as storm:
        before = storm.start
        for _ in range(2):
            with Attached(options, storm.process.pid) as attached:
                storm.tell("go")
                time.sleep(0.7)
                after = storm.ask("pause")
                document = attached.stop()
            totals.append(compare_workers(document, before, after))
            storm.tell("go")  # unseen
            time.sleep(0.2)
            before = storm.ask("pause")
        storm.tell("quit")
    return f"{document['hook']}, n={totals[0]} and {totals[1]}"


def storm_running(options):
    """Attach and detach in mid-storm: between what was certainly and what was possibly seen."""
    with Storm(options) as storm:
        storm.tell("go")
        time.sleep(0.2)
        for _ in range(2):
            earliest = storm.ask("report")
            with Attached(options, storm.process.pid) as attached:
                first = storm.ask("report")
                time.sleep(0.7)
                last = storm.ask("report")
                document = attached.stop()
            latest = storm.ask("report")
            rows = rows_by_pid(document)
            for pid in first:
                counted = wpcopy_of(rows[pid]) if pid in rows else 0
                least, most = last[pid] - first[pid], latest[pid] - earliest[pid]
                expect(least <= counted <= most, f"worker {pid}: between {least} and {most} "
                                                 f"copies, counted {counted}")
            check_invariants(document)
        storm.tell("quit")
    return f"{document['hook']}, n={document['totals']['unshared']}"


def truth_cases(options, program):
    listed = subprocess.run([os.path.join(options.truth, program), "--list"], check=True,
                            stdout=subprocess.PIPE, text=True)
    return [f"{program}/{case}" for case in listed.stdout.split()]


def cases(report, options):
    for program in PROGRAMS:
        for name in truth_cases(options, program):
            report.run(name, run_case, options, name)
    for name in ATTACHED:
        report.run(f"attach/{name}", attach_case, options, name)
    report.run("storm/detach_and_attach", storm_paused, options)
    report.run("storm/attach_in_mid_storm", storm_running, options)


if __name__ == "__main__":
    sys.exit(main_of("tests/e2e/run.py", __doc__.splitlines()[0], cases))
