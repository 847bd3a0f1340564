#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The benchmarks: what tracing costs, paired in one run, against the budgets of the project.

run.py [--build DIR] [--hook HOOK] [--rounds N] [PART...]

A missed budget is told, and is no failure: numbers depend on the machine. The exit status is 1 when
something could not be measured that should have been.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

from tracers import (Bpftrace, Broken, Cowtrace, Empty, NoTracer, Perf, Process, Skip, Storm,
                     wait_for)

PART_SECONDS = 110
MIB = 1 << 20


class Setup:
    def __init__(self, options):
        self.build = os.path.abspath(options.build)
        self.cowtrace = os.path.join(self.build, "cowtrace")
        self.cpu = max(os.sched_getaffinity(0))
        self.rounds = options.rounds
        self.hook, self.options = options.hook, ()
        self.forced = ("--hook", options.hook) if options.hook else ()
        self.budgets = []

    def budget(self, what, value, limit, fine, unit=""):
        """One line of the table at the end; @fine: does @value keep within the @limit?"""
        verdict = "ok" if fine else "MISSED"
        self.budgets.append(f"{verdict:7}{what}: {value}{unit} (budget {limit}{unit})")


# --- figures -------------------------------------------------------------------------------------

FLOOR = 5  # percentile of the slices: what a fault costs when nothing else happens


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def flat(rounds):
    return [value for one in rounds for value in one]


def added(samples, name):
    """Nanoseconds that @name adds to the floor."""
    return percentile(flat(samples[name]), FLOOR) - percentile(flat(samples["none"]), FLOOR)


def added_by_round(samples, name):
    """Median, first and last quartile of what @name added in each round."""
    diffs = [percentile(one, FLOOR) - percentile(base, FLOOR)
             for one, base in zip(samples[name], samples["none"])]
    return statistics.median(diffs), percentile(diffs, 25), percentile(diffs, 75)


def print_table(samples, what):
    print(f"  {'ns per ' + what:16}{'min':>7}{'p5':>7}{'p10':>7}{'p25':>7}{'median':>7}{'added p5':>10}"
          f"{'p10':>6}{'p25':>6}{'median':>7}   p5 by round (quartiles)")
    base = flat(samples["none"])
    for name, rounds in samples.items():
        values = flat(rounds)
        line = f"  {name:16}" + "".join(f"{percentile(values, p):7.0f}" for p in (0, FLOOR, 10, 25, 50))
        if name != "none":
            diffs = [percentile(values, p) - percentile(base, p) for p in (FLOOR, 10, 25, 50)]
            middle, low, high = added_by_round(samples, name)
            line += "{:+10.0f}{:+6.0f}{:+6.0f}{:+7.0f}".format(*diffs)
            line += f"   {middle:+.0f} ({low:+.0f} to {high:+.0f})"
        print(line)


def make_tracers(setup, kinds):
    tracers = []
    for kind in kinds:
        try:
            tracers.append(kind(setup))
        except Skip as skip:
            print(f"  skip {kind.name}: {skip}")
    return tracers


def interleave(setup, tracers, pid, measure, seconds):
    """@measure under each tracer in turn, again and again: {tracer: {what: [round: [ns]]}}.

    The turn begins with another tracer each time. Peers start slowly: they have every third one."""
    samples = {tracer.name: {} for tracer in tracers}
    deadline = time.monotonic() + seconds
    for number in range(setup.rounds):
        if number >= 3 and time.monotonic() > deadline:
            break
        for tracer in tracers[number % len(tracers):] + tracers[:number % len(tracers)]:
            if tracer.name not in samples or (tracer.name not in OURS and number % 3):
                continue
            try:
                tracer.start(pid)
                for what, values in measure().items():
                    samples[tracer.name].setdefault(what, []).append(values)
                tracer.stop()
            except Broken as broken:
                if tracer.name in OURS:
                    raise
                print(f"  skip {tracer.name}: {broken}")
                samples.pop(tracer.name)
            finally:
                tracer.abandon()
    return samples


