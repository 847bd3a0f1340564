#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Build gcfreeze for a real CPython 2.7 and run gcfreeze_case.py's cases in it.

The interpreter is $PYTHON27, or pyenv's newest 2.7, or python2.7 of the PATH that is not pyenv's
relay; where there is none or it has no headers, the cases are skipped.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "user", "gcheap", "python2", "gcfreeze.c")
WHERE = ("import sys, sysconfig; print(sys.version.split()[0]); "
         "print(sysconfig.get_paths()['include'])")
SECONDS = 120


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=SECONDS, check=False, **more)


def candidates():
    if os.environ.get("PYTHON27"):
        return [os.environ["PYTHON27"]]
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = glob.glob(os.path.join(root, "versions", "2.7*", "bin", "python2.7"))
    found.sort(key=lambda path: [int(n) for n in re.findall(r"\d+", path)], reverse=True)
    return found + ["python2.7"]


def find_python():
    """(interpreter, version, folder of its headers), or None and why not."""
    why = "no CPython 2.7 found: set PYTHON27"
    for python in candidates():
        try:
            asked = run([python, "-c", WHERE])
        except OSError:
            continue
        if asked.returncode:
            continue
        version, headers = asked.stdout.split("\n")[:2]
        if os.path.isfile(os.path.join(headers, "Python.h")):
            return (python, version, headers), None
        why = f"CPython {version} has no headers (python2.7-dev)"
    return None, why


def build(folder, headers):
    return run([os.environ.get("CC", "cc"), "-O2", "-g", "-Wall", "-Wextra", "-Werror",
                "-fno-strict-aliasing", "-fPIC", "-shared", "-isystem", headers, SOURCE,
                "-o", os.path.join(folder, "gcfreeze.so")])


def cases():
    with open(os.path.join(HERE, "gcfreeze_case.py"), encoding="utf-8") as file:
        return re.findall(r"^def case_(\w+)", file.read(), re.M)


def try_case(python, folder, case):
    """Return: what it said and what is wrong with it."""
    try:
        ended = run([python, "-B", os.path.join(HERE, "gcfreeze_case.py"), folder, case])
    except subprocess.TimeoutExpired:
        return "", f"still runs after {SECONDS} s"
    said = ended.stdout.strip().split("\n")[-1]
    return said, "" if ended.returncode == 0 else f"status {ended.returncode}: {said}"


def main():
    counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def report(how, text):
        counts[how] += 1
        print(f"{how} {text}", flush=True)

    python, why = find_python()
    with tempfile.TemporaryDirectory(prefix="gcfreeze-") as folder:
        if not python:
            for case in cases():
                report("skip", f"gcfreeze/{case}: {why}")
        else:
            built = build(folder, python[2])
            if built.returncode:
                report("FAIL", "gcfreeze/build: it does not compile")
                print(built.stdout)
            else:
                report("ok", f"gcfreeze/build (CPython {python[1]})")
                for case in cases():
                    said, wrong = try_case(python[0], folder, case)
                    if wrong:
                        report("FAIL", f"gcfreeze/{case}: {wrong}")
                    else:
                        report("ok", f"gcfreeze/{case}" + (f" ({said})" if said else ""))
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
