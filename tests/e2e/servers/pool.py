# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Programs that fork workers by themselves, one way each.

    pool.py WAY [ARGUMENT...]

Loads the catalogue and says "ready PID..." (the workers there are); then for each line on standard
input does what it says, "read", "collect" or "exit" (the workers end) in all workers, and answers
"done PID..." with who did it. Ways: os_fork, multiprocessing fork|forkserver|spawn, executor,
brief, nested.
"""

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import sys
import time

import catalogue

WORKERS = 2
POMEGRANATES, QUINCES = {}, []


def load_here():
    gc.disable()
    pomegranates, quinces = catalogue.load()
    POMEGRANATES.update(pomegranates)
    QUINCES.extend(quinces)


def work(name):
    """What a worker does of what it was told."""
    if name == "read":
        catalogue.read_every_one(POMEGRANATES)
    elif name == "collect":
        catalogue.sweep()
    time.sleep(0.1)  # so that the next one goes to another worker
    return os.getpid()


def say(word, pids):
    print(word, *sorted(pids), flush=True)


def obey(do):
    """Each line through do(name), which gives pids; until there are no more."""
    for line in sys.stdin:
        say("done", do(line.strip()))


# ---- os.fork: a pipe to each worker, one back ----

def serve(commands, answers):
    for line in commands:
        if line.strip() == "exit":
            break
        answers.write(f"{work(line.strip())}\n")
        answers.flush()
    sys.exit(0)  # through the interpreter's finalisation


def os_fork():
    load_here()
    workers = {}
    for _ in range(WORKERS):
        (command_read, command_write), (answer_read, answer_write) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(command_write)
            for other, _ in workers.values():
                other.close()
            serve(os.fdopen(command_read), os.fdopen(answer_write, "w"))
        os.close(command_read)
        os.close(answer_write)
        workers[pid] = (os.fdopen(command_write, "w"), os.fdopen(answer_read))

    def do(name):
        for commands, _ in workers.values():
            commands.write(f"{name}\n")
            commands.flush()
        if name != "exit":
            return [int(answers.readline()) for _, answers in workers.values()]
        for pid, (commands, _) in workers.items():
            commands.close()
            os.waitpid(pid, 0)
        return list(workers)

    say("ready", workers)
    obey(do)


# ---- multiprocessing and concurrent.futures ----

def everyone(submit):
    """Submit until each of the workers has had one."""
    pids = set()
    for _ in range(50):
        pids.update(submit())
        if len(pids) >= WORKERS:
            break
    return pids


def multiprocessing_pool(method):
    """With "spawn" the pool is made at the first line, so that its workers' beginning is seen."""
    context = multiprocessing.get_context(method)
    task, initializer, made = work, None, []
    if method == "fork":
        load_here()
    elif method == "forkserver":
        from preloaded import work_there as task
        context.set_forkserver_preload(["preloaded"])
    else:
        initializer = load_here

    def do(name):
        if not made:
            made.append(context.Pool(WORKERS, initializer))
        pool = made[0]
        pids = everyone(lambda: pool.map(task, [name] * WORKERS, 1))
        if name == "exit":
            pool.close()
            pool.join()
        return pids

    say("ready", [] if method == "spawn" else do("pid"))
    obey(do)


def executor():
    load_here()
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, context) as pool:
        def do(name):
            pids = everyone(lambda: pool.map(work, [name] * WORKERS))
            if name == "exit":
                pool.shutdown()
            return pids

        say("ready", do("pid"))
        obey(do)


# ---- children that are gone before anybody looks ----

def brief():
    """On "read": 200 children one after another, each reads for up to 5 ms and is gone. They are
    reaped by nobody while they work, so a pid is one child."""
    load_here()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def child(number):
        end = time.monotonic() + 0.004
        part = len(POMEGRANATES) // 50
        for start in range(number % 50 * part, len(POMEGRANATES)):
            len(POMEGRANATES[start].name)
            if start % 64 == 0 and time.monotonic() > end:
                break
        os._exit(0)

    def do(name):
        pids = []
        for number in range(200 if name == "read" else 0):
            pid = os.fork()
            if pid == 0:
                child(number)
            os.waitpid(pid, 0)
            pids.append(pid)
        return pids

    say("ready", [])
    obey(do)


# ---- a program that forks, and whose workers fork ----

def nested():
    """A worker that forks workers of its own: a family of three generations."""
    load_here()

    def do(name):
        pid = os.fork()
        if pid == 0:
            catalogue.read_every_one(POMEGRANATES)
            if os.fork() == 0:
                work(name)
                os._exit(0)
            os.wait()
            os._exit(0)
        os.waitpid(pid, 0)
        return [pid]

    say("ready", [])
    obey(do)


def main():
    ways = {"os_fork": os_fork, "multiprocessing": multiprocessing_pool, "executor": executor,
            "brief": brief, "nested": nested}
    ways[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
