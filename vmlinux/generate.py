#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Write vmlinux.h: of a kernel's BTF the types and members that types.txt lists, nothing else.

    vmlinux/generate.py [BTF_FILE] > vmlinux/vmlinux.h      default: /sys/kernel/btf/vmlinux

Members of anonymous structs and unions are lifted into the struct around them: CO-RE finds a
member by name through any of those. Types behind a pointer are declared, not defined. A name that
is not in the BTF is an error, so the header never claims more than some kernel really has.
"""
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = """/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * vmlinux.h - the kernel types in use, and of them only the members in use. CO-RE moves each
 * access to where the running kernel has the member.
 * Made by generate.py from types.txt and the BTF of Linux {release}: change those, not this.
 */
#ifndef __VMLINUX_H__ /* the name that bpf_tracing.h looks for */
#define __VMLINUX_H__
"""
PUSH = """
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
"""
TAIL = """
#pragma clang attribute pop

#endif /* __VMLINUX_H__ */"""
INTS = {
    "char": "char", "signed char": "signed char", "unsigned char": "unsigned char",
    "short int": "short", "short unsigned int": "unsigned short", "int": "int",
    "unsigned int": "unsigned int", "long int": "long", "long unsigned int": "unsigned long",
    "long long int": "long long", "long long unsigned int": "unsigned long long",
    "_Bool": "_Bool", "__int128": "__int128", "__int128 unsigned": "unsigned __int128",
}
QUALIFIERS = ("CONST", "VOLATILE", "RESTRICT", "TYPE_TAG")


class Missing(Exception):
    pass


def load_btf(path):
    tools = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    bpftool = shutil.which("bpftool", path=tools)
    if not bpftool:
        raise Missing("bpftool not found")
    run = subprocess.run([bpftool, "-j", "btf", "dump", "file", path], capture_output=True, text=True)
    if run.returncode:
        raise Missing(f"bpftool cannot read {path}: {run.stderr.strip() or run.stdout.strip()}")
    return {t["id"]: t for t in json.loads(run.stdout)["types"]}


