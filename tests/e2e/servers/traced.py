# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A family of processes under cowtrace, and the kernel's own counts around it."""

from checks import Bounds, check_counts
from common import Attached, Skip, expect, rows_by_pid
from oracle import Copies, differing_pages, state_and_parent

STACKS = ("--stacks=1",)


class Traced:
    """A family, cowtrace attached to its master, and the kernel's counts around it."""

    def __init__(self, options, family, copies):
        self.options, self.family = options, family
        self.bounds = Bounds(copies)
        self.workers = set()

    def run(self, steps, frames_of=(), until_ended=False):
        """Do the steps; the JSON. Page frames are compared of the workers in frames_of."""
        self.bounds.take("before", self.family.pids())
        with Attached(self.options, self.family.master.pid, STACKS) as attached:
            self.bounds.take("attached", self.family.pids())
            frames = {pid: unlike_parent(pid) for pid in frames_of}
            for step in steps:
                self.workers.update(self.family.do(step))
            if until_ended:
                self.family.await_true(lambda: self.workers <= set(self.bounds.copies.ended),
                                       "the workers don't end")
            frames = {pid: unlike_parent(pid) - frames[pid] for pid in frames_of}
            self.bounds.take("detaching", self.family.pids())
            self.document = attached.stop()
            self.said = attached.err.decode(errors="replace")
        self.bounds.take("after", self.family.pids())
        self.of_workers, self.total = check_counts(self.document, self.bounds, self.workers)
        rows = rows_by_pid(self.document)
        for pid, differing in frames.items():
            copied = rows[pid]["copy"]
            expect(abs(differing - copied) <= copied * 0.08 + 50,
                   f"worker {pid} and its parent ceased to share {differing} page frames, but "
                   f"{copied} copies are counted")
        return self.document


def unlike_parent(pid):
    return differing_pages(state_and_parent(pid)[1], pid)


def copies_here():
    try:
        return Copies()
    except (OSError, LookupError) as reason:
        raise Skip(f"the kernel's own counts are not to be had: {reason}") from reason
