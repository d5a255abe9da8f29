# SPDX-License-Identifier: LGPL-2.1-or-later
"""diskulog keeps the dirty log of device-mapper mirrors; importing this package costs nothing and does nothing."""

__version__ = "0.1.0"
