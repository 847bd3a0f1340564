#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The command line: bad input, signals, exit statuses, options, a terminal.

Exit statuses: 0 done, 1 the tool failed, 2 usage, 3 nothing to attach to; with -- CMD, CMD's own.
"""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

from common import (Attached, Failed, Skip, check_invariants, expect, group, load, main_of,
                    rows_by_pid, run)

DONE, TOOL_FAILED, USAGE, NOTHING = 0, 1, 2, 3
NOBODY = 65534
AXES = ("cell", "cause", "type", "writer", "page", "process")


def cowtrace(options, *arguments, prefix=(), **keywords):
    return run([*prefix, options.cowtrace, *arguments], options.timeout, **keywords)


def error_lines(finished, with_report):
    """Standard error without the line that says what is traced, and without a report: with
    -- CMD that goes there too, standard output being CMD's."""
    lines = [line for line in finished.err.strip().splitlines()
             if not line.startswith("cowtrace: tracing")]
    if with_report:
        lines = [line for line in lines if line.startswith("cowtrace: ") and "·" not in line]
    return lines


def check_error(finished, status, *words, lines=1, with_report=False):
    """One clear line that says what is wrong, and the right status."""
    err = "\n".join(error_lines(finished, with_report))
    statuses = status if isinstance(status, tuple) else (status,)
    expect(finished.status in statuses,
           f"exit status {finished.status} instead of {'/'.join(map(str, statuses))}: {err!r}")
    expect(err, "nothing on standard error")
    expect(len(err.splitlines()) <= lines, f"{len(err.splitlines())} lines instead of {lines}: "
                                           f"{err!r}")
    for word in words:
        expect(re.search(word, err, re.IGNORECASE), f"no {word!r} in {err!r}")
    expect("Sanitizer" not in err and "libbpf:" not in err, f"noise: {err!r}")
    return err.splitlines()[0]


@contextlib.contextmanager
def sleeper(seconds="1000"):
    with group(["sleep", seconds], stdin=subprocess.DEVNULL) as process:
        yield process


@contextlib.contextmanager
def busy():
    """A shell that forks without end, so that there is something to show."""
    script = "while :; do (x=$(seq 200)); done"
    with group(["sh", "-c", script], stdin=subprocess.DEVNULL,
               stdout=subprocess.DEVNULL) as process:
        yield process


# ---- nothing to attach to ----

def no_such_pid(options):
    return check_error(cowtrace(options, "-p", "4194301"), NOTHING, "4194301")


def zombie(options):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return check_error(cowtrace(options, "-p", str(pid)), NOTHING, "zombie", str(pid))
    finally:
        os.waitpid(pid, 0)


def kernel_thread(options):
    with open("/proc/2/comm", encoding="utf-8") as file:
        if file.read().strip() != "kthreadd":
            raise Skip("pid 2 is no kernel thread here")
    return check_error(cowtrace(options, "-p", "2"), NOTHING, "kernel thread")


def itself(options):
    finished = run(["sh", "-c", 'exec "$0" -p $$', options.cowtrace], options.timeout)
    return check_error(finished, (NOTHING, USAGE), "itself|self|own")


def pid_one(options):
    return check_error(cowtrace(options, "-p", "1", "-d", "1"), (NOTHING, USAGE), r"\b1\b|init")


def thread_id(options):
    """A thread is not a process: say whose it is, or trace its process; but say so."""
    script = ("import threading, time\nt = threading.Thread(target=time.sleep, args=(1000,))\n"
              "t.daemon = True\nt.start()\nprint(t.native_id, flush=True)\ntime.sleep(1000)")
    with group(["/usr/bin/python3", "-c", script], stdin=subprocess.DEVNULL,
               stdout=subprocess.PIPE, text=True) as process:
        tid = process.stdout.readline().strip()
        return check_error(cowtrace(options, "-p", tid, "-d", "1"), (DONE, NOTHING), tid, lines=20)


# ---- usage ----

def usage_case(*arguments, words=()):
    def check(options):
        return check_error(cowtrace(options, *arguments), USAGE, *words, lines=2)
    return check


USAGE_CASES = {
    "no_arguments": usage_case(),
    "pid_not_a_number": usage_case("-p", "abc", words=("abc",)),
    "pid_negative": usage_case("-p", "-5", words=("-5",)),
    "pid_zero": usage_case("-p", "0"),
    "pid_empty": usage_case("-p", ""),
    "pid_huge": usage_case("-p", "99999999999999999999"),
    "pid_and_command": usage_case("-p", "1", "--", "true"),
    "unknown_option": usage_case("--frobnicate", words=("frobnicate",)),
    "unknown_hook": usage_case("--hook", "magic", "--", "true", words=("magic", "tracepoint")),
    "unknown_key": usage_case("--by", "color", "--", "true", words=("color", "cell")),
    "bad_duration": usage_case("-d", "soon", "--", "true", words=("soon",)),
    "negative_duration": usage_case("-d", "-1", "--", "true"),
    "bad_interval": usage_case("-i", "x", "--", "true", words=("x",)),
    "missing_value": usage_case("-p"),
    "no_command": usage_case("--"),
}


