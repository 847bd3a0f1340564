# -*- coding: utf-8 -*-
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""probe_case.py CASE: runs in the interpreter that is probed (2.7 to 3.15), prints what is true as a
line of JSON when it is time to look, and goes on at the next line of its standard input."""
import gc
import json
import os
import sys
import threading
import time
import types
import weakref

GENERATIONS = 3


def say(truth, write=os.write, dumps=json.dumps, read=os.read):
    """Tell the truth, then wait until it was looked at."""
    write(1, (dumps(truth) + "\n").encode("ascii"))
    read(0, 1)


def name_of(code):
    return getattr(code, "co_qualname", code.co_name)


def text(name):
    return name if isinstance(name, str) and str is not bytes else name.decode("utf-8")


# --- stacks ---------------------------------------------------------------------------------------
RELEASE = threading.Event()
STARTED = []


def block(*_args):
    STARTED.append(1)
    while not RELEASE.is_set():
        time.sleep(60)


def plain():
    def inner():
        block()
    inner()


# the call is on an earlier line than its last argument; a long gap makes big steps in the table
exec(compile("def spread():\n    block(\n        1," + "\n" * 400 + "        2)\n", __file__, "exec"))


class Holder(object):
    def method(self):
        return [block() for _ in (1,)]

    def __enter__(self):
        return self

    def __exit__(self, *_args):
        block()


def managed():
    with Holder():
        pass


def generator():
    def numbers():
        yield 1
        block()
        yield 2
    for _ in numbers():
        pass


def caught():
    try:
        raise ValueError
    except ValueError:
        try:
            pass
        finally:
            block()


def sorting():
    # a call through C
    sorted([2, 1], key=lambda x: block(x))


def deep(n=100):
    if n:
        deep(n - 1)
    else:
        block()


def executed():
    names = u"d\u00e9j\u00e0", u"\u0436\u0443\u043a", u"\u6f22\U00020000", "x" * 300
    source = u""
    before = "block"
    for name in names if sys.version_info[0] > 2 else ("latin", "cyrillic", "han", "x" * 300):
        source += u"\ndef %s():\n    %s()\n" % (name, before)
        before = name
    scope = {"block": block}
    exec(compile(source, u"<f\u00efle \u0436>" if sys.version_info[0] > 2 else "<file>", "exec"), scope)
    scope[before]()


TARGETS = [plain, globals()["spread"], Holder().method, managed, generator, caught, sorting, deep, executed]


def stack_of(frame):
    stack = []
    while frame:
        stack.append([frame.f_lineno, text(name_of(frame.f_code)), text(frame.f_code.co_filename)])
        frame = frame.f_back
    return stack


def case_stacks():
    threads = [threading.Thread(target=target) for target in TARGETS]
    for thread in threads:
        thread.daemon = True
        thread.start()

    def tell():
        while len(STARTED) <= len(TARGETS):
            time.sleep(0.01)
        time.sleep(0.5)
        frames = sys._current_frames()
        own = threading.current_thread().ident
        say({"version": sys.version.split()[0].rstrip("+"), "type": id(type),
             "stacks": {str(i): stack_of(f) for i, f in frames.items() if i != own}})
        os._exit(0)

    teller = threading.Thread(target=tell)
    teller.daemon = True
    teller.start()
    plain()


# --- lines ----------------------------------------------------------------------------------------
def code_objects():
    seen, todo = {}, []
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            for one in [value] + list(getattr(value, "__dict__", {}).values()):
                code = getattr(getattr(one, "__func__", one), "__code__", None)
                if isinstance(code, types.CodeType):
                    todo.append(code)
    while todo:
        code = todo.pop()
        if id(code) not in seen:
            seen[id(code)] = code
            todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return list(seen.values())


def lines_of(code):
    """(offset, line) of instructions; line 0: it has none."""
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            for offset in {start, end - 2}:
                if 0 <= offset < len(code.co_code):
                    yield offset, line or 0
        return
    import dis
    starts = list(dis.findlinestarts(code)) + [(len(code.co_code), 0)]
    for (start, line), (end, _) in zip(starts, starts[1:]):
        for offset in {start, end - 2}:
            if start <= offset:
                yield offset, line


def case_lines():
    import argparse, ast, collections, decimal, difflib, email.message, inspect, logging, pickle, tarfile, unittest
    kept = code_objects() + [c for f in TARGETS for c in [f.__code__]]
    truth = []
    for code in kept[:4000]:
        truth.append([id(code), text(name_of(code)), text(code.co_filename), sorted(set(lines_of(code)))])
    say({"codes": truth})


# --- phases ---------------------------------------------------------------------------------------
class Cycle(object):
    def __init__(self):
        self.own = self


def case_collect():
    """Weak references to garbage are called in the middle of a collection."""
    gc.disable()
    gc.collect()
    for generation in (2, 0, 1, 2, 1, 0, 2):
        stats = gc.get_stats()[generation]["collections"] if hasattr(gc, "get_stats") else -1
        garbage = Cycle()
        ref = weakref.ref(garbage, lambda _: say({"generation": generation, "collections": stats}))
        del garbage
        gc.collect(generation)
        if ref() is not None:
            say({"uncollected": generation})
    say({"generation": None})


class Last(object):
    def __del__(self, speak=say):
        speak({"finalising": True})


def case_refuse():
    case_exit()


def case_exit():
    sys.modules["__main__"].last = Last()
    say({"finalising": False})


# --- sub-interpreters -------------------------------------------------------------------------------
SUB = r"""
import gc, os, time, weakref
def say(kind):
    # up to 3.11 only a thread that holds the interpreter's lock is found, and reading lets it go
    spin = 0
    while True:
        spin += 1
        os.write(1, ('{"inside": "%s"}\n' % kind).encode("ascii"))
        end = time.time() + spin
        while time.time() < end:
            pass
        if os.read(0, 1) != b"a":
            return
class Cycle(object):
    pass
def work():
    say("stack")
    c = Cycle()
    c.own = c
    r = weakref.ref(c, lambda _: say("collect"))
    del c
    gc.collect()
    return r
work()
"""


def case_subs():
    try:
        import _interpreters as subs
    except ImportError:
        try:
            import _xxsubinterpreters as subs
        except ImportError:
            subs = None
    if not subs:
        try:
            from _testcapi import run_in_subinterp
        except ImportError:
            say({"missing": "no module for sub-interpreters"})
            return
        say({"interpreters": 1})
        run_in_subinterp(SUB)
        say({"inside": "nothing"})
        return
    ids = [subs.create() for _ in range(3)]
    say({"interpreters": 1 + len(ids)})
    (getattr(subs, "exec", None) or subs.run_string)(ids[1], SUB)
    say({"inside": "nothing"})


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]]()
