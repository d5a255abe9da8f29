# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long the kernel waits, and how long tests do on a slow machine.

Lives here: what programs of guests share that have no library but Python's own. Does not know what is waited for.
"""

SLOW_SECONDS = 180  # a start of Python under emulation on a machine that does other things, too
KERNEL_SECONDS = 14  # it waits 15 for an answer
