# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Saves one heap image per interpreter into tests/fuzz/corpus/heap: dump.py DUMP-PROGRAM FOLDER PYTHON..."""
import os
import re
import subprocess
import sys

# Runs in every version from 2.7 on. Few objects, since each brings the pages that it and its type stand on.
TARGET = r'''
import sys, time
class Plain(object):
    def __init__(self, i):
        self.number = i
class Slots(object):
    __slots__ = ("a",)
class Derived(dict):
    pass
kept = []
for i in range(3):
    kept += [[i] * 3, {"k%d" % i: i}, (i, str(i)), "text-%d" % i * 3, 1.5 + i, 100000 + i, set([i]), b"bytes%d" % i
             if sys.version_info > (3, 5) or sys.version_info < (3,) else None, Plain(i), Derived(a=i),
             lambda: i, bytearray(10 + i), frozenset([i]), complex(i, 2), [0] * 300, "large" * 400]
    slots = Slots(); slots.a = i; kept.append(slots)
kept += [None, True, 1, dict, list, Plain, Slots, sys]
with_gc = __import__("gc").is_tracked
out = []
for o in kept:
    name = type(o).__name__
    out.append("%x %x %s" % (id(o), id(o), name))
    out.append("%x %x %s" % (id(o) + 8, id(o), name))
    if with_gc(o):
        out.append("%x %x %s" % (id(o) - 8, id(o), name))
print("\n".join(out))
sys.stdout.flush()
time.sleep(100)
'''


def dump(program, folder, python):
    version = subprocess.run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
                             capture_output=True, text=True, check=True).stdout.strip()
    name = f"{version}{'' if 'pyenv' in python else '-debian'}"
    with subprocess.Popen([python, "-S", "-E", "-c", TARGET], stdout=subprocess.PIPE) as target:
        try:
            lines = b""
            while not lines.endswith(b"\n") or b" module" not in lines.splitlines()[-1]:
                piece = os.read(target.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"{python} ended early")
                lines += piece
            # a version that names a type otherwise in itself than on the type is no truth
            lines = b"\n".join(line for line in lines.splitlines() if re.match(rb"^[0-9a-f]+ [0-9a-f]+ \w+$", line))
            path = os.path.join(folder, f"{name}.image")
            done = subprocess.run([program, str(target.pid), path], input=lines + b"\n", check=False)
            print(f"{name}: exit {done.returncode}, {os.path.getsize(path)} bytes, {len(lines.splitlines())} answers")
        finally:
            target.kill()


def main():
    program, folder, *pythons = sys.argv[1:]
    for python in pythons:
        dump(program, folder, python)


if __name__ == "__main__":
    main()
