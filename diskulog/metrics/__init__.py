# SPDX-License-Identifier: LGPL-2.1-or-later
"""Metrics for Prometheus, made of what the daemon answers at its control socket.

Lives here: names, the text, the file and the web server. Does not know the daemon's side or the command line.
"""
