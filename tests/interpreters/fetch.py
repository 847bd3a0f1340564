#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""fetch.py [NAME...] - fetch CPythons of Debian's other suites; print "NAME VERSION PATH" for each.
fetch.py --list       - print "NAME PATH" for every interpreter in reach: pyenv's, Debian's, fetched ones.

An interpreter is unpacked beside the libc and the libraries of its suite; PATH is a program that
starts it through that libc's ld.so, so /proc/PID/exe is ld.so and Python a mapped module.
apt-get does the fetching and checks signatures and hashes, with lists, cache and sources of its own
below the cache folder: the machine's sources and packages stay as they are. What is cached in its
newest version is not fetched again (asked once a day).
Status 3: an interpreter is neither cached nor to be had from here.
Environment: CT_PYTHON_CACHE (default ~/.cache/cowtrace/interpreters), CT_PYTHON_MIRROR (default: the
machine's own Debian mirror), CT_PYTHON_OFFLINE=1 (use what is cached, ask nobody), PYENV_ROOT.
"""
import argparse
import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LIST_AGE_S = 24 * 3600
TRIES = 4  # of a download, with pauses of 3, 9 and 27 seconds between
TIMEOUT_S = 600

# Each name: its package, and the suites to look in, the first that has it wins.
SOURCES = {
    "deb3.9": ("python3.9", ["bullseye"]),
    "deb3.13": ("python3.13", ["trixie"]),
    "deb3.14": ("python3.14", ["sid", "forky"]),
    "deb3.15": ("python3.15", ["sid", "experimental"]),
}
# Dependencies that no interpreter needs to run.
UNNEEDED = {"debconf", "tzdata", "netbase", "readline-common", "media-types", "mime-support",
            "libc-gconv-modules-extra", "openssl-provider-legacy"}

CONF = """Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{state}";
Dir::Cache::pkgcache "{state}/pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Cache::archives "{state}/archives";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "{state}/none";
Dir::Etc::preferences "{state}/none";
Dir::Etc::preferencesparts "{state}/prefs";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""

# The wrapper. No PYTHONHOME: it would reach the children, which may be another version; the folder
# beside the wrapper named "lib" tells Python where its library is.
WRAPPER = """#!/bin/sh
# starts {package} {version} of Debian {suite} through the ld.so of its own libc
exec "{here}/{loader}" --library-path "{libraries}"{argv0} "{here}/{program}" "$@"
"""


class NotToBeHad(Exception):
    """An interpreter that is neither cached nor in reach: the caller skips it."""


def cache_root():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("CT_PYTHON_CACHE") or os.path.join(base, "cowtrace", "interpreters")


def run(command, **more):
    more.setdefault("timeout", TIMEOUT_S)
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **more)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, f"E: {command[0]} took more than {more['timeout']} s\n")
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, f"E: {command[0]}: {error.strerror}\n")


def complaint(said):
    found = re.search(r"^[EW]: .*", said, re.M)
    return found[0] if found else (said.strip().split("\n")[-1] or "no reason given")


def patiently(command, **more):
    """The same command some times over, with growing pauses: mirrors are busy, networks slow."""
    for tried in range(TRIES):
        if tried:
            time.sleep(3 ** tried)
        ended = run(command, **more)
        if not ended.returncode:
            break
    return ended


def mirror():
    if os.environ.get("CT_PYTHON_MIRROR"):
        return os.environ["CT_PYTHON_MIRROR"]
    said = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"])
    found = re.search(r"^Debian\|Debian\|(.*)$", said.stdout, re.M)
    if not found:
        raise NotToBeHad("no Debian mirror among this machine's sources: set CT_PYTHON_MIRROR")
    return found[1]


