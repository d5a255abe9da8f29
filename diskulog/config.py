# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's configuration: TOML in, frozen values out, one line for whatever is wrong with it.

Lives here: keys, defaults, bounds, and where the file is looked for. Does not know who uses a value;
``conf/diskulog.toml`` gives each key's reason.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration: ``path``, else the file DISKULOG_CONFIG names, else the default file if there is one.

    Raises:
        UsageError: one line with file, key and reason; also for a named file that does not exist.
        DeviceError: when the file cannot be read.
    """
    named = path or (Path(environ[ENVIRONMENT_VARIABLE]) if environ.get(ENVIRONMENT_VARIABLE) else None)
    source = named or DEFAULT_PATH
    try:
        content = source.read_bytes()
    except FileNotFoundError as cause:
        if named is None:
            return Config()
        raise UsageError(f"configuration {source}: there is no such file") from cause
    except OSError as cause:
        raise DeviceError(f"configuration {source}", cause) from cause
    return parse(content, str(source))


def parse(content: bytes, source: str) -> Config:
    """Parse a configuration; ``source`` is named in errors.

    Raises:
        UsageError: one line with file, key and reason.
    """
    try:
        return Config.model_validate(tomllib.loads(content.decode()))
    except UnicodeDecodeError as cause:
        raise UsageError(f"configuration {source}: is not UTF-8 at byte {cause.start}") from cause
    except ValidationError as cause:
        raise UsageError(f"configuration {source}: {_first_reason(cause)}") from cause
    except (ValueError, RecursionError) as cause:  # also of what is TOML, and more than Python reads
        raise UsageError(f"configuration {source}: is not TOML: {cause}") from cause


_SHOWN_CHARACTERS: Final = 80
_REASONS: Final = {"extra_forbidden": "is not a known key", "model_type": "must be a section"}


def _first_reason(cause: ValidationError) -> str:
    first, *others = cause.errors(include_url=False)
    *section, key = (str(part) for part in first["loc"])
    where = f"[{'.'.join(section)}] {key}" if section else f"[{key}]"
    reason = _REASONS.get(first["type"], first["msg"][:1].lower() + first["msg"][1:])
    value = first["input"]
    said = f" = {_short(value)}" if isinstance(value, (str, int, float)) and first["type"] != "extra_forbidden" else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}{said}: {reason}{more}"


def _short(value: str | int | float) -> str:
    # Python refuses to write an integer of very many digits
    text = hex(value) if isinstance(value, int) and abs(value) >= 2**64 else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
