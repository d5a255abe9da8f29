# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mirrors of this host as an administrator makes, lists, saves and removes them, by way of ``dmsetup``.

Lives here: table lines, the sizes in them, the devices under them. Does not know requests, or how a log is kept.
"""