class Header:
    def __init__(self, types):
        self.types = types
        self.by_name = {}
        self.constants = {}
        for t in types.values():
            # of two types of one name the first with members is the full one
            self.by_name.setdefault((t["kind"], t["name"]), t)
            if t["kind"] in ("ENUM", "ENUM64"):
                for v in t.get("values", ()):
                    self.constants.setdefault(v["name"], (t["name"], v["val"]))
        self.typedefs, self.defined, self.declared, self.out = set(), set(), set(), []

    def find(self, kind, name):
        if (kind, name) not in self.by_name:
            raise Missing(f"no {kind.lower()} {name} in this BTF")
        return self.by_name[kind, name]

    def strip(self, type_id):
        """The type below qualifiers and below typedefs that the header does not have."""
        t = self.types.get(type_id)
        while t and (t["kind"] in QUALIFIERS or
                     (t["kind"] == "TYPEDEF" and t["name"] not in self.typedefs)):
            t = self.types.get(t["type_id"])
        return t

    def declare(self, kind, name):
        if name not in self.declared | self.defined:
            self.declared.add(name)
            self.out.append(f"\n{kind} {name};")

    def declarator(self, type_id, name, by_value=True):
        """C text that declares @name with the type."""
        t = self.strip(type_id)
        if t is None:
            return f"void {name}"
        kind, tag = t["kind"], t["name"]
        if kind == "PTR":
            return self.declarator(t["type_id"], f"*{name}", False)
        if kind == "ARRAY":
            return self.declarator(t["type_id"], f"{name}[{t['nr_elems']}]", by_value)
        if kind == "FUNC_PROTO":
            return f"void {name}"
        if kind == "INT":
            return f"{INTS[tag]} {name}"
        if kind == "TYPEDEF":
            return f"{tag} {name}"
        if kind in ("ENUM", "ENUM64") and tag not in self.defined:
            return f"unsigned int {name}"
        word = {"UNION": "union", "ENUM": "enum", "ENUM64": "enum"}.get(kind, "struct")
        if by_value and tag not in self.defined:
            raise Missing(f"{word} {tag or '(anonymous)'} is a member: list it in types.txt first")
        self.declare(word, tag)
        return f"{word} {tag} {name}"

    def member(self, t, name):
        """The member @name of struct @t, looked for in its anonymous structs and unions too."""
        for m in t.get("members", ()):
            if m["name"] == name:
                return m
            if m["name"] == "(anon)" or not m["name"]:
                inner = self.strip(m["type_id"])
                found = self.member(inner, name) if inner["kind"] in ("STRUCT", "UNION") else None
                if found:
                    return found
        return None

    def body(self, label, t, members):
        lines = []
        for name in members:
            m = self.member(t, name)
            if not m:
                raise Missing(f"{label} has no member {name} in this BTF")
            bits = f" : {m['bitfield_size']}" if m.get("bitfield_size") else ""
            lines.append(f"\t{self.declarator(m['type_id'], name)}{bits};".replace("* ", "*"))
        return lines

    def add_typedefs(self, names):
        for name in names:
            base = self.declarator(self.find("TYPEDEF", name)["type_id"], name)
            self.typedefs.add(name)
            self.out.append(f"typedef {base};")

    def add_enum(self, name, constants):
        values = []
        for c in constants:
            if c not in self.constants or (name and self.constants[c][0] != name):
                raise Missing(f"no constant {c} in enum {name or '(any)'} of this BTF")
            values.append(f"{c} = {self.constants[c][1]}")
        self.defined.add(name)
        if name or len(", ".join(values)) > 70:
            self.out.append(f"\nenum {name + ' ' if name else ''}{{")
            self.out += [f"\t{v}," for v in values] + ["};"]
        else:
            self.out.append(f"\nenum {{ {', '.join(values)} }};")

    def add_record(self, kind, name, members):
        if not members:
            return self.declare(kind, name)
        self.defined.add(name) # before its members: it may point to itself
        lines = self.body(f"{kind} {name}", self.find(kind.upper(), name), members)
        self.out += [f"\n{kind} {name} {{"] + lines + ["};"]
        return None

    def add_typedef_record(self, name, members):
        t = self.strip(self.find("TYPEDEF", name)["type_id"])
        self.out += ["\ntypedef struct {"] + self.body(name, t, members) + [f"}} {name};"]
        self.typedefs.add(name)


def entries(path):
    """(kind, name, members) of each line "kind name: member..."; an indented line goes on."""
    joined = []
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].rstrip()
        if line[:1].isspace() and joined:
            joined[-1] += line
        elif line:
            joined.append(line)
    for line in joined:
        head, _, members = line.partition(":")
        kind, _, name = head.strip().partition(" ")
        yield kind, name.strip(), members.split()


def release(path):
    if path.startswith("/sys/"):
        return os.uname().release.split("-")[0].rstrip("+")
    return os.path.basename(path)


def generate(path):
    header = Header(load_btf(path))
    records = False
    for kind, name, members in entries(os.path.join(HERE, "types.txt")):
        if kind in ("struct", "union", "record") and not records:
            header.out.append(PUSH.rstrip("\n"))
            records = True
        if kind == "typedef":
            header.add_typedefs(members)
        elif kind == "enum":
            header.add_enum(name, members)
        elif kind == "record":
            header.add_typedef_record(name, members)
        elif kind in ("struct", "union"):
            header.add_record(kind, name, members)
        else:
            raise Missing(f"types.txt: what is a {kind}?")
    return "\n".join([HEAD.format(release=release(path))] + header.out + [TAIL])


if __name__ == "__main__":
    try:
        print(generate(sys.argv[1] if len(sys.argv) > 1 else "/sys/kernel/btf/vmlinux"))
    except Missing as e:
        sys.exit(f"generate.py: {e}")
