# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands: one file for each, with its options, its help and where its output goes.

Lives here: nothing else; ``cli`` has the table of them. A command imports what is heavy inside its function.
"""
