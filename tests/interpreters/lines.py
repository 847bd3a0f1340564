#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""--by line names the line that reads the data: file, line and function, on every interpreter.

lines_case.py's child reads one list of floats on each of some lines of which it is known how many
pages they unshare; cowtrace with the stack of every fault must give these pages to these lines.
"""

import contextlib
import os
import re
import signal
import sys

from harness import HERE, Program, PythonReport, Skip, Traced, await_state, expect, parse_options, wanted_interpreters

MARK = re.compile(r"# reads (\w+)$")
CASES = ["plain", "recursion", "generator", "thread", "lambda", "class_body", "comprehension", "loop", "long_lines",
         "finally_block", "decorated", "elsewhere", "innermost", "made_up"]
# (co_name, co_qualname) of the function that reads
NAMES = {
    "thread": ("in_thread", "in_thread"),
    "lambda": ("<lambda>", "<lambda>"),
    "class_body": ("Body", "class_body.<locals>.Body"),
    "comprehension": ("<listcomp>", "comprehension.<locals>.<listcomp>"),
    "decorated": ("with_decorator", "with_decorator"),
    "innermost": ("innermost", "Reader.inner.<locals>.innermost"),
}
EDGE = 6  # pages at the ends of a list, which belong to a neighbour, too
FRAMES_MOST = 64


def marks():
    """case -> (file, line) of the line that reads."""
    found = {"made_up": ("made up.py", 4)}
    for name in ("lines_case.py", "lines_other.py"):
        path = os.path.join(HERE, name)
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                mark = MARK.search(line.strip())
                if mark:
                    found[mark[1]] = (path, number)
    return found


def function_of(case, version):
    if case == "comprehension" and (version < (3,) or version >= (3, 12)):
        return "comprehension"  # it has no frame of its own
    return NAMES.get(case, (case, case))[version >= (3, 11)]


class Lines:
    """What one interpreter's child did, by line; it runs once, at the first case that asks."""

    def __init__(self, options, name, path):
        self.options, self.path = options, path
        self.version = tuple(int(digits) for digits in re.findall(r"\d+", name))
        self.document = self.pages = None
        self.failed = None

    def run(self):
        with Program(self.options, self.path, "lines_case.py") as program:
            self.pages = dict(pair.split("=") for pair in program.ask("pages", "pages").split(","))
            with Traced(self.options, program.pid, "--stacks=1", "--by", "line") as traced:
                child = int(program.ask("fork", "child"))
                state = await_state(child, "TZ", self.options.timeout)
                expect(state == "T", f"the child is in state {state}: {program.complaint()}")
                os.kill(child, signal.SIGKILL)
                program.ask("reap", "reaped")
                self.document = traced.stop()[0]

    def needed(self):
        if self.failed:
            raise self.failed
        if self.document is None:
            try:
                self.run()
            except Exception as error:
                self.failed = error
                raise
        for interpreter in self.document["interpreters"]:
            expect(interpreter["stacks"], f"no Python lines: {interpreter['why']}")

    def case(self, case):
        self.needed()
        file, line = marks()[case]
        function, pages = function_of(case, self.version), int(self.pages[case])
        rows = self.document["lines"]
        exact = [row for row in rows if (row["file"], row["line"], row["function"]) == (file, line, function)]
        told = sum(row["unshared"] for row in exact)
        near = [f"{row['file']}:{row['line']} {row['function']}: {row['unshared']}" for row in rows
                if row["file"] == file or row["unshared"] > pages / 2]
        expect(abs(told - pages) <= EDGE, f"{told} pages told of {os.path.basename(file)}:{line} {function}, "
                                          f"not {pages}; told were {near[:8]}")
        return f"{told} of {pages} pages at line {line} in {function}"

    def stacks(self):
        """Stacks are whole: outermost first, of no more than 64 frames, the innermost that reads."""
        self.needed()
        stacks = self.document["stacks"]
        longest = max((len(stack["frames"]) for stack in stacks), default=0)
        expect(longest == FRAMES_MOST, f"the longest stack has {longest} frames, not {FRAMES_MOST}")
        thread = [stack["frames"] for stack in stacks if "in_thread" in "".join(stack["frames"])]
        expect(thread and any("threading.py" in frame for frame in thread[0]),
               f"the thread's stack is not of threading.py's functions: {thread[:1]}")
        deep = max(stacks, key=lambda stack: len(stack["frames"]))["frames"]
        expect(all("recursion" in frame for frame in deep), f"the deepest stack is {deep[:2]} ... {deep[-2:]}")
        total = sum(stack["samples"] for stack in stacks)
        unknown = sum(stack["samples"] for stack in stacks if not stack["frames"])
        expect(unknown <= total * 0.01, f"{unknown} of {total} samples have no stack")
        return f"{total} samples, {unknown} without a stack"


def missing(why):
    raise Skip(why)


def cases(report, options):
    for name, path, why in wanted_interpreters(options):
        lines = Lines(options, name, path)
        for case in CASES:
            report.run(f"lines/{name}/{case}", *([lines.case, case] if path or options.list else [missing, why]))
        report.run(f"lines/{name}/stacks", *([lines.stacks] if path or options.list else [missing, why]))


def main():
    options = parse_options(__doc__.split("\n", maxsplit=1)[0])
    report = PythonReport("tests/interpreters/lines.py", options)
    with contextlib.suppress(KeyboardInterrupt):
        cases(report, options)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
