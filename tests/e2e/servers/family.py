# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A family of several interpreters.

    family.py CLASS=PYTHON...        each PYTHON is a child that runs medlar.py
    family.py --exec CLASS=PYTHON    a worker is forked, reads what it has inherited, and becomes
                                     PYTHON with medlar.py

Answers "ready PID..." when all have loaded; at "read" each forks a child that reads, and the
answer "done PID..." names those.
"""

import gc
import os
import subprocess
import sys

import catalogue

MEDLAR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "medlar.py")


def say(word, pids):
    print(word, *pids, flush=True)


def several(pythons):
    members = [subprocess.Popen([python, MEDLAR, name], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
               for name, python in pythons]
    for member in members:
        member.stdout.readline()
    say("ready", [member.pid for member in members])
    sys.stdin.readline()
    readers = []
    for member in members:  # one after another: each has the machine for itself
        member.stdin.write("go\n")
        member.stdin.flush()
        readers += member.stdout.readline().split()[1:]
    say("done", readers)
    sys.stdin.readline()


def become(name, python):
    """At the first line fork, read and exec; at the second the new program goes on."""
    gc.disable()
    pomegranates, _ = catalogue.load()
    say("ready", [])
    sys.stdin.readline()
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        catalogue.read_every_one(pomegranates)
        os.dup2(command_read, 0)
        os.dup2(answer_write, 1)
        os.execv(python, [python, MEDLAR, name])
    os.close(answer_write)
    answers = os.fdopen(answer_read)
    say("done", answers.readline().split()[1:])
    sys.stdin.readline()
    os.write(command_write, b"go\n")
    say("done", answers.readline().split()[1:])
    sys.stdin.readline()


def main():
    pairs = [argument.split("=", 1) for argument in sys.argv[1:] if argument != "--exec"]
    if "--exec" in sys.argv:
        become(*pairs[0])
    else:
        several(pairs)


if __name__ == "__main__":
    main()
