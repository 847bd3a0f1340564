# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A WSGI application for gunicorn and uWSGI: the catalogue is loaded when this is imported.

/pid, /read and /collect answer with the pid of the worker that did it.
"""

import gc
import os
import time

import catalogue

gc.disable()  # so that a collection is one that was asked for
POMEGRANATES, QUINCES = catalogue.load()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("/read"):
        catalogue.read_every_one(POMEGRANATES)
    elif path.endswith("/collect"):
        catalogue.sweep()
    time.sleep(0.02)  # so that the next request finds another worker
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\n" % os.getpid()]
