"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphopt.errors import OutputError
from graphopt.runtime.hybrid.manifest import is_hybrid

__all__ = ["check_folder_output", "new_folder"]


def check_folder_output(path: Path, *, force: bool) -> Path:
    """The real path of a folder that may be written.

    Args:
        path: where to write.
        force: whether a folder of parts that is there may be replaced; nothing else ever is.

    Raises:
        OutputError: if something is there, or the folder around it is missing.
    """
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r} has a null byte in it, which no path may have; choose another one")
    real = Path(os.path.realpath(path))
    if os.path.lexists(real):
        if not is_hybrid(real):
            raise OutputError(f"{str(path)!r} exists already and is no folder of parts; choose another path")
        if not force:
            raise OutputError(
                f"{str(path)!r} exists already; choose another path, or allow it to be replaced (--force)"
            )
    if not real.parent.is_dir():
        raise OutputError(f"the folder {str(real.parent)!r} does not exist; create it or choose another path")
    return real


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A draft of a folder, which takes its place when the block ends without an exception, and is removed otherwise.

    Args:
        path: its real path; a folder that is there is replaced.

    Raises:
        OutputError: if it can't be made or put in place.
    """
    draft = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    old = draft.with_suffix(".old")
    try:
        draft.mkdir()
        yield draft
        if path.exists():
            path.rename(old)
        try:
            draft.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as err:
        raise OutputError(
            f"{str(path)!r} cannot be written: {err.strerror or err}; choose another path or make room there"
        ) from err
    finally:
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
