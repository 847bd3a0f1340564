# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The same application for a second sub-interpreter: uWSGI gives each mounted file one of its own,
and with it a catalogue of its own."""

from wsgi import application  # noqa: F401