OURS = ("none", "empty", "cowtrace")


# --- the parts -----------------------------------------------------------------------------------

def part_storm(setup):
    """A copy-on-write storm: ns that tracing adds to each fault"""
    storms, warm, storm = 12, 2, Storm(setup)
    tracers = make_tracers(setup, (NoTracer, Empty, Cowtrace, Bpftrace, Perf))
    ours = next(t for t in tracers if t.name == "cowtrace")

    def measure():
        storm.run("cow", warm)
        return {"fault": storm.run("cow", storms)}

    try:
        samples = interleave(setup, tracers, storm.pid, measure, 65)
    finally:
        storm.close()
    samples = {name: what["fault"] for name, what in samples.items()}
    expected = len(samples["none"][0]) * storm.slice * (storms + warm) // storms
    fewest = min(totals["copy"] for totals in ours.seen)
    print(f"  {len(samples['none'])} rounds of {storms} storms; cowtrace counted {fewest} copies or more of "
          f"{expected} a round, {sum(totals['undetailed'] for totals in ours.seen)} undetailed")
    print_table(samples, "fault")
    if fewest < expected:
        raise Broken(f"cowtrace missed faults: {fewest} of {expected}")
    judge_storm(setup, samples)


def judge_storm(setup, samples):
    cost = added(samples, "cowtrace")
    for name, factor, words in (("empty", 2, "2"), ("bpftrace", 0.5, "1/2"), ("perf", 1 / 3, "1/3")):
        if name in samples:
            other = added(samples, name)
            ratio = cost / other if other > 0 else float("inf")
            setup.budget(f"added cost of a fault, as a multiple of {name}'s ({cost:.0f} ns of {other:.0f})",
                         f"{ratio:.2f}", words, ratio <= factor)


def list_programs():
    done = subprocess.run(["bpftool", "--json", "prog", "show"], capture_output=True, check=True,
                          timeout=20)
    return {program["id"]: program for program in json.loads(done.stdout)}


def time_programs(setup, tracer, foreign):
    """{place: (runs a fault, ns a run)} of a tracer's programs, as the kernel counts them."""
    storm, target, times, storms = Storm(setup), Storm(setup), {}, 30
    try:
        before = list_programs()
        tracer.start(target.pid if foreign else storm.pid)
        clock = Process([os.path.join(setup.build, "bench", "empty"), "--stats"], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE)
        try:
            clock.wait_ready(clock.child.stdout, "on\n")
            faults = len(storm.run("cow", storms)) * storm.slice
        finally:
            clock.kill()
        for number, program in list_programs().items():
            if number not in before and program.get("run_cnt", 0) > faults / 10:
                times[program["name"]] = (program["run_cnt"] / faults,
                                          program["run_time_ns"] / program["run_cnt"])
        tracer.stop()
    finally:
        tracer.abandon()
        storm.close()
        target.close()
    return times


def part_programs(setup):
    """The BPF programs themselves: ns a run, by the kernel's clock (included), x runs for each fault

    More than one run is also other processes' doing; theirs are the short ones."""
    for kind, foreign in ((Empty, False), (Cowtrace, False), (Cowtrace, True)) * 2:
        times = time_programs(setup, kind(setup), foreign)
        print(f"  {kind.name + (', foreign' if foreign else ''):18}"
              + ", ".join(f"{name} {ns:.0f} x {runs:.2f}" for name, (runs, ns) in times.items()))


