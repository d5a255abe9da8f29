# SPDX-License-Identifier: LGPL-2.1-or-later
"""The damaged images behind tools/damage.

Lives here: what each image is, how it came to be so in the field, and what must be said of it. Does not know
the command line, or any test.
"""
