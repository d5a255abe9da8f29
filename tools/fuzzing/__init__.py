# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fuzzer behind tools/fuzz.

Lives here: what is run, how inputs are changed, and the engines. Does not know the command line.
"""
