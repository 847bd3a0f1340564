# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The servers as these tests see them: a master to attach to, workers, and things they can do.

Each is a context manager; at its end nothing that it started is left.
"""

import contextlib
import os
import select
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from common import Failed, Skip, group
from oracle import children_of

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"  # Debian's own
WORKERS = 2


def need(path, package):
    if not os.path.exists(path):
        raise Skip(f"{path} is not there (Debian package {package})")


def environment(**more):
    """Nothing of the one who runs the tests: no PYTHON*, no locale, no user site."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8",
            "PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", **more}


def descendants(pid):
    """The dead among them too, until they are reaped."""
    found = []
    for child in children_of(pid, but=""):
        found += [child, *descendants(child)]
    return found


class Family:
    """What all have: the process group, a log, the pids."""

    lifetime = 0  # requests of a worker; 0: no end

    def __init__(self, options):
        self.options = options

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        try:
            self.folder = self.stack.enter_context(
                tempfile.TemporaryDirectory(prefix="cowtrace-e2e-", ignore_cleanup_errors=True))
            self.log = self.stack.enter_context(open(f"{self.folder}/log", "w+b"))
            self.begin()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *details):
        self.stack.close()

    def start(self, command, env, **keywords):
        keywords = {"stdin": subprocess.DEVNULL, "stdout": self.log, **keywords}
        return self.stack.enter_context(group(command, cwd=self.folder, stderr=self.log, env=env,
                                              **keywords))

    def pids(self):
        return [self.master.pid, *descendants(self.master.pid)]

    def last_words(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()[-300:]

    def fail(self, text):
        raise Failed(f"{text}: {self.last_words()!r}")

    def await_true(self, condition, text):
        end = time.monotonic() + self.options.timeout
        while not condition():
            if time.monotonic() > end:
                self.fail(text)
            time.sleep(0.02)


class Piped(Family):
    """A program that obeys lines on its standard input."""

    def __init__(self, options, *arguments, program=PYTHON):
        super().__init__(options)
        self.program, self.arguments = program, arguments

    def begin(self):
        command = [self.program]
        if self.arguments:
            command += [os.path.join(HERE, self.arguments[0]), *self.arguments[1:]]
        self.master = self.start(command, environment(), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.buffer = b""
        self.workers = self.answer("ready")

    def answer(self, word):
        end = time.monotonic() + self.options.timeout
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.master.stdout], [], [],
                                        max(0, end - time.monotonic()))
            data = os.read(self.master.stdout.fileno(), 65536) if ready else b""
            if not data:
                self.fail(f"{self.program} {' '.join(self.arguments)} never said {word!r}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        said, *pids = line.decode().split()
        if said != word:
            self.fail(f"{self.program} {' '.join(self.arguments)} said {said!r} instead of {word!r}")
        return [int(pid) for pid in pids]

    def do(self, name):
        self.master.stdin.write(f"{name}\n".encode())
        self.master.stdin.flush()
        return self.answer("done")


class Web(Family):
    """A server that is asked over HTTP; mounts: the applications in it."""

    mounts = ("",)

    def begin(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.master = self.start(self.command(), environment())
        answered = []
        self.await_true(lambda: answered.append(self.ask("pid")) or answered[-1], "no answer")
        self.await_true(lambda: self.settled(answered[-1]), "not all workers there")
        self.workers = children_of(self.master.pid)

    def settled(self, answered):
        """As many workers as there should be; the one that answered made room for another, if it
        does so after a request."""
        workers = children_of(self.master.pid, but="")
        return len(workers) == WORKERS and (answered in workers) == (self.lifetime == 0)

    def ask(self, path):
        """The pid that answered; None: it did not."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/{path}", timeout=20) as answer:
                return int(answer.read())
        except (urllib.error.URLError, ConnectionError, socket.timeout):
            return None

    def do(self, name):
        """Ask until each worker has answered; the kernel chooses which one does. A worker that
        ends after its request is another one each time."""
        done = set()
        for mount in self.mounts:
            answered = set()
            for _ in range(WORKERS if self.lifetime else 200):
                answered.add(self.ask(f"{mount}{name}"))
                if len(answered - {None}) == WORKERS:
                    break
            answered.discard(None)
            if len(answered) < WORKERS:
                self.fail(f"{len(answered)} of {WORKERS} workers answered")
            done |= answered
        return sorted(done)


class Gunicorn(Web):
    def __init__(self, options, preload=True, lifetime=0):
        super().__init__(options)
        self.preload, self.lifetime = preload, lifetime

    def command(self):
        need("/usr/bin/gunicorn", "gunicorn")
        return [PYTHON, "/usr/bin/gunicorn", "--workers", str(WORKERS), "--bind",
                f"127.0.0.1:{self.port}", *(["--preload"] if self.preload else []),
                *(["--max-requests", str(self.lifetime)] if self.lifetime else []),
                "--worker-tmp-dir", "/dev/shm", "wsgi:application"]


class Uwsgi(Web):
    def __init__(self, options, *extra, mounts=("",), lifetime=0):
        super().__init__(options)
        self.extra, self.mounts, self.lifetime = extra, mounts, lifetime

    def command(self):
        need("/usr/bin/uwsgi", "uwsgi-core")
        need("/usr/lib/uwsgi/plugins/python3_plugin.so", "uwsgi-plugin-python3")
        applications = ["--wsgi-file", f"{HERE}/wsgi.py"]
        if self.mounts != ("",):
            applications = ["--manage-script-name"]
            for mount, name in zip(self.mounts, ("wsgi.py", "wsgi_two.py")):
                applications += ["--mount", f"/{mount.strip('/')}={HERE}/{name}"]
        return ["/usr/bin/uwsgi", "--plugin", "python3", "--master", "--processes", str(WORKERS),
                "--http-socket", f"127.0.0.1:{self.port}", "--need-app", *applications,
                *(["--max-requests", str(self.lifetime), "--min-worker-lifetime", "0"]
                  if self.lifetime else []), *self.extra]


class Celery(Family):
    """The broker is a folder: no daemon."""

    def __init__(self, options, lifetime=0):
        super().__init__(options)
        self.lifetime = lifetime

    def begin(self):
        need("/usr/lib/python3/dist-packages/celery", "python3-celery")
        for name in ("queue", "results", "control"):
            os.mkdir(f"{self.folder}/{name}")
        env = environment(CATALOGUE_BROKER=self.folder)
        limit = ["--max-tasks-per-child", str(self.lifetime)] if self.lifetime else []
        self.master = self.start([PYTHON, "-m", "celery", "-A", "tasks", "worker", "--concurrency",
                                  str(WORKERS), "--loglevel", "WARNING", *limit], env)
        self.client = self.start([PYTHON, os.path.join(HERE, "tasks.py")], env,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.workers = self.do("pid")

    def do(self, name):
        self.client.stdin.write(f"{name} {WORKERS}\n")
        self.client.stdin.flush()
        ready, _, _ = select.select([self.client.stdout], [], [], self.options.timeout)
        line = self.client.stdout.readline() if ready else ""
        if len(line.split()) < WORKERS:
            self.fail(f"Celery's workers did not all do {name!r} but {line!r}")
        return [int(pid) for pid in line.split()]
