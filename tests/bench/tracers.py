# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What is put on a process while its faults are timed: nothing, empty programs, cowtrace, its peers.

A tracer is started for each round of storms anew and stopped after it, so that all of them are
measured on the same machine in the same minutes. None is bound to a CPU.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

READY_SECONDS = 20


class Skip(Exception):
    """This can't be measured here; the text says why."""


class Broken(Exception):
    """A program did not do what it was started for; the text says what."""


def wait_for(stream, wanted, seconds=READY_SECONDS):
    """Read the unbuffered @stream until a line matches; the text up to there, as far as it came."""
    text, deadline = b"", time.monotonic() + seconds
    while not re.search(wanted, text.decode(errors="replace")):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            break
        piece = os.read(stream.fileno(), 65536)
        if not piece:
            break
        text += piece
    return text.decode(errors="replace")


class Process:
    """A child process that is gone when this is over, whatever happens."""

    def __init__(self, command, **more):
        self.name = os.path.basename(command[0])
        self.child = subprocess.Popen(command, bufsize=0, **more)

    def wait_ready(self, stream, wanted, seconds=READY_SECONDS):
        text = wait_for(stream, wanted, seconds)
        if not re.search(wanted, text):
            self.kill()
            said = [line for line in text.splitlines() if "rror" in line] or text.splitlines()
            raise Broken(f"{self.name} did not get ready: {said[-1] if said else 'no word'}")
        return text

    def finish(self, sig=None, seconds=READY_SECONDS):
        """End it by @sig, or by the end of its input. Whatever it still says is thrown away."""
        if sig:
            self.child.send_signal(sig)
        try:
            self.child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken(f"{self.name} did not end within {seconds} s") from None
        return self.child.returncode

    def kill(self):
        self.child.kill()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream:
                stream.close()
        self.child.wait()


class NoTracer:
    name, process = "none", None

    def __init__(self, setup):
        del setup

    def start(self, pid):
        pass

    def stop(self):
        pass

    def abandon(self):
        if self.process:
            self.process.kill()


class Empty(NoTracer):
    """Programs that do nothing, where cowtrace's hook has programs."""
    name = "empty"

    def __init__(self, setup):
        super().__init__(setup)
        self.command = [os.path.join(setup.build, "bench", "empty"), setup.hook]

    def start(self, pid):
        self.process = Process(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
        self.places = self.process.wait_ready(self.process.child.stdout, "attached.*\n")

    def stop(self):
        if self.process.finish():
            raise Broken("empty ended by itself")


class Cowtrace(NoTracer):
    name = "cowtrace"

    def __init__(self, setup):
        super().__init__(setup)
        self.setup, self.totals, self.seen = setup, None, []

    def start(self, pid):
        self.file = tempfile.NamedTemporaryFile(prefix="cowtrace-bench-", suffix=".json")
        self.process = Process(
            [self.setup.cowtrace, "--plain", "--json", self.file.name, "--hook", self.setup.hook,
             *self.setup.options, "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.process.wait_ready(self.process.child.stderr, "tracing .*\n")

    def stop(self):
        status = self.process.finish(signal.SIGINT)
        if status:
            raise Broken(f"cowtrace ended with status {status}")
        self.read_totals()

    def read_totals(self):
        with open(self.file.name, encoding="utf-8") as file:
            self.totals = json.load(file)["totals"]
        self.seen.append(self.totals)
        self.file.close()


class Bpftrace(NoTracer):
    """Counts by address. A map of its default size, 4096 keys, would stop counting without a word.

    It finds tracepoints in tracefs: where that is not mounted, it is for bpftrace alone."""
    name = "bpftrace"
    MOUNT = """[ -d /sys/kernel/debug/tracing/events ] || mount -t debugfs none /sys/kernel/debug
               [ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing
               exec "$@" """
    SCRIPT = """tracepoint:exceptions:page_fault_user { @[args->address] = count(); }
                interval:ms:50 { printf("ready\\n"); } END { clear(@); }"""

    def __init__(self, setup):
        super().__init__(setup)
        self.path = shutil.which("bpftrace")
        if not self.path:
            raise Skip("bpftrace is not installed")

    def start(self, pid):
        self.process = Process(["unshare", "-m", "sh", "-c", self.MOUNT, "sh", self.path, "-e",
                                self.SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, "BPFTRACE_MAP_KEYS_MAX": "262144"})
        self.process.wait_ready(self.process.child.stdout, "ready\n")

    def stop(self):
        self.process.finish(signal.SIGINT)


class Perf(NoTracer):
    """Every fault with its address, in a buffer big enough to lose none (a lost one costs less)."""
    name = "perf"

    def __init__(self, setup):
        super().__init__(setup)
        self.path = shutil.which("perf")
        if not self.path:
            raise Skip("perf is not installed")

    def start(self, pid):
        tell, told = os.pipe(), os.pipe()
        self.process = Process(
            [self.path, "record", "-q", "-e", "page-faults", "-c", "1", "-d", "-m", "2048", "-o", "/dev/null",
             "-D", "-1", f"--control=fd:{tell[0]},{told[1]}", "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(tell[0], told[1]))
        os.close(tell[0])
        os.close(told[1])
        try:
            os.write(tell[1], b"enable\n")
            with os.fdopen(told[0], "rb", buffering=0) as stream:
                self.process.wait_ready(stream, "ack")
        finally:
            os.close(tell[1])

    def stop(self):
        self.process.finish(signal.SIGINT)


class Storm:
    """tests/bench/storm.c at its standard input, bound to one CPU."""

    def __init__(self, setup):
        self.process = Process([os.path.join(setup.build, "bench", "storm"), str(setup.cpu)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        head = self.process.wait_ready(self.process.child.stdout, "slice [0-9]+\n")
        self.pid, self.slice = self.process.child.pid, int(head.split()[1])

    def run(self, what, times):
        """Nanoseconds a page of each slice."""
        self.process.child.stdin.write(f"{what} {times}\n".encode())
        text = self.process.wait_ready(self.process.child.stdout, "\n", 60)
        return [int(word) / self.slice for word in text.split()]

    def close(self):
        self.process.kill()
