# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""python2.7 setup.py build_ext --inplace: the module gcfreeze beside this file."""
from distutils.core import setup, Extension

setup(name="gcfreeze", version="0.1", description="gc.freeze() for CPython 2.7",
      ext_modules=[Extension("gcfreeze", ["gcfreeze.c"])])
