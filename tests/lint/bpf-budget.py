#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Compare the instruction count of each BPF program in $BUILD/bpf with bpf-budget.txt.

The verifier does not protect latency: a program on the fault path costs every fault. Prints all
counts; a program over its budget, without one, or a budget without a program is an error.

    BUILD=DIR tests/lint/bpf-budget.py [--propose]

--propose prints a table with a tenth of room above today's counts.
"""
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
INSN_BYTES = 8


def budgets():
    table = {}
    with open(os.path.join(HERE, "bpf-budget.txt"), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            words = line.split("#")[0].split()
            if words:
                table[words[0], words[1]] = (int(words[2]), number)
    return table


def programs(path):
    """(name, instructions) of each function in an object file."""
    out = subprocess.run(["readelf", "-sW", path], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        words = line.split()
        if len(words) == 8 and words[3] == "FUNC":
            yield words[7], int(words[2], 0) // INSN_BYTES


def main():
    os.chdir(ROOT)
    build = os.environ.get("BUILD", "build")
    table, bad, good, sources = budgets(), 0, [], sorted(glob.glob("bpf/*.bpf.c"))
    for source in sources:
        name = os.path.basename(source)[:-len(".bpf.c")]
        for function, count in programs(f"{build}/bpf/{name}.bpf.o"):
            if "--propose" in sys.argv:
                print(f"{name:12} {function:24} {-(-count * 11 // 100) * 10:5}")
                continue
            limit, number = table.pop((name, function), (None, 1))
            where = f"tests/lint/bpf-budget.txt:{number}: {name} {function}"
            if limit is None:
                print(f"{where}: {count} instructions and no budget")
                bad += 1
            elif count > limit:
                print(f"{where}: {count} instructions, over its budget of {limit}")
                bad += 1
            else:
                good.append(f"      {name:12} {function:32} {count:5} of {limit}")
    for (name, function), (_, number) in () if "--propose" in sys.argv else table.items():
        print(f"tests/lint/bpf-budget.txt:{number}: {name} {function}: there is no such program")
        bad += 1
    for line in good:
        print(line)
    return 1 if bad or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
