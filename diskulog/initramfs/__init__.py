# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon of an initramfs, for a root file system on a mirror: its start there, and the files that it needs.

Lives here: nothing. Does not know initramfs-tools, whose hook and scripts are in ``conf/initramfs-tools``.
"""
