#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Python servers as they are run: gunicorn, uWSGI, Celery, multiprocessing, sub-interpreters.

Each loads about 30 MB before it forks (or after it, where that is its way), cowtrace attaches to
its master, and requests make the workers read and collect. What cowtrace counts is compared with
the kernel's own counts (taskstats, page frames), and what it says of it with what the program is
known to do.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers"))

from checks import (check_collected, check_interpreter, check_known, check_line,  # noqa: E402
                    check_read, mostly, named)
from common import Skip, expect, main_of  # noqa: E402
from families import Celery, Gunicorn, Piped, Uwsgi  # noqa: E402
from traced import Traced, copies_here  # noqa: E402

EXECUTABLE, UWSGI = ("python3.11",), ("libpython3.11.so",)
PYENV = os.path.expanduser("~/.pyenv/versions")
VERSIONS = ("2.7.18", "3.6.15", "3.7.16", "3.8.18", "3.9.18", "3.10.13", "3.11.7", "3.12.1",
            "3.13.0")


def heard(options, family, steps, **keywords):
    """(what Traced has, its JSON)."""
    with copies_here() as copies, family:
        traced = Traced(options, family, copies)
        document = traced.run(steps, **keywords)
    return traced, document


def served(options, make, objects=EXECUTABLE):
    """Workers that were there when cowtrace came: they read, then they collect."""
    family = make(options)
    with copies_here() as copies, family:
        traced = Traced(options, family, copies)
        document = traced.run(("read", "collect"), family.workers)
    expect(traced.workers == set(family.workers), "a worker ended on the way")
    expect(traced.of_workers >= 5000 * len(family.workers), "workers that share next to nothing")
    check_interpreter(document, objects=objects)
    unknown = check_known(document)
    check_read(document)
    check_collected(document, len(family.workers))
    lines = [check_line(document, "reads", 0.8 * document["causes"]["refcount"]),
             check_line(document, "collects", 0.8 * document["causes"]["gc"])]
    return f"{document['hook']}, n={traced.total}, {unknown}, {', '.join(lines)}"


def alone(options, make, objects=EXECUTABLE, step="read", least=300):
    """Workers that are born while cowtrace looks on and load for themselves: nothing of the
    catalogue was ever shared."""
    family = make(options)
    traced, document = heard(options, family, (step,), until_ended=family.lifetime)
    expect(traced.of_workers >= least, f"workers copied only {traced.of_workers} pages")
    check_interpreter(document, objects=objects)
    unknown = check_known(document)
    for name in ("Pomegranate", "Quince"):
        expect(sum(named(document, name).values()) <= 0.02 * traced.of_workers,
               f"type {name}, which was not shared: {named(document, name)}")
    return f"{document['hook']}, n={traced.total}, {unknown}"


def ends(options, make, finalises, step="exit", objects=EXECUTABLE):
    """Workers that come to their end: through the interpreter's finalisation, or by _exit."""
    traced, document = heard(options, make(options), (step,), until_ended=True)
    check_interpreter(document, objects=objects)
    exits, unshared = document["causes"].get("exit", 0), document["totals"]["unshared"]
    if not finalises:
        expect(exits == 0, f"the workers end by _exit, but {exits} of {unshared} have cause exit")
        return f"{document['hook']}, n={traced.total}, by _exit"
    unknown = check_known(document)
    expect(exits >= 0.5 * unshared, f"only {exits} of {unshared} have cause exit: {document['causes']}")
    expect(document["exit"]["processes"] >= len(traced.workers),
           f"{len(traced.workers)} workers ended by finalisation, exit says {document['exit']}")
    return f"{document['hook']}, n={traced.total}, {unknown}, exit {exits}"


def brief(options):
    """200 children that live 5 ms: what they did is known all the same."""
    traced, document = heard(options, Piped(options, "pool.py", "brief"), ("read",))
    expect(len(traced.workers) == 200, f"{len(traced.workers)} children instead of 200")
    expect(traced.of_workers >= 200 * 50, f"200 children copied only {traced.of_workers} pages")
    unknown = check_known(document)
    check_read(document)
    return f"{document['hook']}, n={traced.total}, {unknown}"


def nested(options):
    """Three generations: a worker that forks a worker of its own, after it has read."""
    traced, document = heard(options, Piped(options, "pool.py", "nested"), ("read",))
    expect(len(document["processes"]) == 3, f"{len(document['processes'])} rows instead of 3")
    unknown = check_known(document)
    check_read(document)
    return f"{document['hook']}, n={traced.total}, {unknown}"


