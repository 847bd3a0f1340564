#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""foo() under cowtrace, in C and in Python: a list of numbers is unshared by being read, a shared
array is not.

The numbers' own pages are known: in a list each number is an object (C: 24 bytes or more, Python:
32), in an array it is 8 bytes of shared memory. So the array has to add nothing to what a run with
ten numbers unshares, but for noise, and the list nearly all pages of its objects.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "user", "gcheap", "demo", "foo.py")
PYTHON = "/usr/bin/python3"
NUMBERS, CHILDREN, OBJECT_BYTES, SECONDS = 500000, 2, 24, 120
NOISE = {"C": 8, "Python": 64}  # pages of a child, between one run and another


class Failed(Exception):
    pass


def unshared(build, command):
    """Pages that the children of @command unshared, in all."""
    with tempfile.TemporaryDirectory(prefix="foo-") as folder:
        path = os.path.join(folder, "cow.json")
        ended = subprocess.run([os.path.join(build, "cowtrace"), "--json", path, "--", *command],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
        if ended.returncode:
            raise Failed(f"status {ended.returncode}: {ended.stdout.strip()[-300:]}")
        if f"{CHILDREN} children" not in ended.stdout:
            raise Failed(f"it says: {ended.stdout.strip()[-300:]}")
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    children = sorted(document["processes"], key=lambda process: process["pid"])[1:]
    if len(children) != CHILDREN:
        raise Failed(f"{len(children)} children in the JSON")
    return sum(process["unshared"] for process in children)


def foo(build, language, kind, numbers):
    program = [os.path.join(build, "gcheap-foo")] if language == "C" else [PYTHON, DEMO]
    return unshared(build, [*program, f"--{kind}", "--numbers", str(numbers),
                            "--children", str(CHILDREN)])


def case_array(build, language, kind):
    many, few = foo(build, language, kind, NUMBERS), foo(build, language, kind, 10)
    if abs(many - few) > NOISE[language] * CHILDREN:
        raise Failed(f"{many} pages with {NUMBERS} numbers, {few} with 10")
    return f"{many - few:+d} pages for {NUMBERS} numbers and {CHILDREN} children"


def case_list(build, language, kind):
    many, few = foo(build, language, kind, NUMBERS), foo(build, language, kind, 10)
    objects = NUMBERS * OBJECT_BYTES // 4096 * CHILDREN
    if many - few < objects * 0.9:
        raise Failed(f"{many - few} pages, but the objects take {objects}")
    return f"{many - few:+d} pages, the objects take {objects}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    build = os.path.abspath(os.path.join(ROOT, parser.parse_args().build))
    counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def report(how, text):
        counts[how] += 1
        print(f"{how} {text}", flush=True)

    for language, kind in (("C", "list"), ("C", "array"), ("C", "slots"),
                           ("Python", "list"), ("Python", "array")):
        name = f"foo/{language}/{kind}"
        if language == "Python" and not os.access(PYTHON, os.X_OK):
            report("skip", f"{name}: no {PYTHON}")
            continue
        try:
            report("ok", f"{name} ({(case_list if kind == 'list' else case_array)(build, language, kind)})")
        except (Failed, OSError, subprocess.TimeoutExpired) as why:
            report("FAIL", f"{name}: {why}")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
