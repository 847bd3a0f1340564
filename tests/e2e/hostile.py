#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Bad input: names that bite, broken heaps and frames, children half there, and other Pythons.

Each time: no crash, no hang, the right exit status, valid JSON, exact counts, no control character
anywhere, no name that is not one; and what is not supported is said once.
"""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers"))

import fetch_thirtytwo  # noqa: E402
from checks import check_read, mostly, named  # noqa: E402
from common import Attached, Failed, Skip, check_invariants, expect, group, load, main_of, run  # noqa: E402
from families import HERE, PYTHON, Piped, environment  # noqa: E402
from traced import Traced, copies_here  # noqa: E402

ROTTEN = os.path.join(HERE, "rotten.py")
STACKS = ("--stacks=1",)