def cpu_of(pid):
    """Seconds of CPU, and the peak of resident bytes, of a living process."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        peak = int(re.search(r"VmHWM:\s*(\d+)", file.read()).group(1)) * 1024
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), peak


def part_flood(setup):
    """Four processes that fault at full speed for 10 s, the default ring"""
    flood = Process([os.path.join(setup.build, "bench", "storm"), "--flood", "4", "10", "64"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    tracer = Cowtrace(setup)
    try:
        tracer.start(flood.child.pid)
        flood.child.stdin.write(b"go\n")
        time.sleep(9.5)
        seconds, peak = cpu_of(tracer.process.child.pid)
        text = flood.wait_ready(flood.child.stdout, "[0-9.]+\n", 40)
        tracer.process.finish(seconds=40)  # its target has ended, so it ends
        status = tracer.process.child.returncode
    finally:
        flood.kill()
        tracer.abandon()
    if status:
        raise Broken(f"cowtrace ended with status {status}")
    tracer.read_totals()
    written, wall = int(text.split()[0]), float(text.split()[1])
    totals = tracer.totals
    print(f"  {written} pages written in {wall:.1f} s: {written / wall / 1000:.0f} k faults/s; cowtrace "
          f"counted {totals['copy']} copies, {totals['undetailed']} undetailed")
    print(f"  cowtrace itself: {seconds / 9.5 * 100:.0f} % of one CPU, peak RSS {peak / MIB:.0f} MiB")
    if totals["copy"] < written:
        raise Broken(f"cowtrace missed faults: {totals['copy']} of {written}")
    setup.budget("undetailed in 10 s of 4 processes at full speed", totals["undetailed"], 0,
                 totals["undetailed"] == 0)


def run_consumer(setup, mode):
    done = subprocess.run([os.path.join(setup.build, "bench", "consumer"), mode], text=True,
                          capture_output=True, timeout=PART_SECONDS, check=False)
    if done.returncode:
        raise Broken(f"consumer {mode}: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    lines = {}
    for line in done.stdout.splitlines():
        words = line.split()
        lines[words[0], words[1]] = [float(word) for word in words[2:]]
    return lines


def part_consumer(setup):
    """The consumer alone, one thread: records through resolver and tally"""
    names = {"uniform": "pools of one type, a filled ring", "ring": "mixed pools, a filled ring",
             "array": "mixed pools, an array", "scattered": "mixed pools, pages at random"}
    print(f"  {'':36}{'pages':>8}{'best':>8}{'median':>8}{'worst':>8}   M records/s of CPU time")
    for (_, name), (pages, *times) in run_consumer(setup, "rate").items():
        rates = sorted(1000 / t for t in times)
        middle = statistics.median(rates)
        print(f"  {names[name]:36}{pages:8.0f}{rates[-1]:8.2f}{middle:8.2f}{rates[0]:8.2f}")
        if name in ("uniform", "ring"):
            setup.budget(f"consumer, M records/s, {names[name]}", f"{middle:.2f}", 3, middle >= 3)


def part_big(setup):
    """1,000 children, 5,000,000 (child, page): is there a knee, and what does a page take?"""
    names = {"same": "the same 5,000 pages of a heap", "distinct": "5,000,000 distinct pages"}
    lines = run_consumer(setup, "big")
    for kind, title in names.items():
        if ("big", kind) not in lines:
            print(f"  skip {title}: 20 GB of address space can't be reserved here")
            continue
        rates = [1000 / t for t in lines["big", kind]]
        pages, tally, resident = lines["memory", kind]
        redraw, report = lines["snapshot", kind]
        knee = min(rates) / statistics.median(rates)
        print(f"  {title}: M records/s in each tenth: {' '.join(f'{r:.2f}' for r in rates)}")
        print(f"    memory: tally {tally / MIB:.0f} MiB = {tally / pages:.0f} B a page, process "
              f"+{resident / MIB:.0f} MiB; a snapshot takes {redraw:.1f} ms, with pages {report:.1f} ms")
        most = max(tally, resident)
        setup.budget(f"memory, {title}, bytes a page over 64 MiB",
                     f"{max(0, most - 64 * MIB) / pages:.0f}", 64, most <= 64 * MIB + 64 * pages)
        setup.budget(f"no knee, {title}: slowest tenth / median", f"{knee:.2f}", 0.5, knee >= 0.5)


def attach_once(setup, pid):
    """Milliseconds from exec to the line "tracing", and to the end of the first block."""
    start = time.monotonic()
    process = Process([setup.cowtrace, "--plain", "-i", "0.1", *setup.forced, "-p", str(pid)],
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.wait_ready(process.child.stderr, "tracing .*\n")
        tracing = time.monotonic()
        wait_for(process.child.stdout, "\n")
        block = time.monotonic()
        process.finish(signal.SIGINT)
    finally:
        process.kill()
    return (tracing - start) * 1000, (block - start) * 1000


def part_attach(setup):
    """From the start of cowtrace to its first lines"""
    target = Storm(setup)
    try:
        runs = [attach_once(setup, target.pid) for _ in range(10)]
    finally:
        target.close()
    for index, what in enumerate(('"tracing" on stderr', "first block with -i 0.1")):
        times = [run[index] for run in runs]
        print(f"  {what:26}{statistics.median(times):6.0f} ms (median of {len(times)}; "
              f"{min(times):.0f} to {max(times):.0f})")
        setup.budget(f"attach to {what}", f"{statistics.median(times):.0f}", 400,
                     statistics.median(times) <= 400, " ms")


def part_foreign(setup):
    """What others pay while cowtrace traces a process that sleeps"""
    sleeper, other = Storm(setup), Storm(setup)
    whats = {"touch": "first touch of a page", "cow": "copy-on-write fault",
             "populate": "page allocated and freed without a fault"}

    def measure():
        other.run("cow", 1)
        return {what: other.run(what, 8) for what in whats}

    try:
        tracers = make_tracers(setup, (NoTracer, Empty, Cowtrace))
        samples = interleave(setup, tracers, sleeper.pid, measure, 35)
    finally:
        sleeper.close()
        other.close()
    table = {what: {name: rounds[what] for name, rounds in samples.items()} for what in whats}
    for what, title in whats.items():
        print(f"  {title}:")
        print_table(table[what], "page")
    for what, title in whats.items():
        print(f"  a foreign {title} costs {added(table[what], 'cowtrace'):+.0f} ns more "
              f"(empty programs: {added(table[what], 'empty'):+.0f})")


PARTS = {"storm": part_storm, "programs": part_programs, "flood": part_flood, "consumer": part_consumer, "big": part_big,
         "attach": part_attach, "foreign": part_foreign}


def find_hook(setup):
    """The hook that cowtrace itself chooses."""
    sleeper = Storm(setup)
    try:
        process = Process([setup.cowtrace, "--plain", "-d", "0.1", "-p", str(sleeper.pid)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        text = process.wait_ready(process.child.stderr, "by hook \\w+.*\n")
        process.finish()
    finally:
        sleeper.close()
    print(text.strip().splitlines()[-1])
    return re.search(r"by hook (\w+)", text).group(1)


def on_alarm(number, frame):
    raise Broken(f"took more than {PART_SECONDS} s")


def describe(setup):
    with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as file:
        stats = file.read().strip()
    print(f"kernel {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, faults on CPU "
          f"{setup.cpu}, hook {setup.hook}" + (", BPF STATISTICS ARE ON" if stats != "0" else ""))


def main():
    import python  # pylint: disable=import-outside-toplevel; it takes from here what all parts use
    PARTS.update(python.PARTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--hook", help="default: the one that cowtrace chooses")
    parser.add_argument("--rounds", type=int, default=40, help="at most (default 40)")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part '{part}': there are {' '.join(PARTS)}")
    setup, failed = Setup(options), False
    signal.signal(signal.SIGALRM, on_alarm)
    setup.hook = setup.hook or find_hook(setup)
    describe(setup)
    for name in options.parts or PARTS:
        print(f"{name}: {PARTS[name].__doc__.splitlines()[0]}", flush=True)
        signal.alarm(PART_SECONDS)
        try:
            PARTS[name](setup)
        except (Broken, OSError, subprocess.SubprocessError) as error:
            print(f"  FAIL {name}: {error}")
            failed = True
        finally:
            signal.alarm(0)
        sys.stdout.flush()
    print("budgets:")
    for line in setup.budgets:
        print(f"  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
