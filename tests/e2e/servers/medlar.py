# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""One interpreter of a family of several; runs on 2.7 to 3.15.

    medlar.py CLASS

Loads 60,000 objects of a class of that name and answers "ready PID"; at a line on standard input
forks a child that reads them, and answers "done PID" when it has gone; ends at the next.
"""

import gc
import os
import sys


def main():
    gc.disable()
    kind = type(sys.argv[1], (object,), {"__slots__": ("weight", "colour", "name")})
    medlars = [kind() for _ in range(60000)]
    sys.stdout.write("ready %d\n" % os.getpid())
    sys.stdout.flush()
    sys.stdin.readline()
    pid = os.fork()
    if pid == 0:
        for medlar in medlars:
            medlar.__class__
        os._exit(0)
    os.waitpid(pid, 0)
    sys.stdout.write("done %d\n" % pid)
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main()
