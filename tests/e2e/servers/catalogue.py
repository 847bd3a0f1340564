# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What every server of these tests serves: two shelves that are loaded once, before the fork.

The pomegranates are read by requests and never collected alone; nobody ever reads the quinces, so
only a collection writes to them. Each class is made of objects of a size and place of its own, so
that a page belongs to one of them.
"""

import gc
import os

COUNT = int(os.environ.get("CATALOGUE_COUNT", "40000"))


class Pomegranate:
    """Read by every request."""

    def __init__(self, number):
        self.name = f"pomegranate {number}"
        self.labels = {"number": number, "colour": f"red {number % 97}", "seeds": number * 613}
        self.weights = [number + 1000, float(number), (number, f"seed {number}")]


class Quince:
    """Read by nobody."""

    def __init__(self, number):
        self.weight = number
        self.neighbours = [self]


def load(count=COUNT):
    """About 30 MB: (pomegranates, quinces)."""
    pomegranates = {number: Pomegranate(number) for number in range(count)}
    gc.collect()
    quinces = [Quince(number) for number in range(count // 2)]
    return pomegranates, quinces


def read_every_one(pomegranates):
    """The only place where pomegranates are read."""
    total = 0
    for number in range(len(pomegranates)):
        total += len(pomegranates[number].name) + len(pomegranates[number].labels["colour"])  # reads
    return total


def sweep():
    """The only place where garbage is collected."""
    return gc.collect()  # collects


def line_of(marker):
    """(line number, function) of a line of this file that ends in "# MARKER"."""
    function = None
    with open(__file__, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if line.startswith("def "):
                function = line.split("(")[0].split()[1]
            if line.rstrip().endswith(f"# {marker}"):
                return number, function
    raise LookupError(marker)