# ---- permissions ----

def as_nobody(options, *setpriv):
    """The tool where nobody may read and run it, started with the given capabilities only."""
    if not shutil.which("setpriv"):
        raise Skip("no setpriv")
    with tempfile.TemporaryDirectory(prefix="cowtrace-e2e-") as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy(options.cowtrace, directory)
        os.chmod(program, 0o755)
        target = subprocess.Popen(["setpriv", f"--reuid={NOBODY}", "--clear-groups", "sleep",
                                   "1000"], stdin=subprocess.DEVNULL)
        try:
            return run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                        *setpriv, program, "-d", "1", "-p", str(target.pid)], options.timeout,
                       cwd="/")
        finally:
            target.kill()
            target.wait()


def not_root(options):
    return check_error(as_nobody(options, "--inh-caps=-all"), TOOL_FAILED, "CAP_BPF|root")


def not_enough(options):
    finished = as_nobody(options, "--inh-caps=+bpf", "--ambient-caps=+bpf")
    return check_error(finished, TOOL_FAILED, "CAP_PERFMON")


# ---- output that can't be written ----

def json_unwritable(options):
    with tempfile.TemporaryDirectory() as directory:
        ran = os.path.join(directory, "ran")
        finished = cowtrace(options, "--json", "/nonexistent/x.json", "--", "touch", ran)
        expect(not os.path.exists(ran), "the command was run all the same")
        return check_error(finished, (TOOL_FAILED, USAGE), "/nonexistent/x.json")


def json_full_disk(options):
    finished = cowtrace(options, "--json", "/dev/full", "--", "true")
    return check_error(finished, TOOL_FAILED, "No space left", with_report=True)


def stdout_full_disk(options):
    with sleeper() as target, open("/dev/full", "wb") as full:
        finished = cowtrace(options, "-d", "1", "-p", str(target.pid), stdout=full)
    return check_error(finished, TOOL_FAILED, "No space left", with_report=True)


def json_full_stdout(options):
    with open("/dev/full", "wb") as full:
        finished = cowtrace(options, "--json", "-", "--", "true", stdout=full)
    return check_error(finished, TOOL_FAILED, "No space left", with_report=True)


def closed_stdout(options):
    finished = run(["sh", "-c", 'exec "$0" -- true >&-', options.cowtrace], options.timeout)
    expect(finished.status in (DONE, TOOL_FAILED), f"exit status {finished.status}")
    return f"exit status {finished.status}"


def head(options):
    """The reader goes away after a line: end soon, and not by crashing."""
    with busy() as target:
        script = '"$0" -i 0.2 -d 30 -p "$1" | head -n 1; exit ${PIPESTATUS[0]}'
        finished = run(["bash", "-c", script, options.cowtrace, str(target.pid)], options.timeout)
    expect(finished.status in (DONE, TOOL_FAILED, 128 + signal.SIGPIPE),
           f"exit status {finished.status}: {finished.last_error()}")
    expect(finished.seconds < 15, f"took {finished.seconds:.0f} s to notice")
    expect(len(finished.out.splitlines()) == 1, f"head printed {finished.out!r}")
    return f"exit status {finished.status}"


# ---- what becomes of the target ----

def status_case(script, status):
    def check(options):
        finished = cowtrace(options, "--hook", options.hook, "--", "sh", "-c", script)
        expect(finished.status == status, f"exit status {finished.status}: {finished.last_error()}")
    return check


STATUS_CASES = {
    "status_0": status_case("exit 0", 0),
    "status_1": status_case("exit 1", 1),
    "status_42": status_case("exit 42", 42),
    "status_killed": status_case("kill -9 $$", 128 + signal.SIGKILL),
    "status_terminated": status_case("kill -15 $$", 128 + signal.SIGTERM),
}


def dies_at_once(options):
    for _ in range(5):
        finished = cowtrace(options, "--hook", options.hook, "--", "/bin/true")
        expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")


def unknown_verb(options):
    """A word that is no verb: usage, or a command that does not exist."""
    return check_error(cowtrace(options, "frobnicate"), (USAGE, 127), "frobnicate")


