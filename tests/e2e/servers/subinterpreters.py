# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A program with sub-interpreters, each with a catalogue of its own.

The forked child has only the main interpreter (CPython ends the others after fork) and sleeps; the
parent's sub-interpreters then read and collect what the child still shares, so the copies are the
parent's. Answers "ready CHILD"; at "read" and "collect" does it in each sub-interpreter, and
answers "done PARENT".
"""

import gc
import os
import signal
import sys

import _xxsubinterpreters as subinterpreters

COUNT = 2
WORK = {
    "load": "import gc; gc.disable(); import catalogue; P, Q = catalogue.load(15000)",
    "read": "catalogue.read_every_one(P)",
    "collect": "catalogue.sweep()",
}


def main():
    gc.disable()
    interpreters = [subinterpreters.create() for _ in range(COUNT)]
    for interpreter in interpreters:
        subinterpreters.run_string(interpreter, WORK["load"])
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    print("ready", child, flush=True)
    for line in sys.stdin:
        for interpreter in interpreters:
            subinterpreters.run_string(interpreter, WORK[line.strip()])
        print("done", os.getpid(), flush=True)
    os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
