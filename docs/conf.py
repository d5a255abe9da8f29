# SPDX-License-Identifier: LGPL-2.1-or-later
"""How Sphinx builds the documentation: ``sphinx-build -nW docs docs/_build``.

Lives here: names and settings, and how a man page becomes a page. Does not know what any page says.
"""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import diskulog

project = "diskulog"
author = copyright = "The diskulog founders"
version = release = diskulog.__version__
language = "en"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"page_width": "70rem", "fixed_sidebar": True}
html_copy_source = False
highlight_language = "none"
nitpicky = True

# a man page has a title, a subtitle and what the page is part of: man's way to say what a heading says here
_MAN_HEAD = re.compile(r"\A(?:\.\. .*\n\n)?=+\n(\S+)\n=+\n\n-+\n(.*)\n-+\n\n(?::Manual.*\n)+")


def _man_page(_app: Any, name: str, source: list[str]) -> None:
    if name.startswith("man/"):
        section = name[-1]

        def heading(found: re.Match[str]) -> str:
            title = f"{found[1]}({section})"
            return f"{title}\n{'#' * len(title)}\n\n*{found[2]}*\n"

        source[0] = _MAN_HEAD.sub(heading, source[0])


def setup(app: Any) -> None:
    """Hear of each source before it is read."""
    app.connect("source-read", _man_page)
