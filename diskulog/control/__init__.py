# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asking the running daemon, through its control socket.

Lives here: the client's side only. Does not know how the daemon serves it, or the command line.
"""
