#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""probe.py [--build DIR] [NAME...] - what the reader knows of every CPython in reach, against the truth.

For each interpreter that fetch.py --list knows (or those named), probe_case.py runs in it and tells
the truth about itself; build/interpreters/probe looks at it from outside at the same moment:
version, type of types, every thread's stack, the lines of a few thousand code objects, collections
as they run, the end of the interpreter, sub-interpreters; and copies that say to be of a version
that nobody knows, or free-threaded, are refused by name. Needs root, or a kernel that lets a
parent read its child's memory.
"""
import argparse
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = 120
FRAMES = 64
NAME_BYTES = 255
CASES = ["stacks", "lines", "collect", "exit", "subs", "refuse"]
COOKIE = b"xdebugpy"  # of _Py_DebugOffsets


class Skip(Exception):
    """What this interpreter can't show."""


def shown(name):
    """As cowtrace shows names."""
    name = name.replace("\\", "\\\\").encode("utf-8", "surrogateescape")
    if len(name) > NAME_BYTES:
        name = name[:NAME_BYTES - 3] + b"..."
    return name.decode("utf-8")


class Subject:
    """A CPython that runs a case."""

    def __init__(self, python, case, **more):
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONIOENCODING="utf-8", **more)
        self.python = python
        self.process = subprocess.Popen([python, os.path.join(HERE, "probe_case.py"), case], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def truth(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.kill()
            said = self.process.stderr.read().decode("utf-8", "replace").strip()
            raise AssertionError("the case ended early: " + said[-300:])
        return json.loads(line)

    def go_on(self, how=b"\n"):
        self.process.stdin.write(how)
        self.process.stdin.flush()


class Seen:
    """What probe says of a process."""

    def __init__(self, probe, pid):
        ended = subprocess.run([probe, str(pid)], capture_output=True, timeout=SECONDS, check=False)
        self.values, self.threads = {}, {}
        frames = None
        for line in ended.stdout.decode("utf-8").splitlines():
            key, *rest = line.split("\t")
            if key == "thread":
                frames = []
                self.threads.setdefault(rest[0], []).append((rest[1], frames))
            elif key == "frame":
                frames.append(rest)
            else:
                self.values[key] = rest
        if ended.returncode:
            raise AssertionError("probe: " + " ".join(self.values.get("why", ["failed"])))

    def number(self, key, index=0):
        return int(self.values[key][index]) if key in self.values else -1


def check(true, what):
    if not true:
        raise AssertionError(what)


def expected_frames(stack):
    return [[shown(f"{line} {name}"), shown(path), shown(name)] for line, name, path in stack][:FRAMES]


def case_stacks(probe, subject):
    truth = subject.truth()
    seen = Seen(probe, subject.process.pid)
    check(seen.values["version"][0] == truth["version"],
          f"version {seen.values['version'][0]}, not {truth['version']}")
    check(seen.number("type") == truth["type"], "PyType_Type is elsewhere")
    check(not seen.values["no_stacks"][0], seen.values["no_stacks"][0])
    frames = 0
    for thread, stack in truth["stacks"].items():
        found = [f for _, f in seen.threads.get(thread, [])]
        check(len(found) == 1, f"thread {thread} is {len(found)} times there")
        want = expected_frames(stack)
        for place, (is_, should) in enumerate(zip(found[0], want)):
            check(is_ == should, f"frame {place} is {is_}, not {should}")
        check(len(found[0]) == len(want), f"{len(found[0])} frames, not {len(want)}")
        frames += len(want)
    if seen.values["tstate"][0] == "tls":
        for thread, states in seen.threads.items():
            check(states[0][0] == "own", f"thread {thread} has another's state")
    return f"{len(truth['stacks'])} threads, {frames} frames, found in {seen.values['ms'][0]} ms"


def case_lines(probe, subject):
    codes = subject.truth()["codes"]
    asked = "".join(f"{code} {offset}\n" for code, _, _, lines in codes for offset, _ in lines)
    ended = subprocess.run([probe, str(subject.process.pid), "lines"], input=asked.encode(), capture_output=True,
                           timeout=SECONDS, check=False)
    answers = ended.stdout.decode("utf-8").splitlines()
    wrong, count = [], 0
    for code, name, path, lines in codes:
        for offset, line in lines:
            want = "\t".join([shown(f"{line} {name}"), shown(path), shown(name)])
            if count >= len(answers) or answers[count] != want:
                wrong.append(f"code {code:#x}+{offset} is {answers[count:count + 1]}, not {want!r}")
            count += 1
    check(not wrong, f"{len(wrong)} of {count} lines: {(wrong or [''])[0]}")
    check(count > 1000, f"only {count} lines to compare")
    return f"{count} instructions of {len(codes)} code objects; {ended.stderr.decode().strip()}"


def case_collect(probe, subject):
    seen_all = 0
    while True:
        truth = subject.truth()
        check("uncollected" not in truth, "garbage was not collected")
        seen = Seen(probe, subject.process.pid)
        is_collecting = seen.number("collectors")
        if truth["generation"] is None:
            check(is_collecting == 0, "still collecting at the end")
            break
        check(is_collecting == 1, f"collecting is {is_collecting} inside a collection")
        want = [str(truth["generation"]), str(truth["collections"])]
        found = seen.values.get("generation", ["-1", "-1"])
        if found[1] == "-1":  # this version counts them nowhere we can look
            want[1] = "-1"
        check(found == want, f"generation and collections are {found}, not {want}")
        seen_all += 1
        subject.go_on()
    return f"{seen_all} collections" + (", not counted" if found[1] == "-1" else "")


def case_exit(probe, subject):
    check(subject.truth() == {"finalising": False}, "out of step")
    before = Seen(probe, subject.process.pid).number("finalising")
    subject.go_on()
    check(subject.truth() == {"finalising": True}, "out of step")
    after = Seen(probe, subject.process.pid).number("finalising")
    check((before, after) == (0, 1), f"finalising was {before}, then {after}")
    return ""


def case_subs(probe, subject):
    truth = subject.truth()
    if "missing" in truth:
        raise Skip(truth["missing"])
    seen = Seen(probe, subject.process.pid)
    check(seen.number("interpreters") == truth["interpreters"],
          f"{seen.number('interpreters')} interpreters, not {truth['interpreters']}")
    subject.go_on()
    for kind in "stack", "collect":
        for last in (False,) * 5 + (True,):
            check(subject.truth() == {"inside": kind}, "out of step")
            seen = Seen(probe, subject.process.pid)
            own = [frames for states in seen.threads.values() for how, frames in states if how == "own"]
            if own or last:
                break
            subject.go_on(b"a")  # looked too late: again
        names = [frame[2].split(".")[-1] for frame in own[0]] if own else []
        names = [name for name in names if name != "<lambda>"]
        check(names[:3] == ["say", "work", "<module>"], f"the running stack is {names}")
        collecting = [int(n) for n in seen.values["collectors"]]
        check((1 in collecting) == (kind == "collect"), f"collecting in {kind}: {collecting}")
        subject.go_on()
    return f"{truth['interpreters']} interpreters"


def file_with_interpreter(python):
    """The program or library that is CPython, and how to start another copy of it, in a folder."""
    library = glob.glob(os.path.join(os.path.dirname(os.path.dirname(python)), "lib", "libpython[23].*.so.1.0"))
    if library:  # the loader takes a preloaded library for the one of that name
        return library[0], lambda copy: (python, {"LD_PRELOAD": copy})
    real = os.path.realpath(python)
    with open(real, "rb") as file:
        script = file.read(65536)
    if script[:4] == b"\x7fELF":
        return real, lambda copy: (copy, {})
    program = re.search(r'"(/[^"]*/bin/python[0-9.]+)"', script.decode("utf-8", "replace"))
    if not program:
        raise Skip("what starts it is not understood")

    def start(copy):
        path = os.path.join(os.path.dirname(copy), "start")
        with open(path, "w", encoding="utf-8") as wrapper:
            wrapper.write(script.decode("utf-8").replace(program[1], copy))
        os.chmod(path, 0o755)
        return path, {"PYTHONHOME": os.path.dirname(os.path.dirname(program[1]))}
    return program[1], start


def refused(probe, python, change, expected):
    """Change a copy of the interpreter's file, run that, and look at it."""
    path, start = file_with_interpreter(python)
    with open(path, "rb") as file:
        changed = change(file.read())
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        copy = os.path.join(folder, os.path.basename(path))
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
        with open(copy, "wb") as file:
            file.write(changed)
        program, env = start(copy)
        with Subject(program, "exit", **env) as subject:
            subject.truth()
            try:
                Seen(probe, subject.process.pid)
            except AssertionError as why:
                check(str(why) == "probe: " + expected, f"refused with {str(why)!r}, not {expected!r}")
            else:
                check(False, f"not refused: {expected}")


def case_refuse(probe, subject):
    subject.truth()
    seen = Seen(probe, subject.process.pid)
    version = seen.values["version"][0]
    major, minor, micro = (int(n) for n in version.split("."))
    if (major, minor) < (3, 11):  # a constant string, and the end of a path that it shares its bytes with
        old, new = version, f"{major}.{'5'.ljust(len(str(minor)), '0')}.{micro}"
        refused(probe, subject.python, lambda data: data.replace(b"%s\0" % old.encode(), b"%s\0" % new.encode()),
                f"CPython {new} is not known to this version")
        return "unknown version"
    known = struct.pack("<Q", major << 24 | minor << 16 | micro << 8 | 0xf0)
    unknown = struct.pack("<Q", 3 << 24 | 16 << 16 | 0xf0)
    if minor < 15:
        refused(probe, subject.python, lambda data: data.replace(known, unknown),
                "CPython 3.16.0 is not known to this version")
    else:  # it compares its versions when it starts
        refused(probe, subject.python, lambda data: data.replace(COOKIE + known, COOKIE + unknown),
                "a CPython that does not say clearly which version it is is not read")
    if minor < 13:
        return "unknown version"
    head = COOKIE + known
    refused(probe, subject.python, lambda data: data.replace(head + bytes(8), head + b"\1" + bytes(7)),
            f"CPython {version} free-threaded builds are not read")
    refused(probe, subject.python, lambda data: data.replace(COOKIE, b"XDEBUGPY"),
            f"CPython {version} has debug offsets that make no sense")
    return "unknown version, free-threaded, no debug offsets"


def interpreters():
    listed = subprocess.run([sys.executable, os.path.join(HERE, "fetch.py"), "--list"], capture_output=True, text=True,
                            timeout=SECONDS, check=False)
    return [line.split(None, 1) for line in listed.stdout.splitlines() if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    probe = os.path.join(args.build, "interpreters", "probe")
    counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def report(how, said):
        counts[how] += 1
        print(f"{how} {said}", flush=True)

    found = [i for i in interpreters() if not args.names or i[0] in args.names]
    if not found:
        report("FAIL", "probe: no interpreter in reach (run again: tests/interpreters/fetch.py --list)")
    for name, python in found:
        for case in args.case or CASES:
            label = f"probe/{name}/{case}"
            try:
                with Subject(python, case) as subject:
                    said = globals()["case_" + case](probe, subject)
                report("ok", label + (f" ({said})" if said else ""))
            except Skip as why:
                report("skip", f"{label}: {why}")
            except (AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as why:
                report("FAIL", f"{label}: {why} (run again: tests/interpreters/probe.py --case {case} {name})")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
