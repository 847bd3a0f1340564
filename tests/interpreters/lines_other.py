# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A module of lines_case.py's: what it reads is told of this file."""


def elsewhere(numbers):
    """A function

    whose lines are not where they seem, for this text and the gaps below."""
    before = 0

    # so that the line is more than 127 bytes of code away from the last

    before = (before, before, before, before, before, before, before, before, before, before, before, before)
    return sum(numbers)  # reads elsewhere


class Reader(object):
    def method(self, numbers):
        return self.inner(numbers)

    @staticmethod
    def inner(numbers):
        def innermost():
            return sum(numbers)  # reads innermost
        return innermost()
