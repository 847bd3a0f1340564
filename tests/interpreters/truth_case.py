# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""truth_case.py FILE - a program with a mixed heap, which says what lies where; 2.7 to 3.15.

It builds the heap, writes to FILE what lies where by its own account (id(), type, sys.getsizeof),
says "ready PID" and takes orders, a line each, from standard input:
    CASE    forks a child that does what case_CASE does, and says "child PID". When done the child
            stops itself (SIGSTOP) and is meant to be killed; that of "exit" ends as programs do.
    reap    waits for the child and says "reaped STATUS"
    quit    (or end of file)
Lines of FILE:
    V VERSION                                       as in sys.version_info: 3 11 2
    N                                               of TP_NAMEs the module is not known
    T NUMBER FLAGS BASICSIZE ITEMSIZE TP_NAME NAME  a type; names in hex
    O ID TYPE SIZE HEADER TRACKED                   an object: bytes from ID on, bytes before ID
    B ADDRESS SIZE TYPE ID                          a buffer, and the object whose it is
    S ID WHAT                                       None, True, small ints
"""
import binascii
import collections
import gc
import os
import signal
import sys
import types
import weakref

try:
    import ctypes
except ImportError:  # it does not go into every sub-interpreter
    ctypes = None

RECORDS = int(os.environ.get("TRUTH_RECORDS", "2500"))
HEAP_TYPE, HAVE_GC = 1 << 9, 1 << 14
# Their __sizeof__ is all inside the object's own block.
INLINE = (tuple, bytes, float, complex, int)
if sys.version_info[0] == 2:
    INLINE += (long,)  # noqa: F821


class Plain(object):
    def __init__(self, number):
        self.number = number + 1000
        self.text = "plain %d" % number
        self.values = [number, float(number)]


class Slots(object):
    __slots__ = ("left", "right")

    def __init__(self, number):
        self.left = number * 1000003
        self.right = (number, "right %d" % number)


class Referred(object):
    __slots__ = ("value", "__weakref__")


class Bare(object):
    """Attributes with a dict that was asked for, and so made."""


class OldStyle:  # a class of another kind in 2.7
    def __init__(self, number):
        self.number = number + 2000


class SubDict(dict):
    pass


class SubList(list):
    pass


class SubTuple(tuple):
    __slots__ = ()


class SubInt(int):
    pass


class SubStr(str):
    pass


def odd_names():
    """Names that no lexer would let pass but type() does."""
    names = ["with space", "tab\there", "quote'\"", "back\\slash", "\x1b[31mred", "line\nbreak",
             "x" * 600, "<html>&amp;", "%s%n", "None", "dict.keys", "../etc"]
    if sys.version_info[0] > 2:
        names += [u"Gr\u00f6\u00dfe", u"\u5927\u304d\u3044", u"\U0001f40d"]
    return [type(name, (object,), {}) for name in names]


def make_record(number, odd):
    """One of each kind; numbers are above the small ones, so that each is an object of its own."""
    referred = Referred()
    referred.value = number + 300
    bare = Bare()
    bare.extra = float(number)
    bare.__dict__["more"] = number + 400
    cycle = [number + 500]
    cycle.append({"cycle": cycle})
    record = {
        "list": [number + 600, "text %d" % number, None, True],
        "tuple": (number + 700, float(number) / 3),
        "set": set([number + 800, "s%d" % number]),
        "frozen": frozenset([number + 900]),
        "bytes": ("bytes %d" % number).encode("ascii"),
        "unicode": u"\u017c %d" % number,
        "int": 1 << 40 + number % 60,
        "complex": complex(number, 1),
        "plain": Plain(number),
        "slots": Slots(number),
        "referred": (referred, weakref.ref(referred)),
        "bare": bare,
        "old": OldStyle(number),
        "deque": collections.deque([number + 1100, float(number)]),
        "bytearray": bytearray(b"x" * (number % 200)),
        "odd": odd[number % len(odd)](),
        "sub": (SubDict(a=number), SubList([number]), SubTuple((number, 2)), SubInt(number), SubStr("s")),
        "cycle": cycle,
        "ordered": collections.OrderedDict(key=number + 1200),
        "function": lambda: number,
        "method": cycle.append,
    }
    if number % 50 == 0:
        record["large"] = [b"L" * 3000, "t" * 2000 + str(number), bytearray(5000), tuple(range(200)),
                           dict.fromkeys(range(100)), list(range(300)), set(range(100))]
    return record


def build():
    """The heap, with holes: every third part of a second, interleaved population goes again."""
    odd = odd_names()
    holes, data = [], []
    for number in range(RECORDS):
        data.append(make_record(number, odd))
        holes.append([[number + 5000], (float(number),), "hole %d" % number, {number: number}])
    del holes[::3]
    data.append(holes)
    data.append(bytearray(1 << 20))
    data.append(list(range(1000, 60000)))
    return data


# ---- what lies where ----

def tp_name(kind):
    """The name that the interpreter itself keeps, as bytes."""
    if not ctypes:
        return name_of(kind)
    return ctypes.c_char_p.from_address(id(kind) + 24).value


def name_of(kind):
    name = kind.__name__
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")


def hexed(data):
    return binascii.hexlify(data).decode("ascii")


def sizes(thing, kind):
    """(bytes of its own from id() on, bytes before id()) or None if they can't be told."""
    try:
        own = kind.__sizeof__(thing)
    except TypeError:
        return None
    header = sys.getsizeof(thing) - own
    if isinstance(thing, type):
        if not thing.__flags__ & HEAP_TYPE:
            return 400, 0  # less in no version
        own = kind.__basicsize__
    elif isinstance(thing, str) and str is not bytes:
        # without the copies of it for C, which are elsewhere
        ascii_head = 48 if sys.version_info < (3, 12) else 40
        own = ascii_head + len(thing) + 1 if kind is str and max(thing or "a") < u"\x80" else 48
    elif not isinstance(thing, INLINE):
        own = kind.__basicsize__
    return own, header