def command_not_found(options):
    return check_error(cowtrace(options, "--", "/nonexistent/program"), (127, 126, NOTHING),
                       "/nonexistent/program")


def target_ends(options):
    """-p ends by itself with its target."""
    with sleeper("4") as target:
        reaper = subprocess.Popen([options.cowtrace, "--hook", options.hook, "-p", str(target.pid)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            target.wait()
            status = reaper.wait(timeout=10)
        except subprocess.TimeoutExpired as late:
            raise Failed("does not end when its target has ended") from late
        finally:
            reaper.kill()
            reaper.wait()
    expect(status == 0, f"exit status {status}")


def command_output(options):
    """The target's own output and input are left alone."""
    finished = cowtrace(options, "--json", "/dev/null", "--", "cat", text_in="from the caller\n")
    expect("from the caller\n" in finished.out, f"standard output: {finished.out!r}")


# ---- signals ----

def signal_case(number):
    def check(options):
        with busy() as target, Attached(options, target.pid) as attached:
            time.sleep(0.5)
            document = attached.stop(number)
            check_invariants(document)
            expect(document["totals"]["unshared"] > 0, "a busy shell copied nothing")
            expect(target.poll() is None, "the target died")
            return f"{document['hook']}, n={document['totals']['unshared']}"
    return check


def signal_summary(options):
    with busy() as target, group([options.cowtrace, "-p", str(target.pid)], text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) as tracer:
        while "tracing" not in tracer.stderr.readline():
            expect(tracer.poll() is None, "ended before it was attached")
        time.sleep(0.5)
        tracer.terminate()
        out, _ = tracer.communicate(timeout=options.timeout)
    expect(tracer.returncode == 0, f"exit status {tracer.returncode}")
    expect("unshared" in out, f"no summary: {out[-300:]!r}")


def killed(options):
    """SIGKILL: nothing pinned, the target lives."""
    with busy() as target:
        with Attached(options, target.pid) as attached:
            attached.process.kill()
            attached.process.wait()
        time.sleep(0.3)
        expect(target.poll() is None, "the target died")
        for base, _, files in os.walk("/sys/fs/bpf"):
            left = [name for name in files if name.startswith("ct_") or "cowtrace" in name]
            expect(not left, f"left behind: {base}/{left}")


# ---- options ----

def version(options):
    finished = cowtrace(options, "--version")
    expect(finished.status == 0 and re.match(r"cowtrace \S+", finished.out),
           f"{finished.status}: {finished.out!r}")
    return finished.out.strip().splitlines()[0]


def help_text(options):
    finished = cowtrace(options, "--help")
    expect(finished.status == 0, f"exit status {finished.status}")
    for word in ("-p", "--by", "--hook", "--json", "--no-follow", "-d", "-i", "doctor",
                 "Examples?"):
        expect(re.search(word, finished.out, re.IGNORECASE), f"no {word} in --help")
    expect(not finished.err, f"standard error: {finished.err!r}")


def doctor(options):
    finished = cowtrace(options, "doctor")
    expect(finished.status in (DONE, TOOL_FAILED), f"exit status {finished.status}")
    for hook in ("fexit", "kprobe", "tracepoint"):
        expect(hook in finished.out, f"no word on {hook}: {finished.out!r}")


def first_line(options):
    with sleeper() as target:
        finished = cowtrace(options, "--hook", options.hook, "-d", "1", "-p", str(target.pid))
    expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
    line = finished.out.splitlines()[0] if finished.out else ""
    expect("sleep" in line and str(target.pid) in line, f"no target in the first line: {line!r}")
    release = os.uname().release.split("-")[0]
    for word in ("tracepoint|fexit|kprobe", re.escape(release), r"\d+(\.\d+)? ?s", "undetailed"):
        expect(re.search(word, line), f"no {word} in the first line: {line!r}")
    return line


def duration(options):
    with sleeper() as target:
        finished = cowtrace(options, "-d", "1", "-p", str(target.pid))
        expect(target.poll() is None, "the target died")
    expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
    expect(0.9 < finished.seconds, f"took only {finished.seconds:.2f} s")
    return f"{finished.seconds:.2f} s"


def interval(options):
    with busy() as target:
        finished = cowtrace(options, "-d", "2", "-i", "0.4", "-p", str(target.pid))
    blocks = len(re.findall("undetailed", finished.out))
    expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
    expect(4 <= blocks <= 8, f"{blocks} blocks and summary in 2 s of 0.4 s")
    return f"{blocks} blocks"


def by_axis(axis):
    def check(options):
        finished = cowtrace(options, "--hook", options.hook, "--by", axis, "--",
                            os.path.join(options.truth, "anon"), "--pages", "100", "--out",
                            "/dev/null")
        if finished.status == 77:
            raise Skip(finished.last_error())
        expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
        shown = (finished.out + finished.err).lower()
        expect(re.search(rf"^ *(pid )?{axis}\b|\bby {axis}\b", shown, re.MULTILINE),
               f"no table by {axis} in the output")
    return check


def no_follow(options):
    with tempfile.TemporaryDirectory() as directory:
        path, out = os.path.join(directory, "cow.json"), os.path.join(directory, "truth.json")
        finished = cowtrace(options, "--no-follow", "--json", path, "--",
                            os.path.join(options.truth, "anon"), "--out", out)
        if finished.status == 77:
            raise Skip(finished.last_error())
        expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
        document, truth = load(path), load(out)
    pids = set(rows_by_pid(document))
    expect(pids == {truth["supervisor"]}, f"processes {pids}, not only {truth['supervisor']}")
    check_invariants(document)
    expect(document["totals"]["unshared"] < 200, f"unshared {document['totals']['unshared']}")


def json_stdout(options):
    finished = cowtrace(options, "--json", "-", "--", "sh", "-c", "(exit 0); exit 0")
    expect(finished.status == 0, f"exit status {finished.status}: {finished.last_error()}")
    try:
        document = json.loads(finished.out)
    except ValueError as error:
        raise Failed(f"standard output is not JSON alone: {finished.out[:200]!r}") from error
    check_invariants(document)


# ---- a terminal ----

def read_some(master, seconds):
    data, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.1)
        if ready:
            try:
                data += os.read(master, 65536)
            except OSError:
                break
    return data


def set_size(master, rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def terminal(options):
    """Redrawn in place, resized, keys pressed; quits on q and gives the terminal back."""
    master, slave = pty.openpty()
    set_size(master, 40, 120)
    before = termios.tcgetattr(slave)
    environment = dict(os.environ, TERM="xterm-256color", LANG="C.UTF-8")
    try:
        with busy() as target, \
                group([options.cowtrace, "-i", "0.2", "-p", str(target.pid)], stdin=slave,
                      stdout=slave, stderr=slave, env=environment) as tracer:
            shown = read_some(master, 2)
            expect(b"\x1b[" in shown, f"no live screen: {shown[-200:]!r}")
            for rows, columns in ((10, 40), (3, 12), (60, 200)):
                set_size(master, rows, columns)
                tracer.send_signal(signal.SIGWINCH)
                read_some(master, 0.4)
                expect(tracer.poll() is None, f"died of {columns} x {rows}")
            for key in (b"p", b"p", b"r", b"\x1b[A", b"\xff", b"?"):
                os.write(master, key)
                read_some(master, 0.2)
                expect(tracer.poll() is None, f"died of key {key!r}")
            os.write(master, b"q")
            end = time.monotonic() + 10
            while tracer.poll() is None and time.monotonic() < end:
                read_some(master, 0.1)
            expect(tracer.poll() is not None, "q does not quit")
            expect(tracer.returncode == 0, f"exit status {tracer.returncode}")
        expect(termios.tcgetattr(slave) == before, "the terminal is not as it was")
    finally:
        os.close(slave)
        os.close(master)


CASES = {
    "no_such_pid": no_such_pid, "zombie": zombie, "kernel_thread": kernel_thread,
    "itself": itself, "pid_one": pid_one, "thread_id": thread_id,
    **USAGE_CASES,
    "not_root": not_root, "not_enough_capabilities": not_enough,
    "json_unwritable": json_unwritable, "json_full_disk": json_full_disk,
    "stdout_full_disk": stdout_full_disk, "json_full_stdout": json_full_stdout,
    "closed_stdout": closed_stdout, "head": head,
    **STATUS_CASES,
    "dies_at_once": dies_at_once, "unknown_verb": unknown_verb,
    "command_not_found": command_not_found,
    "target_ends": target_ends, "command_output": command_output,
    "sigint": signal_case(signal.SIGINT), "sigterm": signal_case(signal.SIGTERM),
    "sighup": signal_case(signal.SIGHUP), "signal_summary": signal_summary, "killed": killed,
    "version": version, "help": help_text, "doctor": doctor, "first_line": first_line,
    "duration": duration, "interval": interval,
    **{f"by_{axis}": by_axis(axis) for axis in AXES},
    "no_follow": no_follow, "json_stdout": json_stdout, "terminal": terminal,
}


def cases(report, options):
    for name, function in CASES.items():
        report.run(f"cli/{name}", function, options)


if __name__ == "__main__":
    sys.exit(main_of("tests/e2e/cli.py", __doc__.splitlines()[0], cases))
