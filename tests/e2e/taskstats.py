# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""How many write-protect copies the kernel has accounted to a process: taskstats over netlink.

struct taskstats changes its layout from version to version, so the place of wpcopy_count comes
from the running kernel's BTF. Needs kernel.task_delayacct=1 before the process was forked.
"""

import socket
import struct

GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
TASKSTATS_CMD_GET, CMD_ATTR_PID, CMD_ATTR_TGID = 1, 1, 2
TYPE_STATS, TYPE_AGGR_PID, TYPE_AGGR_TGID = 3, 4, 5
NLM_F_REQUEST, NLMSG_ERROR = 1, 2
HEADERS = 20  # struct nlmsghdr, struct genlmsghdr

# A copy during which the kernel's clock stood still is not counted: so with these.
CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
COARSE = ("hpet", "acpi_pm", "jiffies")

# Bytes behind a struct btf_type by kind: a fixed part and one for each member.
BTF_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
BTF_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
BTF_STRUCT = 4


def btf_offset(blob, name, member):
    """Byte offset of a member of a struct, or None."""
    _, _, _, head, types, types_len, strings, _ = struct.unpack_from("<HBBIIIII", blob)
    at, end, strings = head + types, head + types + types_len, head + strings

    def text(offset):
        return blob[strings + offset:blob.index(b"\0", strings + offset)]

    while at < end:
        name_at, info, _ = struct.unpack_from("<III", blob, at)
        kind, members = info >> 24 & 31, info & 0xFFFF
        if kind == BTF_STRUCT and text(name_at) == name:
            for i in range(members):
                member_at, _, bits = struct.unpack_from("<III", blob, at + 12 + 12 * i)
                if text(member_at) == member:
                    return (bits & 0xFFFFFF if info >> 31 else bits) // 8
        at += 12 + BTF_FIXED.get(kind, 0) + BTF_EACH.get(kind, 0) * members
    return None


def attributes(data):
    """Netlink attributes of a message: {type: payload}."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


class Taskstats:
    """OSError: the kernel has no taskstats. LookupError: no WPCOPY in it (before 5.19)."""

    def __init__(self):
        with open(CLOCK, encoding="ascii") as file:
            clock = file.read().strip()
        if clock in COARSE:
            raise LookupError(f"with the clock {clock} the kernel loses some of WPCOPY")
        with open("/sys/kernel/btf/vmlinux", "rb") as file:
            self.offset = btf_offset(file.read(), b"taskstats", b"wpcopy_count")
        if self.offset is None:
            raise LookupError("this kernel does not count WPCOPY")
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)  # NETLINK_GENERIC
        self.socket.bind((0, 0))
        answer = self._ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0")
        self.family = struct.unpack_from("=H", answer[CTRL_ATTR_FAMILY_ID])[0]

    def _ask(self, family, command, attribute, value):
        payload = struct.pack("=HH", 4 + len(value), attribute) + value
        payload += bytes(-len(payload) % 4)
        message = struct.pack("=IHHIIBBH", HEADERS + len(payload), family, NLM_F_REQUEST, 0, 0,
                              command, 1, 0)
        self.socket.send(message + payload)
        answer = self.socket.recv(65536)
        if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
            error = -struct.unpack_from("=i", answer, 16)[0]
            raise OSError(error, "taskstats")
        return attributes(answer[HEADERS:])

    def wpcopy(self, pid, threads=True):
        """Of a whole process, or (a zombie too) of its first thread."""
        attribute, aggregate = ((CMD_ATTR_TGID, TYPE_AGGR_TGID) if threads
                                else (CMD_ATTR_PID, TYPE_AGGR_PID))
        answer = self._ask(self.family, TASKSTATS_CMD_GET, attribute, struct.pack("=I", pid))
        stats = attributes(answer[aggregate])[TYPE_STATS]
        return struct.unpack_from("=Q", stats, self.offset)[0]
