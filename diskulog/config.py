# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's configuration: TOML in, frozen values out, one line for whatever is wrong with it.

Lives here: keys, defaults, bounds, and where the file is looked for. Does not know who uses a value;
``conf/diskulog.toml`` gives each key's reason.
"""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from diskulog.errors import DeviceError
from diskulog.exits import UsageError

DEFAULT_PATH: Final = Path("/etc/diskulog/diskulog.toml")
ENVIRONMENT_VARIABLE: Final = "DISKULOG_CONFIG"

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class _Section(BaseModel):
    # strict: "yes" is no boolean and "5" no number; TOML has both
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Compat(_Section):
    """What other programs' tables ask for."""

    clustered_single_host: bool = False


class Clears(_Section):
    """How long and how many clears are held outside the mapping (on-disk rule 4)."""

    hold_seconds: Seconds = 5.0
    max_held: Annotated[int, Field(ge=1, le=2**32 - 1)] = 4096
    leg_flush_timeout_seconds: Annotated[Seconds, Field(gt=0)] = 10.0


class Netlink(_Section):
    """The socket to the kernel."""

    # the kernel doubles the value in an int
    receive_buffer_bytes: Annotated[int, Field(ge=64 * 1024, le=2**30 - 1)] = 8 * 1024 * 1024
    spins: Annotated[int, Field(ge=0, le=10000)] = 20


class Daemon(_Section):
    """The process itself."""

    run_directory: Annotated[str, Field(pattern=r"^/[^\x00]*$")] = "/run/diskulog"
    log_level: Literal["info", "warning", "error"] = "info"
    worker_timeout_seconds: Annotated[Seconds, Field(ge=2)] = 10.0


class Config(_Section):
    """Everything that may be configured; without a file, the defaults."""

    compat: Compat = Compat()
    clears: Clears = Clears()
    netlink: Netlink = Netlink()
    daemon: Daemon = Daemon()


class Named(StrEnum):
    """Who named the file that is read."""

    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    NOBODY = "default"  # it need not exist then


class File(NamedTuple):
    """The file that is read."""

    path: Path
    named: Named


class Setting(NamedTuple):
    """One value in effect; ``unit`` is None where it has none, ``given`` tells whether the file has the key."""

    section: str
    key: str
    value: bool | int | float | str
    default: bool | int | float | str
    unit: str | None
    given: bool


def find(path: Path | None, environ: Mapping[str, str]) -> File:
    """Say which file is read: ``path``, else the one that DISKULOG_CONFIG names, else the default one."""
    if path is not None:
        return File(path, Named.ARGUMENT)
    if named := environ.get(ENVIRONMENT_VARIABLE):
        return File(Path(named), Named.ENVIRONMENT)
    return File(DEFAULT_PATH, Named.NOBODY)


def read(file: File) -> bytes | None:
    """Return the content of a file; None where nobody named it and it is not there.

    Raises:
        UsageError: for a named file that does not exist.
        DeviceError: when the file cannot be read.
    """
    try:
        return file.path.read_bytes()
    except FileNotFoundError as cause:
        if file.named is Named.NOBODY:
            return None
        raise UsageError(f"configuration {file.path}: there is no such file") from cause
    except OSError as cause:
        raise DeviceError(f"configuration {file.path}", cause) from cause


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration that ``find`` finds; without a file, the defaults.

    Raises:
        UsageError: one line with file, key and reason; also for a named file that does not exist.
        DeviceError: when the file cannot be read.
    """
    file = find(path, environ)
    content = read(file)
    return Config() if content is None else parse(content, str(file.path))


def parse(content: bytes, source: str) -> Config:
    """Parse a configuration; ``source`` is named in errors.

    Raises:
        UsageError: one line with file, key and reason.
    """
    try:
        return _validated(content)
    except _FAILURES as cause:
        first, *others = _reasons(cause)
        more = f" (and {len(others)} more)" if others else ""
        raise UsageError(f"configuration {source}: {first}{more}") from cause


def problems(content: bytes) -> list[str]:
    """Return everything that is wrong, a line each."""
    try:
        _validated(content)
    except _FAILURES as cause:
        return _reasons(cause)
    return []


def settings(config: Config) -> Iterator[Setting]:
    """Yield every value in effect, in the order of the file that diskulog comes with."""
    for name, section in config:
        for key, value in section:
            default = type(section).model_fields[key].default
            given = name in config.model_fields_set and key in section.model_fields_set
            yield Setting(name, key, value, default, _unit(key), given)


_UNITS: Final = {"max_held": "regions", "spins": "looks"}  # where the name does not end in it


def _unit(key: str) -> str | None:
    return _UNITS.get(key) or next((unit for unit in ("seconds", "bytes") if key.endswith(f"_{unit}")), None)


# ValueError: not UTF-8, not TOML, or what is TOML, and more than Python reads; pydantic's is one too
_FAILURES: Final = (ValueError, RecursionError)


def _validated(content: bytes) -> Config:
    return Config.model_validate(tomllib.loads(content.decode()))


def _reasons(cause: Exception) -> list[str]:
    if isinstance(cause, ValidationError):
        return [_reason(error) for error in cause.errors(include_url=False)]
    if isinstance(cause, UnicodeDecodeError):
        return [f"is not UTF-8 at byte {cause.start}"]
    return [f"is not TOML: {cause}"]


_SHOWN_CHARACTERS: Final = 80
_UNKNOWN: Final = "extra_forbidden"
_LIKE: Final = 0.5  # of difflib's measure: hold_time is like hold_seconds


def _reason(error: ErrorDetails) -> str:
    *section, key = (str(part) for part in error["loc"])
    where = f"[{'.'.join(section)}] {key}" if section else f"[{key}]"
    value = error["input"]
    if error["type"] == _UNKNOWN:
        return f"{where}: is not a known key; {_nearest(section, key)}"
    reason = "must be a section" if error["type"] == "model_type" else error["msg"][:1].lower() + error["msg"][1:]
    said = f" = {_short(value)}" if isinstance(value, (str, int, float)) else ""
    return f"{where}{said}: {reason}"


def _nearest(section: list[str], key: str) -> str:
    """Say which known key was meant."""
    keys = {name: [each for each, _ in part] for name, part in Config()}
    homes = [name for name, own in keys.items() if key in own]
    if homes:
        return f"it belongs in [{homes[0]}]"
    if not section:
        return _meant(key, {name: f"[{name}]" for name in keys})
    return _meant(key, {name: name for name in keys.get(section[0], ())})


def _meant(key: str, known: dict[str, str]) -> str:
    close = [name for name in known if name.startswith(key)] or get_close_matches(key, known, n=1, cutoff=_LIKE)
    return f"did you mean {known[close[0]]}?" if close else f"there are {', '.join(known.values())}"


def _short(value: str | int | float) -> str:
    # Python refuses to write an integer of very many digits
    text = hex(value) if isinstance(value, int) and abs(value) >= 2**64 else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
