# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog inspect``: what a log says, as text, JSON or a picture.

Lives here: its options and which form is printed. Does not know bytes or bitmaps.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Final

import typer

from diskulog.commands import console, screen
from diskulog.commands.quantity import amount
from diskulog.errors import DiskulogError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.failures import sentence
from diskulog.forensic import image, output, source, text
from diskulog.forensic.report import DEFAULT_RATE, Report, report
from diskulog.forensic.text import DEFAULT_LIMIT, Units
from diskulog.forensic.window import Window
from diskulog.units import MIB

# what only some calls need (pydantic in model, pictures, the hexdump) is imported there: `inspect` should start at once

HELP: Final = f"""Show what a log says: which regions are clean, dirty, in sync. Never writes to it.

DEV is a device, a partition, an image file, or '-' for standard input. It reads logs of diskulog and of the kernel's
own 'disk' log (LVM's _mlog volumes too). A log that is live is read while it changes.

Amounts of bytes may end in K, M, G, T (of 1024), or in s (sectors of 512 bytes). --json takes what says more of the
log (--region-size, --offset, --rate) or makes a file (--svg, --png), and no other option.

With --offset, DEV is what the log lies in: that the log itself is in use may not be seen there.

A log of more than 2^27 regions is kept in a temporary file meanwhile (TMPDIR says where), of 1 GiB at most.

\b
Examples:
  diskulog inspect /dev/vg/home_mlog
  diskulog inspect --map --limit 0 --units sectors log.img
  diskulog inspect --region-size 1024 --rate 200M --svg log.svg /dev/sdc2
  diskulog inspect --raw --offset 2048s disk.img
  dd if=/dev/sdb1 | diskulog inspect --json - | jq .log.dirty_count
{console.EXIT_CODES}"""


@dataclass(frozen=True, slots=True)
class _Wish:
    """The options, as given."""

    device: str
    as_json: bool
    limit: int | None
    units: Units | None
    show_map: bool
    raw: bool
    svg: str | None
    png: str | None
    region_size: int | None
    offset: str
    rate: str

    @property
    def rate_bytes(self) -> int:
        return amount(self.rate, "--rate", least=1)


def inspect(
    device: Annotated[str | None, typer.Argument(metavar="DEV", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help=f"Show N ranges of each kind; 0: all. Default {DEFAULT_LIMIT}.")
    ] = None,
    units: Annotated[
        Units | None, typer.Option(metavar="UNIT", help="Count ranges in regions, sectors or bytes.")
    ] = None,
    show_map: Annotated[bool, typer.Option("--map", help="Draw where the dirty regions are.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Dump header and extension field by field.")] = False,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Draw a picture into this file.")] = None,
    png: Annotated[str | None, typer.Option(metavar="FILE", help="The same as points.")] = None,
    region_size: Annotated[
        int | None, typer.Option(metavar="SECTORS", help="The mirror's, where the log does not store it.")
    ] = None,
    offset: Annotated[str, typer.Option(metavar="BYTES", help="Where in DEV the log begins.")] = "0",
    rate: Annotated[
        str, typer.Option(metavar="BYTES", help="What a resync copies in a second.")
    ] = f"{DEFAULT_RATE // MIB}M",
    schema: Annotated[bool, typer.Option("--schema", help="Print the schema of the JSON and end.")] = False,
) -> None:
    """Show a log."""
    if schema:
        from diskulog.forensic import model

        console.emit(model.schema() + "\n")
        return
    try:
        if device is None:
            raise UsageError("inspect: DEV is missing: name a device, an image file, or '-'")
        status, pieces = _inspect(
            _Wish(device, as_json, limit, units, show_map, raw, svg, png, region_size, offset, rate)
        )
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            from diskulog.forensic import model

            console.emit(model.render(model.failure(exit_for(failure), sentence(failure))) + "\n")
        raise
    console.stream(pieces)  # what fails here leaves a document that is cut off, and does not begin another
    raise typer.Exit(status)


def _inspect(wish: _Wish) -> tuple[Exit, Iterable[str]]:
    _check(wish)
    rate, offset = wish.rate_bytes, amount(wish.offset, "--offset")
    with source.opened(wish.device) as log:
        window = Window(log, offset)
        with _dumped_all_the_same(window, wish.raw):
            loaded = replace(image.load(window), name=log.name, offset_bytes=offset)
    found = report(loaded, wish.region_size)
    if wish.units in (Units.SECTORS, Units.BYTES) and found.region_size_sectors is None:
        raise UsageError(f"--units {wish.units}: {log.name} does not say how large a region is; give --region-size")
    _draw(wish, found, rate)
    if wish.as_json:
        from diskulog.forensic import model

        return found.exit_status, chain(model.pieces(model.document(found, rate)), ["\n"])
    return found.exit_status, text.pieces(found, _layout(wish, found, rate))


def _check(wish: _Wish) -> None:
    for_text = {"--limit": wish.limit, "--units": wish.units, "--map": wish.show_map or None, "--raw": wish.raw or None}
    given = [option for option, value in for_text.items() if value is not None]
    if wish.as_json and given:
        raise UsageError(f"inspect: {', '.join(given)}: for text only; --json always holds all ranges, in regions")
    if wish.limit is not None and wish.limit < 0:
        raise UsageError(f"inspect: --limit {wish.limit}: must be 0 (all) or more")
    if wish.svg is not None and wish.svg == wish.png:
        raise UsageError(f"inspect: --svg and --png are both {wish.svg}; give two names")
    for option, name in (("--svg", wish.svg), ("--png", wish.png)):
        if name is not None:
            output.check(name, option, wish.device)


def _layout(wish: _Wish, found: Report, rate: int) -> text.Layout:
    return text.Layout(
        limit=DEFAULT_LIMIT if wish.limit is None else wish.limit,
        units=wish.units,
        terminal=screen.terminal() if wish.show_map else None,
        rate=rate,
        raw=_dump(found.image.head) if wish.raw else None,
    )


def _dump(head: bytes) -> Iterator[str]:
    from diskulog.forensic import raw

    return raw.lines(head)


@contextmanager
def _dumped_all_the_same(window: Window, wanted: bool) -> Iterator[None]:
    """Print the first bytes of what turns out to be no log, or cannot be read to its end."""
    try:
        yield
    except DiskulogError:
        if wanted and window.head:
            console.stream(f"{line}\n" for line in _dump(window.head))
        raise


def _draw(wish: _Wish, found: Report, rate: int) -> None:
    if wish.svg is None and wish.png is None:
        return
    from diskulog.forensic import picture, png, svg

    drawn = picture.draw(found, rate)
    for name, render in ((wish.svg, svg.render), (wish.png, png.render)):
        if name is not None:
            output.write(name, render(drawn))