class Suite:
    """A Debian suite, with an apt state of its own."""

    def __init__(self, name):
        self.name = name
        self.state = os.path.join(cache_root(), "apt", name)

    def apt(self, tool, *words, **more):
        command = [tool, "-c", os.path.join(self.state, "apt.conf"), "-q", *words]
        return (patiently if more.pop("patient", False) else run)(command, **more)

    def write(self, name, text):
        with open(os.path.join(self.state, name), "w", encoding="utf-8") as file:
            file.write(text)

    def refresh(self):
        """Read the suite's package list, when the one here is older than a day."""
        mark = os.path.join(self.state, "refreshed")
        if os.path.exists(mark) and time.time() - os.path.getmtime(mark) < LIST_AGE_S:
            return
        site = mirror()
        if not os.access(KEYRING, os.R_OK):
            raise NotToBeHad(f"no {KEYRING}: apt-get install debian-archive-keyring")
        for folder in ("lists/partial", "archives/partial", "prefs"):
            os.makedirs(os.path.join(self.state, folder), exist_ok=True)
        self.write("status", "")
        self.write("apt.conf", CONF.format(state=self.state))
        suites = ["sid", "experimental"] if self.name == "experimental" else [self.name]
        self.write("sources.list", "".join(f"deb [arch=amd64 signed-by={KEYRING}] {site} {suite} main\n"
                                           for suite in suites))
        ended = self.apt("apt-get", "-o", "APT::Update::Error-Mode=any", "update", patient=True)
        if ended.returncode:
            raise NotToBeHad(f"cannot read the package list of {self.name}: {complaint(ended.stdout)}")
        self.write("refreshed", "")

    def version(self, package):
        """The newest version of the package, or None."""
        said = self.apt("apt-cache", "show", "--no-all-versions", package).stdout
        found = re.search(r"^Version: (\S+)", said, re.M)
        return found[1] if found else None

    def closure(self, package):
        """The package and all it needs, as "name=version"."""
        ended = self.apt("apt-get", "-s", "--no-install-recommends", "install", package)
        needed = re.findall(r"^Inst (\S+) \((\S+)", ended.stdout, re.M)
        if ended.returncode or not needed:
            raise NotToBeHad(f"{package} of {self.name} cannot be resolved: {complaint(ended.stdout)}")
        return [f"{name}={version}" for name, version in needed if name not in UNNEEDED]

    def download(self, packages, folder):
        ended = self.apt("apt-get", "download", *packages, patient=True, cwd=folder)
        if ended.returncode:
            raise NotToBeHad(f"cannot fetch from {self.name}: {complaint(ended.stdout)}")


def only(what, paths):
    found = sorted(path for path in paths if os.path.isfile(path))
    if not found:
        raise NotToBeHad(f"the packages hold no {what}")
    return found[0]


def write_wrapper(package, version, suite, folder, final):
    """The program that starts what is unpacked in folder, which will be renamed to final."""
    root = os.path.join(folder, "root")
    program = only(package, [os.path.join(root, "usr/bin", package)])
    loader = only("ld.so", glob.glob(root + "/lib*/**/ld-linux-x86-64.so.2", recursive=True) +
                  glob.glob(root + "/usr/lib*/**/ld-linux-x86-64.so.2", recursive=True))
    inside = [os.path.join("root", path) for path in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]
    libraries = ":".join(os.path.join(final, path) for path in inside if os.path.isdir(os.path.join(folder, path)))
    os.symlink("root/usr/lib", os.path.join(folder, "lib"))
    # glibc 2.33 and later can tell Python the wrapper's name, so that sys.executable can be run.
    knows_argv0 = "--argv0" in run([loader, "--help"]).stdout
    wrapper = os.path.join(folder, "python")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(WRAPPER.format(package=package, version=version, suite=suite, here=final, libraries=libraries,
                                  loader=os.path.relpath(loader, folder), program=os.path.relpath(program, folder),
                                  argv0=f' --argv0 "{final}/python"' if knows_argv0 else ""))
    os.chmod(wrapper, 0o755)