def subinterpreters(options):
    """The copies are the parent's, made by its two sub-interpreters."""
    traced, document = heard(options, Piped(options, "subinterpreters.py"), ("read", "collect"))
    expect(traced.of_workers >= 2000, f"the parent copied only {traced.of_workers} pages")
    check_interpreter(document)
    unknown = check_known(document)
    check_read(document)
    check_collected(document)
    lines = check_line(document, "reads", 0.8 * document["causes"]["refcount"])
    return f"{document['hook']}, n={traced.total}, {unknown}, {lines}"


def interpreter_here(version):
    path = f"{PYENV}/{version}/bin/python"
    if not os.access(path, os.X_OK):
        raise Skip(f"no {path}")
    return f"Medlar_{version.replace('.', '_')}={path}"


def check_medlars(document, version):
    series = ".".join(version.split(".")[:2])
    check_interpreter(document, version, ("python" + series, "libpython" + series))
    name = f"Medlar_{version.replace('.', '_')}"
    mostly(named(document, name), "refcount", 0.95, f"type {name}")


def several(options, missing):
    """One family, an interpreter of another version in each member."""
    there = [version for version in VERSIONS if version not in missing]
    family = Piped(options, "family.py", *map(interpreter_here, there))
    traced, document = heard(options, family, ("read",))
    unknown = check_known(document)
    for version in there:
        check_medlars(document, version)
    return f"{document['hook']}, n={traced.total}, {unknown}, {len(there)} interpreters"


def exec_other(options, version):
    """A worker reads, then becomes an interpreter of another version, whose child reads."""
    family = Piped(options, "family.py", "--exec", interpreter_here(version))
    traced, document = heard(options, family, ("read", "go"))
    unknown = check_known(document)
    check_interpreter(document)
    mostly(named(document, "Pomegranate"), "refcount", 0.95, "type Pomegranate")
    check_medlars(document, version)
    return f"{document['hook']}, n={traced.total}, {unknown}"


def piped(*arguments):
    return lambda options: Piped(options, *arguments)


def pool(method):
    return piped("pool.py", "multiprocessing", method)


CASES = {
    "os_fork": (served, piped("pool.py", "os_fork")),
    "gunicorn_preload": (served, Gunicorn),
    "gunicorn": (alone, lambda o: Gunicorn(o, preload=False, lifetime=1)),
    "uwsgi": (served, Uwsgi, UWSGI),
    "uwsgi_lazy": (alone, lambda o: Uwsgi(o, "--lazy-apps", lifetime=1), UWSGI),
    "uwsgi_subinterpreters": (served, lambda o: Uwsgi(o, mounts=("one/", "two/")), UWSGI),
    "celery_prefork": (served, Celery),
    "multiprocessing_fork": (served, pool("fork")),
    "multiprocessing_forkserver": (served, pool("forkserver")),
    "multiprocessing_spawn": (alone, pool("spawn")),
    "process_pool_executor": (served, piped("pool.py", "executor")),
    "exit_os_fork": (ends, piped("pool.py", "os_fork"), True),
    "exit_gunicorn": (ends, lambda o: Gunicorn(o, lifetime=1), True, "pid"),
    "exit_uwsgi": (ends, lambda o: Uwsgi(o, lifetime=1), True, "pid", UWSGI),
    "exit_celery": (ends, lambda o: Celery(o, lifetime=1), False, "pid"),
    "exit_multiprocessing": (ends, pool("fork"), False),
    "exit_forkserver": (ends, pool("forkserver"), False),
    "exit_process_pool_executor": (ends, piped("pool.py", "executor"), False),
    "brief": (brief,),
    "nested": (nested,),
    "subinterpreters": (subinterpreters,),
    **{f"exec/{version}": (exec_other, version) for version in ("2.7.18", "3.8.18", "3.12.1")},
}


def cases(report, options):
    for name, (function, *arguments) in CASES.items():
        report.run(f"servers/{name}", function, options, *arguments)
    missing = []
    for version in VERSIONS:
        try:
            interpreter_here(version)
        except Skip:
            missing.append(version)
            report.run(f"servers/several_interpreters/{version}", interpreter_here, version)
    report.run("servers/several_interpreters", several, options, missing)


if __name__ == "__main__":
    sys.exit(main_of("tests/e2e/servers.py", __doc__.splitlines()[0], cases))
