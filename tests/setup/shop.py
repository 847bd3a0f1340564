#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The program of the README's CPython picture: a catalogue loaded once, three workers that use it."""
import gc
import os
import sys
import time


class Article:
    def __init__(self, number):
        self.number = number
        self.title = f"article {number}"
        self.tags = [number % 7, "in stock"]


ARTICLES = [Article(n) for n in range(100_000)]


def cheapest():
    return min(a.number for a in ARTICLES)


def tidy_up():
    gc.collect()


def worker(job):
    pid = os.fork()
    if pid == 0:
        job()
        time.sleep(0.2)
        if job is not bool:
            os._exit(0)
        sys.exit(0)  # through the interpreter's finalisation
    return pid


def main():
    gc.collect()
    time.sleep(1)
    for job in (cheapest, tidy_up, bool):
        os.waitpid(worker(job), 0)
    time.sleep(0.5)
    os._exit(0)


main()
