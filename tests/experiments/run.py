#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The experiments: what each cure saves a forked child, counted by cowtrace itself.

run.py [--build DIR] [--objects N] [--check]

Each layout x treatment x action of subject.c runs under cowtrace; the child's row must equal what
page frames say. Writes experiments.json into the build folder, the picture beside this file and
the table into the README; --check writes nothing outside the build folder, for `make check`.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYOUTS = ("inline", "split")
TREATMENTS = ("plain", "freeze", "immortal", "shared")
ACTIONS = ("idle", "read", "collect", "mutate", "allocate", "exit")
HEAP = ("refcount", "gc_header", "payload", "buffer", "allocator", "free", "type", "preheader")
COLOURS = ("#d9534f", "#4a90d9", "#e0a030", "#8e6bbf", "#3fa373", "#7fb8b0", "#c06090", "#a08060")
OTHER = "#8a8f98"  # stack, data, ...: the process itself
NOISE = 4  # pages of stack and data by which two runs of one program differ


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def expect(self, name, fine, why):
        self.passed += bool(fine)
        self.failed += not fine
        print(f"ok {name} ({why})" if fine else f"FAIL {name}: {why}", flush=True)


def run_cell(build, objects, layout, treatment, action):
    """The row of the JSON, and how many pages of the heap hold a refcount."""
    with tempfile.TemporaryDirectory(prefix="cowtrace-experiments-") as folder:
        trace, result = os.path.join(folder, "trace"), os.path.join(folder, "result")
        command = [os.path.join(build, "cowtrace"), "--json", trace, "--",
                   os.path.join(build, "experiments", "subject"), "--layout", layout,
                   "--treatment", treatment, "--action", action, "--objects", str(objects),
                   "--out", result]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        if done.returncode:
            sys.exit(f"experiments: exit status {done.returncode}: {' '.join(command)}\n{done.stderr}")
        with open(trace, encoding="utf-8") as file:
            traced = json.load(file)
        with open(result, encoding="utf-8") as file:
            seen = json.load(file)
    rows = [p for p in traced["processes"] if p["pid"] == seen["child"]]
    child = rows[0] if rows else {"unshared": 0, "undetailed": 0, "cells": {}, "causes": {}}
    row = {"layout": layout, "treatment": treatment, "action": action,
           "unshared": child["unshared"], "pagemap": seen["pagemap"],
           "cells": child["cells"], "causes": child["causes"]}
    return row, seen["refcount_pages"], child["undetailed"], traced


def heap_pages(row):
    return sum(row["cells"].get(cell, 0) for cell in HEAP)


def check_row(report, row, undetailed):
    name = "/".join((row["layout"], row["treatment"], row["action"]))
    sums = [sum(row[key].values()) for key in ("cells", "causes")]
    detailed = row["unshared"] - undetailed
    report.expect(name, row["unshared"] == row["pagemap"] and sums == [detailed, detailed],
                  f"unshared {row['unshared']}, pagemap {row['pagemap']}, "
                  f"cells {sums[0]}, causes {sums[1]}, undetailed {undetailed}")


def check_claims(report, at, refcount_pages):
    """@at: (layout, treatment, action) -> row; @refcount_pages of the same heap laid out inline."""
    def nothing(name, key, pages):
        extra = at[key]["unshared"] - at[key[:2] + ("idle",)]["unshared"]
        report.expect(name, pages == 0 and extra <= NOISE,
                      f"{pages} pages; {extra:+} beside a child that does nothing")

    read = at["inline", "plain", "read"]["cells"].get("refcount", 0)
    report.expect("inline_read", read >= 0.9 * refcount_pages,
                  f"{read} of {refcount_pages} pages that hold a refcount; 90 % at least")
    split = at["split", "plain", "read"]
    extra = split["unshared"] - at["split", "plain", "idle"]["unshared"]
    read = max(heap_pages(split), extra)
    report.expect("split_read", 0 < read <= 0.15 * refcount_pages,
                  f"{read} for the {refcount_pages} pages of inline; 15 % at most")
    frozen = at["inline", "freeze", "read"]["cells"].get("refcount", 0)
    report.expect("freeze_does_not_help_reading", frozen >= 0.9 * refcount_pages,
                  f"{frozen} of {refcount_pages} pages that hold a refcount")
    gathered = at["inline", "plain", "collect"]["cells"].get("gc_header", 0)
    report.expect("plain_collect_writes_headers", gathered > 0, f"{gathered} pages")
    for layout in LAYOUTS:
        key = (layout, "freeze", "collect")
        nothing(f"{layout}_freeze_collect", key, at[key]["cells"].get("gc_header", 0))
        for treatment in ("immortal", "shared"):
            key = (layout, treatment, "read")
            nothing(f"{layout}_{treatment}_read", key, heap_pages(at[key]))


