#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The parts of run.py that need a CPython to trace: rate, attach, latency, the cost of stacks."""

import os
import statistics
import subprocess
import tempfile
import time

import run
from tracers import Broken, Cowtrace, Empty, NoTracer, Process, Storm

PYTHON = os.environ.get("CT_BENCH_PYTHON", "python3.11")
MIB_OF_HEAP = int(os.environ.get("CT_BENCH_HEAP_MIB", "2048"))
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python_target.py")
REQUESTS = 2000


def start_target(*arguments):
    return Process([PYTHON, TARGET, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run_rate(setup, pid, path):
    done = subprocess.run([os.path.join(setup.build, "bench", "python_rate"), str(pid), path], text=True,
                          capture_output=True, timeout=run.PART_SECONDS, check=False)
    if done.returncode:
        raise Broken(f"python_rate: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    return [line.split() for line in done.stdout.splitlines()]


def attach_ms(setup, pid):
    """From exec to the first line that says that it traces."""
    start = time.monotonic()
    process = Process([setup.cowtrace, "--plain", "-d", "0.01", *setup.forced, "-p", str(pid)],
                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        process.wait_ready(process.child.stderr, "tracing .*\n")
        return (time.monotonic() - start) * 1000
    finally:
        process.kill()


def tell_rate(setup, lines, heap_mib):
    for what, name, *words in lines:
        if what == "rate":
            rates = sorted(1000 / float(word) for word in words)
            middle = statistics.median(rates)
            print(f"  objects {name:12}{rates[-1]:6.2f} best, {middle:.2f} median, {rates[0]:.2f} worst: "
                  "M records/s of CPU time")
            if name != "alone":  # one child that writes every page once: each costs a read of its memory
                setup.budget(f"CPython heap, M records/s, objects {name}", f"{middle:.2f}", 1, middle >= 1)
        elif what == "resolved" and int(words[1]) < int(words[0]) * 0.995:
            raise Broken(f"only {words[1]} of {words[0]} records were given a cell and a type")
        elif what == "right":
            print(f"  of {name} objects {words[0]} have the right start and {words[1]} the right type")
            if words[1] != name:
                raise Broken(f"{int(name) - int(words[1])} of {name} objects are not right")
        elif what == "memory":
            percent = int(name) / (heap_mib << 20) * 100
            print(f"  readers hold {int(name) / run.MIB:.1f} MiB = {percent:.2f} % of the heap")
            setup.budget("readers' memory, % of the target's heap", f"{percent:.2f}", 1, percent <= 1)
        elif what == "open":
            print(f"  ct_heaps__open takes {float(name):.1f} ms")


def part_python(setup):
    """A 2 GB CPython heap: records/s to object and type, the readers' memory, attach"""
    with tempfile.TemporaryDirectory(prefix="cowtrace-bench-") as folder:
        path = os.path.join(folder, "objects")
        target = start_target("heap", MIB_OF_HEAP, path)
        try:
            head = target.wait_ready(target.child.stdout, "ready .*\n", 90)
            heap_mib, count = map(int, head.split()[1:3])
            print(f"  {heap_mib} MiB resident, {count} objects known; {PYTHON}")
            times = [attach_ms(setup, target.child.pid) for _ in range(5)]
            print(f"  attach {statistics.median(times):.0f} ms (median of 5; {min(times):.0f} to {max(times):.0f})")
            setup.budget("attach to a 2 GB Python", f"{statistics.median(times):.0f}", 300,
                         statistics.median(times) <= 300, " ms")
            tell_rate(setup, run_rate(setup, target.child.pid, path), heap_mib)
        finally:
            target.kill()


class Server:
    """python_target.py serve."""

    def __init__(self):
        self.process = start_target("serve")
        self.process.wait_ready(self.process.child.stdout, "ready\n", 60)
        self.pid = self.process.child.pid

    def serve(self):
        self.process.child.stdin.write(f"serve {REQUESTS}\n".encode())
        return [int(word) for word in self.process.wait_ready(self.process.child.stdout, "\n", 60).split()]


def part_latency(setup):
    """Latency of requests that read shared objects, with and without cowtrace, in turn"""
    server, samples = Server(), {}
    try:
        tracers = run.make_tracers(setup, (NoTracer, Cowtrace))
        server.serve()
        samples = run.interleave(setup, tracers, server.pid, lambda: {"request": server.serve()}, 40)
    finally:
        server.process.kill()
    print(f"  {'us per request':16}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}   requests")
    figures = {}
    for name, whats in samples.items():
        values = sorted(run.flat(whats["request"]))
        figures[name] = [run.percentile(values, p) / 1000 for p in (50, 99, 99.9)] + [values[-1] / 1000]
        print(f"  {name:16}" + "".join(f"{value:9.1f}" for value in figures[name]) + f"   {len(values)}")
    ratios = [with_it / without for with_it, without in zip(figures["cowtrace"], figures["none"])]
    print("  ratio           " + "".join(f"{ratio:9.2f}" for ratio in ratios))


class PythonStorm(Storm):
    """Storm of a Python process: python_target.py storm."""

    def __init__(self, setup):  # pylint: disable=super-init-not-called
        self.process = start_target("storm", setup.cpu)
        head = self.process.wait_ready(self.process.child.stdout, "slice [0-9]+\n", 60)
        self.pid, self.slice = self.process.child.pid, int(head.split()[1])


class Stacks(Cowtrace):
    """With the stack of each 16th fault."""
    name = "stacks"

    def start(self, pid):
        plain, self.setup.options = self.setup.options, ("--stacks=16",)
        try:
            super().start(pid)
        finally:
            self.setup.options = plain


def part_stacks(setup):
    """A storm of Python's: ns that tracing adds to each fault, without and with --stacks=16"""
    run.OURS = ("none", "empty", "cowtrace", "stacks")
    storms, storm = 8, PythonStorm(setup)

    def measure():
        storm.run("cow", 1)
        return {"fault": storm.run("cow", storms)}

    try:
        tracers = run.make_tracers(setup, (NoTracer, Empty, Cowtrace, Stacks))
        samples = run.interleave(setup, tracers, storm.pid, measure, 70)
    finally:
        storm.close()
    samples = {name: what["fault"] for name, what in samples.items()}
    run.print_table(samples, "fault")
    base = run.added(samples, "empty")
    for name, limit in (("cowtrace", 2.2), ("stacks", 3)):
        cost = run.added(samples, name)
        ratio = cost / base if base > 0 else float("inf")
        setup.budget(f"Python's faults, {name}, as a multiple of empty programs' ({cost:.0f} ns of {base:.0f})",
                     f"{ratio:.2f}", limit, ratio <= limit)


PARTS = {"python": part_python, "latency": part_latency, "stacks": part_stacks}
