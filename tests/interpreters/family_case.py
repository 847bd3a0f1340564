# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""family_case.py FILE PYTHON - forks a child that becomes another interpreter; 2.7 to 3.15.

Builds truth_case.py's heap, writes FILE, says "ready PID" and takes orders, a line each:
    become   forks a child that reads all of the heap, waits a second and then runs truth_case.py in
             PYTHON, with FILE.child; from then on that one takes the orders
    sub KIND makes a sub-interpreter with a heap of its own (FILE.sub): "legacy", or "isolated"
    aside    forks a child that does nothing and stops itself, says "child PID"
    CASE     lets the sub-interpreter do truth_case.py's CASE, says "done"
    reap     waits for the child, says "reaped STATUS"
"""
import ctypes
import gc
import os
import signal
import sys
import time

import truth_case

HERE = os.path.dirname(os.path.abspath(__file__))
IN_SUB = """
import sys
sys.path.insert(0, %r)
import gc
gc.disable()
import truth_case
data = truth_case.build()
gc.collect()
gc.collect()
truth_case.write_truth(%r, data)
"""


def interpreters_module():
    try:
        import _interpreters as module
    except ImportError:
        import _xxsubinterpreters as module
    return module


def make_sub(kind):
    module = interpreters_module()
    if module.__name__ == "_interpreters":
        return module.create(kind)
    if sys.version_info >= (3, 12):
        return module.create(isolated=kind == "isolated")
    return module.create()


def run_in_sub(sub, text):
    failed = interpreters_module().run_string(sub, text)
    if failed:  # 3.13 and later give the exception back
        raise RuntimeError(str(failed))


def say(text):
    os.write(1, (text + "\n").encode("ascii"))


def become(data, path, python):
    child = os.fork()
    if child == 0:
        truth_case.case_deep(data)
        time.sleep(1)
        os.execv(python, [python, "-B", os.path.join(HERE, "truth_case.py"), path + ".child"])
    os.waitpid(child, 0)
    os._exit(0)


def main():
    path, python = sys.argv[1:3]
    gc.disable()
    data = truth_case.build()
    gc.collect()
    gc.collect()
    truth_case.write_truth(path, data)
    sub = child = None
    say("ready %d" % os.getpid())
    while True:
        order = os.read(0, 100).decode("ascii").split()
        if not order:
            os._exit(0)
        if order[0] == "become":
            become(data, path, python)
        elif order[0] == "sub":
            sub = make_sub(order[1])
            run_in_sub(sub, IN_SUB % (HERE, path + ".sub"))
            say("done")
        elif order[0] == "aside":
            child = ctypes.PyDLL(None).fork()  # CPython's own dies or hangs while there is a sub-interpreter
            if child == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(3)
            say("child %d" % child)
        elif order[0] == "reap":
            say("reaped %d" % os.waitpid(child, 0)[1])
        else:
            run_in_sub(sub, "truth_case.case_%s(data)" % order[0])
            say("done")


if __name__ == "__main__":
    main()
