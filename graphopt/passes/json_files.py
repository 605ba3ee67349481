"""JSON files that people may edit: written whole or not at all, and read with one line for whatever is wrong with them."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from graphopt.errors import GraphoptError, OutputError

__all__ = ["not_understood", "read_json_file", "write_json_file"]

_T = TypeVar("_T")


def write_json_file(path: str | os.PathLike[str], document: object, *, force: bool) -> Path:
    """Write what msgspec can encode as JSON, which ends up there whole or not at all; returns the path.

    Args:
        path: the file.
        document: what to write.
        force: whether a file that is there may be replaced.

    Raises:
        OutputError: if it exists, or can't be written.
    """
    place = Path(path)
    if place.exists() and not force:
        raise OutputError(f"{str(place)!r} exists already; choose another path, or allow it to be replaced (force)")
    draft = place.with_name(f".{place.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        os.replace(draft, place)
    except OSError as err:
        raise OutputError(
            f"{str(place)!r} cannot be written: {err.strerror or err}; choose another path or make room there"
        ) from err
    finally:
        with suppress(OSError):
            draft.unlink()
    return place


def read_json_file(
    path: str | os.PathLike[str], form: type[_T], where: str, error: type[GraphoptError], advice: str
) -> _T:
    """What a JSON file holds, as a type of msgspec's.

    Args:
        path: the file.
        form: what it must look like.
        where: names it in errors.
        error: the class of errors.
        advice: what to do with a file that is not understood.

    Raises:
        GraphoptError: of the class ``error``, if it can't be read, or looks otherwise.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe or a device may never end
            raise error(f"{where} is no regular file; give the path of a JSON file")
        return msgspec.json.decode(Path(path).read_bytes(), type=form)
    except OSError as err:
        raise error(f"{where} cannot be read: {err.strerror or err}; check the path") from err
    except (ValueError, RecursionError) as err:  # msgspec's errors are among them
        raise error(not_understood(where, err, advice)) from err


def not_understood(where: str, err: Exception, advice: str) -> str:
    """One line that says what is wrong with a file."""
    return f"{where} is not understood: {' '.join(str(err).split())}; {advice}"
