# SPDX-License-Identifier: LGPL-2.1-or-later
"""``doctor``: is this host fit for mirrors with their log in user space, and are those that are there well?

Lives here: facts of the host, and the rules that judge them. Changes nothing; does not know how a log is kept.
"""
