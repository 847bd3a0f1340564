# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Programs that are not what they should be. For CPython 3.11 on x86-64: it breaks its own heap.

    rotten.py WAY        answers "ready PID..."; at "go" does it, and answers "done PID..."

Ways: name_escapes, name_long, name_bytes (of a class, a function and a file), heap (garbage in
pools, objects, types, chunks), frames_cycle, frames_garbage, half_forked, raw_forked, vforked,
storm (children without end, until killed).
"""

import collections
import ctypes
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time

COUNT = 30000
POOL = 16384  # 3.10 on
OB_TYPE, TP_NAME, F_FRAME, PREVIOUS = 8, 24, 24, 48  # offsets in 3.11
ESCAPES = "\x1b[31mRED\x1b]0;pwned\x07\x9b2J\r\n\t\x7f\u202eevil"
BYTES = b"\xff\xfe\x80\xc0\xaf\xed\xa0\x80\xf5"
LONG = "Q" * (1 << 20)

libc = ctypes.CDLL(None, use_errno=True)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]


def say(word, *pids):
    print(word, *pids, flush=True)


def peek(address):
    return ctypes.c_uint64.from_address(address).value


def poke(address, value):
    ctypes.c_uint64.from_address(address).value = value & (1 << 64) - 1


def touch(addresses):
    """Write to each what is there already."""
    for address in addresses:
        byte = ctypes.c_ubyte.from_address(address)
        byte.value = byte.value


def in_child(function, *arguments):
    """Its pid, when it has ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"the child ended with {status:#x}")
    return pid


# ---- names ----

def read_all(objects):
    for one in objects:
        one.__class__


def named(class_name, function_name, file_name):
    kind = type(class_name, (), {"__slots__": ("one", "two")})
    code = read_all.__code__.replace(co_name=function_name, co_qualname=function_name,
                                     co_filename=file_name)
    return kind, type(read_all)(code, globals(), function_name)


def names(way):
    if way == "name_escapes":
        kind, reader = named(ESCAPES, ESCAPES, f"/tmp/{ESCAPES}.py")
    elif way == "name_long":
        kind, reader = named(LONG, LONG, f"/{LONG}.py")
    else:
        kind, reader = named("B" * len(BYTES), "surrogates\udcff\ud800", "/\udce9\udfff.py")
        ctypes.memmove(peek(id(kind) + TP_NAME), BYTES, len(BYTES))
    objects = [kind() for _ in range(COUNT)]
    say("ready")
    sys.stdin.readline()
    say("done", in_child(reader, objects))
    time.sleep(1)  # a program that ends at once takes its memory along
    sys.stdin.readline()


# ---- a broken heap ----

class Loquat:
    """Whole."""
    __slots__ = ("one", "two")


class Sloe:
    """What is broken was one of these."""
    __slots__ = ("one", "two", "three", "four", "five", "six", "seven")


def false_types():
    """Memory that looks like types but for one thing each. All of them are named FALSE."""
    name = ctypes.create_string_buffer(b"FALSE")
    size = 1064
    types = []
    for number in range(8):
        copy = ctypes.create_string_buffer(ctypes.string_at(id(Loquat), size), size)
        address = ctypes.addressof(copy)
        poke(address + TP_NAME, ctypes.addressof(name))
        types.append((copy, address))
        poke(address + OB_TYPE, (0, 1, 0xDEAD0000, (1 << 64) - 8, id(Loquat), address, id(name),
                                 types[number - 1][1])[number])
    return name, types


def garbage(noise, false):
    return (0, 1, 7, 0x1000, 0xDEADBEEFDEADBEEF, 0xFFFFFFFF81000000, 0x7FFFFFFFF000, id(Loquat) + 8,
            id(type) - 16, noise.getrandbits(64), noise.getrandbits(47) & ~7, false)


