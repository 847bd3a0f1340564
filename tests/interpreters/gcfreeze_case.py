# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Run by a real CPython 2.7: gcfreeze_case.py FOLDER_OF_THE_MODULE CASE; gcfreeze.py starts it.

A case that fails dies of its assertion; what one prints is shown beside its name.
"""
from __future__ import print_function

import gc
import os
import sys
import time
import weakref

sys.path.insert(0, sys.argv[1])
import gcfreeze  # noqa: E402


class Node(object):
    def __init__(self):
        self.me = self


class Old:
    pass


def collected(ref):
    gc.collect()
    return ref() is None


def case_survive():
    data = [{"n": n, "t": (n, [n])} for n in range(20000)]
    tracked = len(gc.get_objects())
    gcfreeze.freeze()
    frozen = gcfreeze.get_freeze_count()
    assert abs(frozen - tracked) < 50, (frozen, tracked)
    assert len(gc.get_objects()) < 50, len(gc.get_objects())
    gc.collect()
    assert sum(d["t"][1][0] for d in data) == 199990000
    data[5]["t"][1].append("more")
    del data[100:]
    assert frozen - gcfreeze.get_freeze_count() > 39000  # the dead leave the ring by themselves
    gcfreeze.unfreeze()
    assert gcfreeze.get_freeze_count() == 0
    gc.collect()
    assert data[5]["t"][1] == [5, "more"]


def case_cycles():
    gc.disable()
    before = weakref.ref(Node())
    gcfreeze.freeze()
    after = weakref.ref(Node())
    assert collected(after), "a cycle made after freeze is not collected"
    assert not collected(before), "a frozen cycle was collected"
    gcfreeze.unfreeze()
    assert collected(before), "a cycle given back is not collected"


def case_mixed_cycle():
    """A cycle of a frozen and a younger object: kept while frozen, collected after."""
    gc.disable()
    old = Node()
    gcfreeze.freeze()
    old.young = Node()
    old.young.old = old
    refs = weakref.ref(old), weakref.ref(old.young)
    del old
    assert not collected(refs[0]) and not collected(refs[1])
    gcfreeze.unfreeze()
    assert collected(refs[0]) and collected(refs[1])


def case_broken_cycle():
    """What is frozen still dies by its count."""
    node = Node()
    ref = weakref.ref(node)
    gcfreeze.freeze()
    del node.me
    del node
    assert ref() is None


def case_garbage():
    class Final(object):
        def __del__(self):
            pass
    gc.disable()
    one = Final()
    one.me = one
    del one
    gcfreeze.freeze()
    gc.collect()
    assert not gc.garbage
    gcfreeze.unfreeze()
    gc.collect()
    assert len(gc.garbage) == 1
    del gc.garbage[0].me, gc.garbage[:]


def case_in_collection():
    """freeze and unfreeze called by finalisers, in the midst of a collection."""
    class Freezer(object):
        def __init__(self, function):
            self.function = function

        def __del__(self):
            self.function()
    for function in (gcfreeze.freeze, gcfreeze.unfreeze) * 20:
        node = Node()
        node.freezer = Freezer(function)
        ref = weakref.ref(node, lambda _: function())
        node = None
        assert collected(ref)
    gcfreeze.unfreeze()
    gc.collect()
    assert gcfreeze.get_freeze_count() == 0


def case_counts():
    threshold = gc.get_threshold()
    keep = [[] for _ in range(300)]
    gcfreeze.freeze()
    first, second, third = gc.get_count()
    assert 0 <= first < 20 and (second, third) == (0, 0), (first, second, third)
    gcfreeze.freeze()
    gcfreeze.unfreeze()
    gcfreeze.unfreeze()
    keep += [[] for _ in range(50000)]
    assert 0 <= gc.get_count()[0] <= threshold[0] + 1, gc.get_count()
    assert 0 <= gc.get_count()[1] <= threshold[1] + 1, gc.get_count()
    assert gc.get_threshold() == threshold


def timed_collect():
    start = time.time()
    gc.collect()
    return time.time() - start


def case_million():
    gc.disable()
    data = [[n] for n in range(1000000)]
    gc.collect()
    without = min(timed_collect() for _ in range(3))
    start = time.time()
    gcfreeze.freeze()
    splice = time.time() - start
    assert gcfreeze.get_freeze_count() >= 1000000
    assert len(gc.get_objects()) < 100
    frozen = min(timed_collect() for _ in range(3))
    assert splice < 0.001, "freeze took %g s" % splice
    # not nothing: a full collection also goes through the integers, for their free list
    assert frozen < without / 15, (without, frozen)
    gcfreeze.unfreeze()
    again = timed_collect()
    assert again > without / 3 and len(gc.get_objects()) >= 1000000
    print("collect %.1f ms, frozen %.3f ms, freeze %.1f us" %
          (without * 1e3, frozen * 1e3, splice * 1e6))
    assert data[-1] == [999999]


def case_repeat():
    live = []
    for turn in range(300):
        live.append([Node() for _ in range(100)])
        if turn % 3 == 2:
            del live[turn % 7 % len(live)]
        (gcfreeze.freeze, gcfreeze.unfreeze, gc.collect)[turn * 7 % 3]()
    del live
    gcfreeze.unfreeze()
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is Node]


def case_many_kinds():
    """Modules imported and threads run, before and after."""
    import threading
    import json
    gcfreeze.freeze()
    import decimal
    done = []
    threads = [threading.Thread(target=lambda: done.append(json.loads("[1, {}]")))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert done == [[1, {}]] * 8 and decimal.Decimal("1.5") * 2 == 3
    instance = Old()
    instance.me = instance
    gcfreeze.freeze()
    gc.collect()
    reload(gcfreeze)
    assert gcfreeze.get_freeze_count() > 1000


def case_exit():
    """An ordinary end with everything frozen; gcfreeze.py looks at the exit status."""
    keep = [Node() for _ in range(50000)]
    gcfreeze.freeze()
    sys.modules["keep"] = keep


def private_pages():
    with open("/proc/self/smaps") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty")) // 4


def pages_of_collection(freezing, integers):
    gc.disable()
    data = [({"n": [Old]}, [], "text %d" % n, Old()) for n in xrange(100000)]
    data.append(range(1000, 1000 + integers))
    gc.collect()
    if freezing:
        gcfreeze.freeze()
    whole = private_pages()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        private_pages()
        before = private_pages()
        gc.collect()
        os.write(write_end, str(private_pages() - before).encode())
        os._exit(0)
    os.close(write_end)
    pages = int(os.read(read_end, 100))
    assert os.waitpid(pid, 0)[1] == 0 and data
    return pages, whole


def case_fork_plain():
    pages, whole = pages_of_collection(False, 0)
    print("a child's collection unshares %d of %d pages (%d %%)" %
          (pages, whole, 100 * pages // whole))
    assert pages > whole * 0.35, (pages, whole)


def case_fork_frozen():
    pages, whole = pages_of_collection(True, 0)
    print("a child's collection unshares %d of %d pages" % (pages, whole))
    assert pages < whole * 0.005, (pages, whole)


def case_fork_integers():
    """What freeze cannot stop: 2.7's full collection relinks the blocks that integers are in."""
    pages, whole = pages_of_collection(True, 200000)
    blocks = 200000 * 24 // 4096
    print("a child's collection unshares %d of %d pages, %d of them of integers" %
          (pages, whole, blocks))
    assert blocks * 0.9 < pages < blocks * 1.1 + whole * 0.005, (pages, blocks, whole)


if __name__ == "__main__":
    globals()["case_" + sys.argv[2]]()
