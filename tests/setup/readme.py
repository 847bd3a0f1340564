#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Make the README's pictures and figures anew: `make readme` (as root, about eight minutes).

Replaces what stands between `<!-- made by `make readme`: NAME -->` and the next `<!-- end -->`:
    screen   the live screen of the demo, captured from a terminal of 110 x 32 after 12 seconds
    python   the summary of a Python program with three workers, tests/setup/shop.py
    evidence the bytes that the kernel carried against the parent's, in an emulated machine
    bench    the report of tests/bench/run.py on programs of all kinds
    bench-python   the same on Python programs
"""
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", "build")
SESSION = f"cowtrace-readme-{os.getpid()}"


def tmux(*arguments, check=True):
    return subprocess.run(["tmux", "-L", SESSION, *arguments], check=check, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def screen():
    tmux("new-session", "-d", "-x", "110", "-y", "32",
         f"LC_ALL=C.UTF-8 tests/setup/demo.sh {BUILD} 20")
    try:
        time.sleep(12)
        text = tmux("capture-pane", "-p").rstrip()
    finally:
        tmux("kill-server", check=False)
    if "undetailed" not in text:
        sys.exit(f"readme.py: the demo's screen did not come up:\n{text}")
    return text


def report(*parts):
    run = subprocess.run([sys.executable, "tests/bench/run.py", *parts], check=True, text=True,
                         stdout=subprocess.PIPE)
    lines = run.stdout.rstrip().split("\n")
    return "\n".join(line for line in lines if not line.startswith("cowtrace: "))


def bench():
    return report("storm", "programs", "flood", "consumer", "big", "attach", "foreign")


def bench_python():
    return report("stacks", "python", "latency")


def python():
    """The tables of cells, causes, types and lines; the rows that name no line of the program are cut."""
    run = subprocess.run([f"{BUILD}/cowtrace", "--plain", "--stacks=1", "--", "/usr/bin/python3", "tests/setup/shop.py"],
                         check=True, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env=dict(os.environ, LC_ALL="C.UTF-8", COLUMNS="110"))
    blocks = run.stderr.split("cowtrace: python3", 1)[1].split("\n\n")
    wanted = [blocks[0], blocks[1]] + [b for b in blocks[2:] if b.split()[0] in ("cell", "cause", "type", "line")]
    text = "cowtrace: python3" + "\n\n".join("\n".join(b.split("\n")[:8]) for b in wanted)
    return text.replace(ROOT + "/", "").rstrip()


def evidence():
    kernel = subprocess.run(["tests/kernels/fetch.sh", "trixie"], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.split()[2]
    lines = []
    for hook in ("fexit", "kprobe"):
        run = subprocess.run(["tests/kernels/boot.sh", kernel, "--",
                              f"python3 tests/e2e/python.py --cowtrace {BUILD}/cowtrace --truth {BUILD}/truth "
                              f"--timeout 300 --hook {hook} --only evidence/"],
                             check=True, text=True, stdout=subprocess.PIPE, env=dict(os.environ, VM_TIMEOUT="600"))
        lines += [line for line in run.stdout.splitlines() if line.startswith("ok ")]
    return "\n".join(lines)


MAKERS = {"screen": screen, "python": python, "evidence": evidence, "bench": bench,
          "bench-python": bench_python}


def main():
    os.chdir(ROOT)
    wanted = sys.argv[1:] or list(MAKERS)
    with open("README.md", encoding="utf-8") as f:
        text = f.read()
    for name in wanted:
        block = re.compile(f"(<!-- made by `make readme`: {name} -->\n).*?(<!-- end -->)", re.S)
        if name not in MAKERS or not block.search(text):
            sys.exit(f"readme.py: the README has no block {name}")
        made = MAKERS[name]()
        text = block.sub(lambda m, made=made: f"{m[1]}```\n{made}\n```\n{m[2]}", text)
    with open("README.md", "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