def break_objects(noise, victims, false):
    for number, victim in enumerate(victims):
        bad = garbage(noise, false[number % len(false)][1])
        field = (0, OB_TYPE, OB_TYPE, OB_TYPE, 16, 24, -8, -16)[number % 8]
        poke(victim + field, bad[number // 8 % len(bad)])


def break_pools(noise, victims):
    """Heads of pools that are full of victims, so that the allocator never looks at them again."""
    full = (POOL - 48) // (16 + Sloe.__basicsize__ + 8 & -16)
    pools = collections.Counter(victim & -POOL for victim in victims)
    pools = [pool for pool, count in pools.items() if count == full]
    for number, pool in enumerate(pools):
        offset = (0, 8, 16, 24, 32, 40)[number % 6]
        poke(pool + offset, (0, pool, pool + 8, (1 << 64) - 1, noise.getrandbits(64))[number % 5])
    return pools


def break_chunks(noise):
    """Chunks of glibc that are never freed: sizes of nothing, of all, of themselves."""
    chunks = [libc.malloc(3000) for _ in range(2000)]
    for number in range(10, 1990, 10):
        chunk = chunks[number]
        if chunks[number + 2] - chunks[number - 2] == 4 * 3008:  # the neighbours' neighbours are ours
            poke(chunk - 8, (0, 1, 17, (1 << 64) - 1, 1 << 40, noise.getrandbits(64))[number // 10 % 6])
    return chunks


def break_containers(noise):
    """Containers whose tables are nowhere, or everywhere; nobody uses or frees them."""
    kept = []
    for number in range(3000):
        bad = garbage(noise, id(Loquat))[number % 12]
        items = [[number] * 9, {number: number, "a": 1}, (number,) * 9, {number, 1, 2}, "s" * 90,
                 bytearray(90)]
        chosen = items[number % 6]
        poke(id(chosen) + (16, 24, 32, 40)[number // 6 % 4], bad)
        ctypes.c_uint64.from_address(id(chosen)).value += 1000
        kept.append(id(chosen))
    return kept


def type_names():
    """Every class that there is."""
    found, todo = {"type"}, [object]
    while todo:
        kind = todo.pop()
        found.update((kind.__name__, f"{kind.__module__}.{kind.__name__}"))
        todo += type.__subclasses__(kind)
    found.update(type(one).__name__ for one in gc.get_objects())
    return sorted(found)


def heap():
    noise = random.Random(4)
    objects = [Loquat() for _ in range(COUNT)] + [Sloe() for _ in range(2 * COUNT)]
    addresses = [id(one) for one in objects]  # to count references to what is broken would be fatal
    victims, later = addresses[COUNT:2 * COUNT], addresses[2 * COUNT:]
    name, false = false_types()
    with open("type_names", "w", encoding="utf-8") as file:
        json.dump(type_names(), file)
    say("ready")
    sys.stdin.readline()
    pools = break_pools(noise, later)
    break_objects(noise, victims, false)
    kept, chunks = break_containers(noise), break_chunks(noise)
    places = [one + offset for one in addresses for offset in (-16, 0, 8)]
    places += [pool + offset for pool in pools for offset in (0, 20, 40)]
    places += [chunk + offset for chunk in chunks for offset in (-8, 0)]
    places += [address for _, address in false] + [one + 24 for one in kept]
    noise.shuffle(places)
    say("done", in_child(touch, places))
    os.kill(os.getpid(), signal.SIGKILL)  # there is no way back


# ---- broken frames ----

def chain(depth, objects, break_it):
    if depth:
        chain(depth - 1, objects, break_it)
    else:
        break_it()
        for one in objects:
            one.__class__
        os._exit(0)


def frame_of(level):
    return peek(id(sys._getframe(level + 1)) + F_FRAME)


def frames(way):
    objects = [Loquat() for _ in range(COUNT)]

    def cycle():
        poke(frame_of(3) + PREVIOUS, frame_of(1))

    def nowhere():
        bad = (1, 0xDEADBEEFDEADBEEF, 0xFFFFFFFF81000000, 0x7FFFFFFFF000, frame_of(1) + 4)
        poke(frame_of(4) + PREVIOUS, random.choice(bad))

    say("ready")
    sys.stdin.readline()
    pids = [in_child(chain, 10, objects, cycle if way == "frames_cycle" else nowhere)
            for _ in range(5)]
    say("done", *pids)
    sys.stdin.readline()


# ---- children that are not there yet, or not any more ----

def half_forked(way):
    objects = [Loquat() for _ in range(COUNT)]
    if way == "half_forked":
        os.register_at_fork(after_in_child=signal.pause)
        child = os.fork()
    else:
        child = libc.fork() if way == "raw_forked" else 0  # nothing of CPython's own after fork
        if child == 0:
            libc.kill(libc.getpid(), signal.SIGSTOP)
            os._exit(0)
    say("ready", child)
    sys.stdin.readline()
    read_all(objects)
    say("done", os.getpid())
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)


def vforked():
    """A child between vfork and exec: its opening of a pipe without a writer blocks both."""
    objects = [Loquat() for _ in range(COUNT)]
    os.mkfifo("fifo")
    sleeper = os.fork()
    if sleeper == 0:
        signal.pause()
    say("ready", sleeper)
    sys.stdin.readline()
    opener = subprocess.Popen(["sh", "-c", "sleep 0.5; : > fifo"])
    actions = [(os.POSIX_SPAWN_OPEN, 5, "fifo", os.O_RDONLY, 0)]
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions), 0)
    opener.wait()
    read_all(objects)
    say("done", os.getpid())
    sys.stdin.readline()
    os.kill(sleeper, signal.SIGKILL)


def storm():
    objects = [Loquat() for _ in range(COUNT)]
    say("ready")
    sys.stdin.readline()
    say("done", os.getpid())
    while True:
        in_child(read_all, objects)


def main():
    way = sys.argv[1]
    gc.disable()
    if way.startswith("name_"):
        names(way)
    elif way.startswith("frames_"):
        frames(way)
    elif way in ("half_forked", "raw_forked"):
        half_forked(way)
    else:
        {"heap": heap, "vforked": vforked, "storm": storm}[way]()


if __name__ == "__main__":
    main()
