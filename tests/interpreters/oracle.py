# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What is true, by other ways than cowtrace's: the interpreter's own account of its heap, and the
frames of memory that the kernel shows in /proc/PID/pagemap."""

import array
import bisect
import collections
import re

PAGE = 4096
PRESENT, PFN = 1 << 63, (1 << 55) - 1
SMALL = 512  # bytes: what pymalloc serves
MANAGED_311, MANAGED_312 = 1 << 4, 3 << 3

Type = collections.namedtuple("Type", "flags basicsize name")
Thing = collections.namedtuple("Thing", "id type own header")  # bytes from id on, bytes before


def escaped(name):
    """A type's name, bytes, as cowtrace prints it: no control characters, no invalid UTF-8."""
    said = "".join(f"\\x{ord(c) - 0xdc00:02x}" if 0xdc80 <= ord(c) <= 0xdcff else c
                   for c in name.decode("utf-8", "surrogateescape").replace("\\", "\\\\"))
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", said)


def same_name(said, name):
    """The same, or cut."""
    return said == name or (said.endswith("...") and len(said) > 30 and name.startswith(said[:-3]))


class Truth:
    """The file that truth_case.py wrote."""

    def __init__(self, path):
        self.types, self.things, self.buffers, self.statics = {}, [], [], {}
        self.version = (0, 0)
        self.bare_names = False
        with open(path, encoding="ascii") as file:
            for line in file:
                kind, *words = line.split()
                getattr(self, "add_" + kind)(*words)
        self.things.sort(key=lambda thing: thing.id - thing.header)
        self.starts = [thing.id - thing.header for thing in self.things]
        self.buffers.sort()
        self.buffer_starts = [buffer[0] for buffer in self.buffers]

    def add_V(self, major, minor, _micro):
        self.version = (int(major), int(minor))

    def add_N(self):
        self.bare_names = True

    def add_T(self, number, flags, basicsize, _itemsize, tp_name, _name):
        self.types[number] = Type(int(flags), int(basicsize), escaped(bytes.fromhex(tp_name)))

    def add_O(self, at, kind, own, header, _tracked):
        self.things.append(Thing(int(at), self.types[kind], int(own), int(header)))

    def add_B(self, at, size, kind, owner):
        self.buffers.append((int(at), int(size), self.types[kind], int(owner)))

    def add_S(self, at, *what):
        self.statics[int(at)] = " ".join(what)

    def is_type(self, said, kind):
        """Is what is said the name of that type?"""
        return same_name(said, kind.name) or (self.bare_names and said.endswith("." + kind.name))

    def thing(self, address):
        """The object that the address lies in, its header included, or None."""
        at = bisect.bisect_right(self.starts, address) - 1
        found = self.things[at] if at >= 0 else None
        return found if found and address < found.id + found.own else None

    def buffer(self, address):
        """(address, size, type, id of the owner) of the buffer that the address lies in, or None."""
        at = bisect.bisect_right(self.buffer_starts, address) - 1
        found = self.buffers[at] if at >= 0 else None
        return found if found and address < found[0] + found[1] else None

    def static(self, address):
        """What immortal object the address is the count of, or None."""
        return self.statics.get(address & ~7)

    def cell(self, thing, address):
        """The cell of the object that the address is."""
        offset = address - thing.id
        managed = 0
        if self.version >= (3, 12):
            managed = thing.type.flags & MANAGED_312
        elif self.version == (3, 11):
            managed = thing.type.flags & MANAGED_311
        if offset < 0:
            return "preheader" if managed and offset < 16 - thing.header else "gc_header"
        return "refcount" if offset < 8 else "type" if offset < 16 else "payload"

    def pool_pages(self, areas):
        """Pages that hold small objects outside the C heap and outside files: pymalloc's."""
        pages = set()
        anonymous = [(area.start, area.end) for area in areas if not area.name]
        starts = [start for start, _ in anonymous]
        for thing in self.things:
            if thing.own + thing.header <= SMALL:
                at = bisect.bisect_right(starts, thing.id) - 1
                if at >= 0 and thing.id < anonymous[at][1]:
                    pages.add(thing.id // PAGE)
        return pages


Area = collections.namedtuple("Area", "start end perms name")


def areas_of(pid):
    """The private mappings of a process."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split(maxsplit=5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else ""
            if words[1].endswith("p") and name not in ("[vsyscall]", "[vdso]", "[vvar]", "[vvar_vclock]"):
                found.append(Area(start, end, words[1], name))
    return found


def frames_of(pid, areas):
    """page number -> frame number of the pages that are present."""
    found = {}
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        for area in areas:
            count = (area.end - area.start) // PAGE
            file.seek(area.start // PAGE * 8)
            words = array.array("Q", file.read(count * 8))
            for index, word in enumerate(words):
                if word & PRESENT and word & PFN:
                    found[area.start // PAGE + index] = word & PFN
    return found


def unshared_pages(parent, child):
    """(pages that both have but no longer share, all pages that both have)"""
    ours, theirs = frames_of(parent, areas_of(parent)), frames_of(child, areas_of(child))
    both = ours.keys() & theirs.keys()
    return {page for page in both if ours[page] != theirs[page]}, both


def place_name(areas, page):
    """Where a page lies, for messages."""
    for area in areas:
        if area.start // PAGE <= page < area.end // PAGE:
            return area.name or "anonymous"
    return "unmapped"
