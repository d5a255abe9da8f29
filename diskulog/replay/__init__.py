# SPDX-License-Identifier: LGPL-2.1-or-later
"""A trace run against the image of a log: the daemon's own code over memory, and what each request changed.

Lives here: nothing else. The one place where the daemon's side and the forensic side meet.
"""
