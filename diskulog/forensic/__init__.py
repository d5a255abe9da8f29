# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forensic side: reads logs, judges and shows them; it never writes to its input.

Lives here: the commands' work apart from the command line. ``adopt`` alone writes to a log, and asks first.
"""