def markdown(rows, refcount_pages, objects, traced):
    lines = [f"Pages that one child copied of a heap of {objects:,} objects, {refcount_pages:,} pages of which hold a "
             "refcount when laid out inline (",
             f"kernel {platform.release()}, hook {traced['hook']}; every number is cowtrace's and equals pagemap's):", "",
             "| layout, treatment | " + " | ".join(ACTIONS) + " |", "|---|" + "--:|" * len(ACTIONS)]
    lines[0:2] = [lines[0] + lines[1]]
    for layout in LAYOUTS:
        for treatment in TREATMENTS:
            numbers = [f"{r['unshared']:,}" for r in rows
                       if (r["layout"], r["treatment"]) == (layout, treatment)]
            lines.append(f"| {layout}, {treatment} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n\n![the same by cell](tests/experiments/experiments.svg)\n"


def bar(x, y, row, scale):
    parts = [(row["cells"].get(cell, 0), colour) for cell, colour in zip(HEAP, COLOURS)]
    parts.append((row["unshared"] - heap_pages(row), OTHER))
    for pages, colour in parts:
        if pages > 0:
            yield f'<rect x="{x:.1f}" y="{y}" width="{pages * scale:.1f}" height="11" fill="{colour}"/>'
        x += pages * scale
    yield f'<text x="{x + 5:.1f}" y="{y + 9}">{row["unshared"]:,}</text>'


def picture(rows):
    """Bars by action; a grey that is legible on white and on black, and no background."""
    widest = max(r["unshared"] for r in rows) or 1
    used = [(c, colour) for c, colour in zip(HEAP, COLOURS) if any(r["cells"].get(c) for r in rows)]
    body, x, y = [], 120, 24
    for cell, colour in used + [("stack, data", OTHER)]:
        body += [f'<rect x="{x}" y="6" width="10" height="10" fill="{colour}"/>',
                 f'<text x="{x + 14}" y="15">{cell}</text>']
        x += 34 + 7 * len(cell)
    for action in ACTIONS:
        y += 20
        body.append(f'<text x="4" y="{y}" font-weight="bold">{action}</text>')
        y += 5
        for row in (r for r in rows if r["action"] == action):
            body.append(f'<text x="112" y="{y + 9}" text-anchor="end">{row["layout"]}, {row["treatment"]}</text>')
            body += bar(120, y, row, 620 / widest)
            y += 14
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{y + 10}" viewBox="0 0 800 {y + 10}" '
            'font-family="sans-serif" font-size="11" fill="#808790">\n'
            '<title>Pages unshared by cell of the heap, layout, treatment and action</title>\n'
            + "\n".join(body) + "\n</svg>\n")


def write(path, text):
    """A file of the checkout stays its owner's where this runs by sudo."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    owner = os.stat(os.path.dirname(path))
    os.chown(path, owner.st_uid, owner.st_gid)


def publish(table, svg):
    readme = os.path.join(ROOT, "README.md")
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    text, found = re.subn(r"(<!-- made by `make experiments`: table -->\n).*?(<!-- end -->)",
                          lambda m: m.group(1) + table + m.group(2), text, flags=re.S)
    if found != 1:
        sys.exit(f"experiments: the README has {found} blocks for the table")
    write(readme, text)
    write(os.path.join(ROOT, "tests/experiments/experiments.svg"), svg)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--objects", type=int, default=200000)
    parser.add_argument("--check", action="store_true", help="leave README and picture alone")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    report, rows, at, refcount_pages, traced = Report(), [], {}, 0, None
    for layout in LAYOUTS:
        for treatment in TREATMENTS:
            for action in ACTIONS:
                row, pages, undetailed, traced = run_cell(build, options.objects, layout, treatment,
                                                          action)
                check_row(report, row, undetailed)
                rows.append(row)
                at[layout, treatment, action] = row
                if (layout, treatment) == ("inline", "plain"):
                    refcount_pages = pages
    check_claims(report, at, refcount_pages)
    name = "experiments-check.json" if options.check else "experiments.json"
    write(os.path.join(build, name),
          "[" + ",\n ".join(json.dumps(row) for row in rows) + "]\n")
    if not options.check:
        table = markdown(rows, refcount_pages, options.objects, traced)
        print(table)
        if not report.failed:
            publish(table, picture(rows))
    print(f"{report.passed} passed, {report.failed} failed, 0 skipped")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
