# SPDX-License-Identifier: LGPL-2.1-or-later
"""Moving a live mirror to another log: the kernel's or diskulog's, on the same device or another one.

Lives here: ``migrate`` and ``replace-log``. Does not know the command line, or how the daemon keeps a log.
"""
