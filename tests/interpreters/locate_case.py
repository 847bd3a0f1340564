# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Makes objects of every kind, writes down where each of them is, and waits: truth for locate.c.

locate_case.py FILE [COUNT]: runs on every interpreter from 2.7 on. Lines of FILE:
  o ID BYTES GC TYPE     an object: bytes from ID on that are its own; 1 if a GC header is before it
  b ADDRESS OWNER TYPE   memory that the object OWNER owns elsewhere
  n START BYTES          noise, in which no object is
  f ID                   where an object was that is freed by now
"""
import array
import collections
import datetime
import decimal
import functools
import gc
import io
import mmap
import os
import random
import re
import struct
import sys
import threading
import types
import weakref

try:
    import ctypes
except ImportError:
    ctypes = None

OLD = sys.version_info[0] == 2
random.seed(4)


class Plain(object):
    def __init__(self, a, b):
        self.a, self.b = a, b


class Slots(object):
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


class SlotsWeak(object):
    __slots__ = ("x", "__weakref__")


class Meta(type):
    pass


class MetaMeta(type):
    pass


class Int(int):
    pass


class Str(str):
    pass


class Tuple(tuple):
    pass


class List(list):
    pass


class Dict(dict):
    pass


class Error(Exception):
    pass


class Old:
    def __init__(self, a):
        self.a = a


Point = collections.namedtuple("Point", "x y z")


def closure(a, b):
    def inner(c=a):
        return a, b, c
    return inner


def generate(n):
    for i in range(n):
        yield i


def make(i):
    """Objects of many kinds, a few of each."""
    n = i % 40
    text = u"t%d" % i
    yield from_kinds(i, n)
    for x in (i * 1000003, i << 70, -i << 200, i + 0.5, complex(i, 1), text, text * n,
              u"\xe9" * (n + 1) + text, u"\u4e2d" * (n + 1) + text, u"\U0001f600" * (n + 1) + text,
              b"b%d" % i if not OLD else str(i), bytearray(n * 3 + 1), tuple([i] * n), [i] * n,
              dict((j, i) for j in range(n)), dict(("k%d" % j, i) for j in range(n)),
              set(range(n)), frozenset(range(n + 1)), Plain(i, n), Slots(i, n), SlotsWeak(), Int(i), Str(text),
              Tuple([i] * n), List([i] * n), Dict(a=i), Error(i), Old(i), Point(i, n, 0),
              closure(i, n), (lambda: i), generate(n), Plain(i, 1).__init__, [].append, slice(i, n),
              iter([i]), iter({i: n}), enumerate([i]), reversed([i]), datetime.datetime(2000, 1, 1 + n % 28),
              datetime.timedelta(i), datetime.date(2000, 1, 1 + n % 28), datetime.time(1, 2), decimal.Decimal(i) / 7,
              collections.deque(range(n)), collections.defaultdict(list, {i: n}),
              collections.OrderedDict([(i, n)]), functools.partial(int, i), array.array("d", [i] * n),
              memoryview(b"m%d" % i if not OLD else bytes(i)), property(len), object(), types.ModuleType("m%d" % i),
              staticmethod(len), io.BytesIO(b"x" * n), threading.Lock(), zip([i], [n]), map(str, [i]), range(i, i + n)):
        yield x
    if i % 50 == 0:
        meta = Meta("Made%d" % i, (Plain,), {"a": i}) if i % 100 else MetaMeta("M%d" % i, (Meta,), {})
        yield meta
        instance = meta(i, n) if i % 100 else meta("N%d" % i, (object,), {})
        yield instance
    if i % 20 == 0:
        for x in (bytes(bytearray(600 + i % 5000)), tuple(range(100 + n)), [0] * (100 + n), u"x" * (700 + i % 9000),
                  compile("x = %d\ndef f(a): return a + x" % i, "f%d" % i, "exec"), re.compile("a%d" % (i % 300)),
                  dict.fromkeys(range(100 + n)), set(range(100 + n)), type("C%d" % i, (object,), {"__slots__": ()})):
            yield x
    keep = Plain(i, n)
    yield keep
    yield weakref.ref(keep)
    yield weakref.ref(keep, lambda _: None)


def from_kinds(i, n):
    plain = Plain(i, n)
    if n % 2:
        plain.more = [i]
    if n % 3 == 0:
        plain.__dict__["by name"] = n
    return plain


def size_of(x):
    """Bytes from id(x) on that are the object's own, for sure."""
    kind = type(x)
    size = kind.__basicsize__
    if isinstance(x, (tuple, bytes)) and kind.__itemsize__:
        size += kind.__itemsize__ * len(x)
    if isinstance(x, (datetime.datetime, datetime.time)):
        size = 24  # it may be allocated without its last members
    elif not OLD and kind is str:
        size = sys.getsizeof(x) if all(c < "\x80" for c in x) else 48
    elif isinstance(x, type):
        size = 400 if not x.__flags__ & 1 << 9 else kind.__basicsize__
        size = 380 if OLD else size
    return size


