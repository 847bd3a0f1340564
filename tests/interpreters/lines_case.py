# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""lines_case.py - a program whose lines read one known part of its heap each; 2.7 to 3.15.

Each case has a list of floats of its own; the line marked "# reads CASE" reads them all, and so
writes their counts. It says "ready PID" and takes orders, a line each, from standard input:
    pages    says "pages CASE=N,..." : on how many pages the floats of each case lie
    fork     forks a child that does all cases and stops itself, says "child PID"
    reap     waits for the child, says "reaped STATUS"
"""
import gc
import os
import signal
import sys
import threading

import lines_other

FLOATS = int(os.environ.get("LINES_FLOATS", "12000"))
DEPTH = 200
MADE_UP = "def made_up(numbers):\n\n\n    return sum(numbers)\n"


def plain(numbers):
    return sum(numbers)  # reads plain


def recursion(numbers, depth=DEPTH):
    if depth:
        return recursion(numbers, depth - 1)
    return sum(numbers)  # reads recursion


def generator(numbers):
    yield 1
    yield sum(numbers)  # reads generator


def run_generator(numbers):
    for _ in generator(numbers):
        pass


def run_thread(numbers):
    thread = threading.Thread(target=in_thread, args=(numbers,))
    thread.start()
    thread.join()


def in_thread(numbers):
    return sum(numbers)  # reads thread


reads_lambda = lambda numbers: sum(numbers)  # noqa: E731 # reads lambda


def class_body(numbers):
    class Body(object):
        first = 1
        total = sum(numbers)  # reads class_body
    return Body


def comprehension(numbers):
    return [sum(part) for part in [numbers]]  # reads comprehension


def loop(numbers):
    for _ in numbers:  # reads loop
        pass


def long_lines(numbers):
    return (1 +
            len([]) +
            sum(numbers))  # reads long_lines


def finally_block(numbers):
    try:
        raise ValueError
    except ValueError:
        return None
    finally:
        sum(numbers)  # reads finally_block


def decorated(function):
    def wrapper(numbers):
        return function(numbers)
    return wrapper


@decorated
def with_decorator(numbers):
    return sum(numbers)  # reads decorated


def namespace():
    made = {}
    exec(compile(MADE_UP, "made up.py", "exec"), made)
    return made


MADE = namespace()
CASES = {
    "plain": plain,
    "recursion": recursion,
    "generator": run_generator,
    "thread": run_thread,
    "lambda": reads_lambda,
    "class_body": class_body,
    "comprehension": comprehension,
    "loop": loop,
    "long_lines": long_lines,
    "finally_block": finally_block,
    "decorated": with_decorator,
    "elsewhere": lines_other.elsewhere,
    "innermost": lines_other.Reader().method,
    "made_up": MADE["made_up"],
}


def pages_of(numbers):
    return len(set(id(number) // 4096 for number in numbers))


def main():
    gc.disable()
    data = {}
    for index, case in enumerate(sorted(CASES)):
        data[case] = [number + index * 1e6 for number in range(FLOATS)]
    os.write(1, ("ready %d\n" % os.getpid()).encode("ascii"))
    child = 0
    while True:
        order = os.read(0, 100).decode("ascii").strip()
        if order == "pages":
            said = ",".join("%s=%d" % (case, pages_of(data[case])) for case in sorted(CASES))
        elif order == "fork":
            child = os.fork()
            if child == 0:
                for case in sorted(CASES):
                    CASES[case](data[case])
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(3)
            order, said = "child", str(child)
        elif order == "reap":
            order, said = "reaped", str(os.waitpid(child, 0)[1])
        else:
            break
        os.write(1, ("%s %s\n" % (order, said)).encode("ascii"))
    os._exit(0)


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    main()