def unpack(package, version, suite, folder):
    """Download and unpack into folder, which appears whole or not at all."""
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(os.path.join(part, "root"))
    with tempfile.TemporaryDirectory(prefix="debs.", dir=suite.state) as debs:
        suite.download(suite.closure(package), debs)
        for deb in sorted(glob.glob(os.path.join(debs, "*.deb"))):
            ended = run(["dpkg", "-x", deb, os.path.join(part, "root")])
            if ended.returncode:
                raise NotToBeHad(f"cannot unpack {os.path.basename(deb)}: {complaint(ended.stdout)}")
    write_wrapper(package, version, suite.name, part, folder)
    with open(os.path.join(part, "version"), "w", encoding="utf-8") as file:
        file.write(version + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(part, folder)


def cached(name):
    """(version, path of the wrapper) of what is in the cache, or None."""
    folder = os.path.join(cache_root(), name)
    path = os.path.join(folder, "python")
    try:
        with open(os.path.join(folder, "version"), encoding="utf-8") as file:
            return (file.read().strip(), path) if os.access(path, os.X_OK) else None
    except OSError:
        return None


def newest(package, suites):
    """(version, suite) of the first suite that has the package."""
    why = f"no {package} in {' or '.join(suites)}"
    for name in suites:
        suite = Suite(name)
        try:
            suite.refresh()
        except NotToBeHad as error:
            why = str(error)
            continue
        version = suite.version(package)
        if version:
            return version, suite
    raise NotToBeHad(why)


def runs(path, package):
    """Whether the unpacked interpreter runs, is the version it should be, and finds its own library."""
    ended = run([path, "-c", "import sys, ctypes, json; print('python%d.%d' % sys.version_info[:2], ctypes.__file__)"])
    words = ended.stdout.split()
    return not ended.returncode and words[0] == package and words[1].startswith(os.path.dirname(path))


@contextlib.contextmanager
def locked():
    os.makedirs(cache_root(), exist_ok=True)
    with open(os.path.join(cache_root(), "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(name):
    """Have the newest interpreter of that name in the cache: (version, path). Raises NotToBeHad."""
    package, suites = SOURCES[name]
    with locked():
        have = cached(name)
        if os.environ.get("CT_PYTHON_OFFLINE"):
            if not have:
                raise NotToBeHad(f"no {name} is cached in {cache_root()}")
            return have
        try:
            version, suite = newest(package, suites)
            if not have or have[0] != version:
                print(f"fetch.py: fetching {package} {version} of {suite.name}", file=sys.stderr)
                unpack(package, version, suite, os.path.join(cache_root(), name))
        except NotToBeHad:
            if not have:
                raise
            return have  # not the newest, but one that runs
        have = cached(name)
        if not runs(have[1], package):
            raise NotToBeHad(f"{package} {version} of {suite.name} does not run here")
        return have


def pyenv_interpreters():
    """name -> path of each CPython of pyenv: "2.7", "3.6"...; of several the newest of that series."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {}
    for path in glob.glob(os.path.join(root, "versions", "*", "bin", "python")):
        version = re.fullmatch(r"(\d+\.\d+)\.(\d+)", path.split(os.sep)[-3])
        if version and os.access(path, os.X_OK):
            newer = max(found.get(version[1], (-1, "")), (int(version[2]), path))
            found[version[1]] = newer
    return {name: path for name, (_, path) in found.items()}


def interpreters():
    """name -> path of every interpreter in reach, oldest first; nothing is fetched for it."""
    found = pyenv_interpreters()
    if os.access("/usr/bin/python3.11", os.X_OK):
        found["deb3.11"] = "/usr/bin/python3.11"
    for name in SOURCES:
        have = cached(name)
        if have:
            found[name] = have[1]
    return dict(sorted(found.items(), key=lambda item: age(item[0])))


def age(name):
    """For sorting by version: 2.7 before 3.9 before 3.10, pyenv's before Debian's."""
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--list", action="store_true", help="print every interpreter in reach, fetch none")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SOURCES)} (default: all)")
    given = parser.parse_args()
    if given.list:
        for name, path in interpreters().items():
            print(name, path)
        return 0
    unknown = [name for name in given.names if name not in SOURCES]
    if unknown:
        parser.error(f"no interpreter {', '.join(unknown)}: there are {', '.join(SOURCES)}")
    status = 0
    for name in given.names or SOURCES:
        try:
            version, path = fetch(name)
            print(name, version, path, flush=True)
        except NotToBeHad as error:
            print(f"fetch.py: {name}: {error}", file=sys.stderr)
            status = 3
    return status


if __name__ == "__main__":
    sys.exit(main())
