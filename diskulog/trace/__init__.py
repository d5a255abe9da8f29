# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel asked, as a file: heard beside the daemon, written, read and printed.

Lives here: nothing else. Does not know the daemon, nor what it answered: answers go to the kernel alone.
"""