def buffers(thing):
    """(address, size) of what an object owns elsewhere, where the place of the pointer is known."""
    if not ctypes:
        return
    if isinstance(thing, list) and len(thing):
        yield ctypes.c_void_p.from_address(id(thing) + 24).value, 8 * len(thing)
    elif isinstance(thing, bytearray) and len(thing) and sys.version_info < (3, 15):
        at = id(thing) + (40 if sys.version_info[0] == 2 else 32)
        yield ctypes.c_void_p.from_address(at).value, len(thing)


def everything(roots, never):
    """All objects that can be reached, but not through frames nor this program's own names."""
    seen, todo = {}, list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or id(thing) in never:
            continue
        seen[id(thing)] = thing
        if not isinstance(thing, (types.FrameType, types.GeneratorType)):
            todo.extend(gc.get_referents(thing))
    return seen


def write_truth(path, data):
    own = sys.modules[__name__]
    never = set([id(own), id(own.__dict__), id(sys.modules["__main__"]), id(sys.modules["__main__"].__dict__)])
    never.update(id(value) for name, value in own.__dict__.items() if isinstance(value, type(never)))
    roots = [data]
    roots.extend(filter(lambda module: id(module) not in never, sys.modules.values()))
    found = everything(roots, never | set([id(never), id(roots)]))
    kinds = {}
    with open(path, "w") as file:
        file.write("V %d %d %d\n" % sys.version_info[:3])
        if not ctypes:
            file.write("N\n")
        for address, thing in found.items():
            kind = type(thing)
            if kind not in kinds:
                kinds[kind] = len(kinds)
                file.write("T %d %d %d %d %s %s\n" % (kinds[kind], kind.__flags__, kind.__basicsize__,
                                                      kind.__itemsize__, hexed(tp_name(kind)), hexed(name_of(kind))))
            size = sizes(thing, kind)
            if size:
                file.write("O %d %d %d %d %d\n" % (address, kinds[kind], size[0], size[1], gc.is_tracked(thing)))
            for buffer, length in buffers(thing):
                file.write("B %d %d %d %d\n" % (buffer, length, kinds[kind], address))
        for what in [None, True] + list(range(-5, 257)):
            file.write("S %d %r\n" % (id(what), what))


# ---- what the children do ----

def case_idle(data):
    pass


def case_read(data):
    for record in data:
        for _ in record:
            pass


def case_deep(data):
    """Every element of every container, and the attributes; nothing is changed."""
    for record in data:
        if isinstance(record, dict):
            for value in record.values():
                if isinstance(value, (list, tuple, set, frozenset, dict, collections.deque)):
                    for _ in value:
                        pass
            record["plain"].text, record["slots"].right, record["old"].number
        elif isinstance(record, list):
            for _ in record:
                pass


def case_collect(data):
    gc.collect()
    gc.collect()


case_freeze = case_collect


def case_mutate(data):
    """Writes over what is there, with as little reading as can be."""
    for index in range(RECORDS):
        record = data[index]
        record["list"][2] = True
        record["bytearray"][:1] = b"y"
        record["deque"].append(None)
        record["plain"].number = None
        record["slots"].left = None
        record["bare"].extra = None
    big = data[RECORDS + 1]
    for at in range(0, len(big), 4096):
        big[at] = 1


def case_allocate(data):
    kept = []
    for number in range(20000):
        kept.append([number + 5000])
        kept.append((float(number), None))
        kept.append("new %d" % number)
    KEPT.append(kept)


def case_exit(data):
    sys.exit(0)


KEPT = []


def fork_child(case, data):
    if case == "freeze":
        gc.freeze()
    child = os.fork()
    if child == 0:
        globals()["case_" + case](data)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(3)  # never told to go on
    os.write(1, ("child %d\n" % child).encode("ascii"))
    return child


def main():
    gc.disable()
    data = build()
    KEPT.append(data)
    gc.collect()
    gc.collect()
    write_truth(sys.argv[1], data)
    child = 0
    os.write(1, ("ready %d\n" % os.getpid()).encode("ascii"))
    while True:
        order = os.read(0, 100).decode("ascii").strip()
        if order in ("", "quit"):
            break
        if order == "reap":
            status = os.waitpid(child, 0)[1]
            if hasattr(gc, "unfreeze"):
                gc.unfreeze()
            os.write(1, ("reaped %d\n" % status).encode("ascii"))
            child = 0
        else:
            child = fork_child(order, data)
    if child:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