def flags(x):
    kind = type(x)
    return 1 if kind.__flags__ & 1 << 14 and not (isinstance(x, type) and not x.__flags__ & 1 << 9) else 0


def word(address):
    return ctypes.c_uint64.from_address(address).value


def owned(x, version):
    """(address, ...) of what @x owns elsewhere, by the layouts of the interpreters."""
    if isinstance(x, list):
        if word(id(x) + 32):
            yield word(id(x) + 24)
    elif isinstance(x, dict) and not OLD and x and not word(id(x) + 40):
        yield word(id(x) + 32)
    elif isinstance(x, dict) and OLD:
        if not id(x) <= word(id(x) + 40) < id(x) + 248:
            yield word(id(x) + 40)
    elif isinstance(x, (set, frozenset)):
        if not id(x) <= word(id(x) + 40) < id(x) + 200:
            yield word(id(x) + 40)
    elif isinstance(x, bytearray) and x and version < (3, 15):
        yield word(id(x) + (40 if OLD else 32))
    elif isinstance(x, array.array) and len(x):
        yield x.buffer_info()[0]
    elif isinstance(x, collections.deque) and not OLD:
        yield word(id(x) + 24)


def noise():
    """Memory that looks like objects and pools, and is none."""
    size = 1 << 20
    kept = [mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(5)]
    kept[0].write(os.urandom(size))
    kept[1].write(struct.pack("Q", id(dict)) * (size // 8))
    kept[2].write(struct.pack("QQ", 1, id(list)) * (size // 16))
    soup = [id(x) for x in (dict, list, tuple, kept, noise, 1, None)] + [0, 1, 2, 48, 4096, 16384 - 32]
    kept[3].write(b"".join(struct.pack("Q", random.choice(soup)) for _ in range(size // 8)))
    pool = struct.pack("QQQQIIII", 255, 0, id(kept), id(kept), 0, 3, 16384, 16384 - 64)  # nearly one
    kept[4].write((pool + struct.pack("QQ", 1, id(dict)) * 253) * (size // 4096))
    return kept


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    kept, freed = [], []
    for i in range(count):
        for x in make(i):
            (freed if random.random() < 0.1 else kept).append(x)
    threads = [threading.Thread(target=threading.Event().wait) for _ in range(3)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    fixed = [None, True, False, Ellipsis, NotImplemented, (), u"", b"", "a", "b"] + list(range(-5, 257))
    fixed += [int, str, list, dict, type, object, collections.deque, datetime.datetime, decimal.Decimal, type(kept[7])]
    pages = noise()
    mark = sys._getframe()
    gone = [id(x) for x in freed]
    x = None
    del freed[:]
    every = gc.get_objects()
    out = open(sys.argv[1], "w")
    seen = set()
    for x in kept + fixed + every:
        if id(x) in seen or x is mark or type(x).__name__ in ("frame", "generator_frame") or x is every or x is seen:
            continue
        seen.add(id(x))
        out.write("o %d %d %d %s\n" % (id(x), size_of(x), flags(x), type(x).__name__))
    for x in (kept if ctypes else []):
        for address in owned(x, sys.version_info[:2]):
            out.write("b %d %d %s\n" % (address, id(x), type(x).__name__))
    for page in (pages if ctypes and not OLD else []):
        out.write("n %d %d\n" % (ctypes.addressof(ctypes.c_char.from_buffer(page)), len(page)))
    for address in gone:
        if address not in seen:
            out.write("f %d\n" % address)
    sys.stdout.write("ready\n")
    out.close()
    sys.stdout.flush()
    sys.stdin.readline()
    os._exit(0)


main()
