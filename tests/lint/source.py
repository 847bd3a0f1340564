#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Checks of the sources as text: source.py layers | sizes | calls | licence

Each finding is a line "file:line: what is wrong"; the exit status is 1 when there is one.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FILE_LINES = 600
FUNCTION_LINES = 60
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
# Reading the target by these stops it or copies the very pages that we count: pread /proc/PID/mem.
FORBIDDEN = re.compile(r"\b(process_vm_readv|SYS_process_vm_readv|ptrace|SYS_ptrace)\b|sys/ptrace\.h")


def files():
    """What git tracks or would track, so that a new file is checked before it is committed."""
    out = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    return sorted(f for f in out.splitlines() if os.path.isfile(os.path.join(ROOT, f)))


def lines_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read().splitlines()


def is_c(path):
    return path.endswith((".c", ".h"))


def below(path, folder):
    return path == folder or path.startswith(folder + "/")


def read_layers():
    allowed = {}
    for line in lines_of(os.path.join(HERE, "layers.txt")):
        head, colon, rest = line.split("#")[0].partition(":")
        if colon:
            allowed[head.strip()] = rest.split()
    return allowed


def resolve(path, name):
    """The file of ours that #include "name" in @path means."""
    for base in (os.path.dirname(path), "user", "bpf", "vmlinux"):
        target = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(ROOT, target)):
            return target
    return None


def check_skeleton(path, name, folder, seen):
    if folder != seen["folder"]:
        return f"a skeleton belongs to {seen['folder']}"
    first = seen["files"].setdefault(name, path)
    return None if first == path else f"{name} is included by {first} already"


def check_include(path, bracket, name, layers, folder, seen):
    if bracket == "<":
        for prefix, folders in layers.items():
            if prefix[0] == "<" and name.startswith(prefix.strip("<>")) and folder not in folders:
                return f"<{name}> only in {' '.join(folders)}"
        return None
    if name.endswith(".skel.h"):
        return check_skeleton(path, name, folder, seen)
    target = resolve(path, name)
    if not target:
        return f'"{name}" is no file of ours'
    if below(target, folder) or any(below(target, a) for a in layers[folder]):
        return None
    return f"{folder} may not include {target}"


def check_layers():
    layers = read_layers()
    seen = {"folder": layers["*.skel.h"][0], "files": {}}
    for path in filter(is_c, files()):
        if not path.startswith(("bpf/", "user/")):
            continue
        folder = next((f for f in layers if below(path, f)), None)
        if not folder:
            yield f"{path}:1: this folder is not in tests/lint/layers.txt"
            continue
        for number, line in enumerate(lines_of(path), 1):
            include = INCLUDE.match(line)
            if include:
                wrong = check_include(path, *include.groups(), layers, folder, seen)
                if wrong:
                    yield f"{path}:{number}: {wrong}"


def functions(lines):
    """(first line number, number of lines) of each body: by our format its braces are in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line[:1] == "}" and start:
            yield start, number - start - 1
            start = None


def check_sizes():
    for path in files():
        if not path.endswith((".c", ".h", ".py", ".sh")) and path not in ("Makefile", "tests/check"):
            continue
        lines = lines_of(path)
        if len(lines) > FILE_LINES:
            yield f"{path}:{len(lines)}: a file of {len(lines)} lines; {FILE_LINES} at most"
        for number, length in functions(lines) if is_c(path) else ():
            if length > FUNCTION_LINES:
                yield f"{path}:{number}: a function of {length} lines; {FUNCTION_LINES} at most"


def code_of(text):
    """The text without comments and string contents, line numbers kept."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
    keep = lambda m: m.group(0) if m.group(0)[0] == '"' and "/" in m.group(0) else \
        "\n" * m.group(0).count("\n")
    return token.sub(keep, text)


def check_calls():
    for path in filter(is_c, files()):
        if path.startswith("user/"):
            for number, line in enumerate(code_of("\n".join(lines_of(path))).split("\n"), 1):
                found = FORBIDDEN.search(line)
                if found:
                    yield f"{path}:{number}: {found.group(0)}: read the target by pread of /proc/PID/mem"


def check_licence():
    tag = "SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause"
    for path in files():
        if path.endswith((".c", ".h", ".py", ".sh")):
            if not any(tag in line for line in lines_of(path)[:3]):
                yield f"{path}:1: no {tag}"


def main():
    checks = {"layers": check_layers, "sizes": check_sizes, "calls": check_calls,
              "licence": check_licence}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    found = list(checks[sys.argv[1]]())
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
