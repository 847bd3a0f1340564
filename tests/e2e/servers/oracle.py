# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What the kernel itself knows of a family's copies, without cowtrace.

Copies: WPCOPY of taskstats, asked of the living and told by the kernel of the dying.
differing_pages: page frames of two processes compared.
"""

import array
import os
import socket
import struct
import threading
import time

from taskstats import (HEADERS, TASKSTATS_CMD_GET, TYPE_AGGR_PID, TYPE_AGGR_TGID,
                       TYPE_STATS, Taskstats, attributes)

CMD_ATTR_REGISTER_CPUMASK = 3
TYPE_PID, TYPE_TGID = 1, 2
SO_RCVBUFFORCE = 33
PAGE = 4096
PFN, PRESENT = (1 << 55) - 1, 1 << 63


def state_and_parent(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def children_of(pid, but="ZX"):
    """The children of a process, but for those in these states."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = state_and_parent(name)
            except OSError:
                continue
            if parent == pid and state not in but:
                found.append(int(name))
    return sorted(found)


class Copies(Taskstats):
    """WPCOPY of any process that lives, or that ended since this was made."""

    def __enter__(self):
        self.ended = {}  # pid: WPCOPY
        self.lost = 0
        self.listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.listener.bind((0, 0))
        self.listener.settimeout(0.2)
        with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
            mask = file.read().strip().encode() + b"\0"
        payload = struct.pack("=HH", 4 + len(mask), CMD_ATTR_REGISTER_CPUMASK) + mask
        payload += bytes(-len(payload) % 4)
        self.listener.send(struct.pack("=IHHIIBBH", HEADERS + len(payload), self.family, 1, 0, 0,
                                       TASKSTATS_CMD_GET, 1, 0) + payload)
        self.running = True
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *details):
        self.running = False
        self.thread.join()
        self.listener.close()
        self.socket.close()

    def _listen(self):
        while self.running:
            try:
                message = self.listener.recv(65536)
            except socket.timeout:
                continue
            except OSError:
                self.lost += 1  # ENOBUFS: the kernel could not tell us all
                continue
            length, kind = struct.unpack_from("=IH", message)
            if kind != self.family:
                continue
            answer = attributes(message[HEADERS:length])
            for aggregate, name in ((TYPE_AGGR_PID, TYPE_PID), (TYPE_AGGR_TGID, TYPE_TGID)):
                if aggregate in answer:  # of a thread; of a process that had several
                    inner = attributes(answer[aggregate])
                    pid = struct.unpack_from("=I", inner[name])[0]
                    self.ended[pid] = struct.unpack_from("=Q", inner[TYPE_STATS], self.offset)[0]

    def of(self, pid):
        """None: never seen, or reaped before this oracle was there."""
        try:
            if pid not in self.ended and state_and_parent(pid)[0] not in "ZX":
                return self.wpcopy(pid)
        except OSError:
            pass
        end = time.monotonic() + 1  # the kernel has told us, or is about to
        while pid not in self.ended and time.monotonic() < end:
            time.sleep(0.01)
        return self.ended.get(pid)


def private_areas(pid):
    """[(start, end)] of the private writable mappings."""
    areas = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            span, rights = line.split()[:2]
            if rights[1] == "w" and rights[3] == "p":
                areas.append(tuple(int(number, 16) for number in span.split("-")))
    return areas


def frames(pid, start, end):
    entries = array.array("Q")
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(start // PAGE * 8)
        entries.frombytes(file.read((end - start) // PAGE * 8))
    return entries


def differing_pages(parent, child):
    """How many pages both have that are not one and the same."""
    differing = 0
    of_parent = private_areas(parent)
    for start, end in private_areas(child):
        for other_start, other_end in of_parent:
            low, high = max(start, other_start), min(end, other_end)
            if low < high:
                pairs = zip(frames(child, low, high), frames(parent, low, high))
                differing += sum(1 for mine, other in pairs
                                 if mine & other & PRESENT and (mine ^ other) & PFN)
    return differing
