# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m diskulog``: the command line, and nothing else."""

from diskulog.cli import main

main()
