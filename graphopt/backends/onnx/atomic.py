"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from graphopt.errors import OutputError

__all__ = ["check_output", "new_files"]


def check_output(path: Path, *, force: bool) -> Path:
    """The real path of an output, with links followed, if it may be written.

    Args:
        path: where to write.
        force: whether a file that is there may be replaced.

    Raises:
        OutputError: if something is there that may not be replaced, or the folder is missing.
    """
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r} has a null byte in it, which no path may have; choose another one")
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OutputError(f"{str(path)!r} is a link that leads to itself; choose another path")
    if real.is_dir():
        raise OutputError(f"{str(path)!r} is a folder, expected the path of a file; add a file name")
    if real.exists():
        if not real.is_file():
            raise OutputError(f"{str(path)!r} is no regular file; choose another path")
        if not force:
            raise OutputError(
                f"{str(path)!r} exists already; choose another path, or allow it to be replaced (--force)"
            )
    if not real.parent.is_dir():
        raise OutputError(f"the folder {str(real.parent)!r} does not exist; create it or choose another path")
    return real


@contextmanager
def new_files(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Open new files that take the names of ``paths``, in this order, when the block ends without an exception.

    They are written beside their final places under other names and flushed to the disk first. After an exception, an interrupt or an
    error of the system, what was there before is there again, and nothing else.

    Args:
        paths: real paths in folders that exist.

    Raises:
        OutputError: if a file can't be made or written.
    """
    drafts = [path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp") for path in paths]
    try:
        with closing_files() as files:
            for draft in drafts:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
                files.append(os.fdopen(os.open(draft, flags, 0o666), "wb"))
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        _put_in_place(drafts, paths)
    except OSError as err:
        reason = err.strerror or str(err)
        raise OutputError(
            f"{str(paths[-1])!r} cannot be written: {reason}; choose another path or make room there"
        ) from err
    finally:
        for draft in drafts:
            with suppress(OSError):
                draft.unlink()


@contextmanager
def closing_files() -> Iterator[list[BinaryIO]]:
    """A list of files that are closed at the end, whatever happens."""
    files: list[BinaryIO] = []
    try:
        yield files
    except BaseException:
        for file in files:
            with suppress(OSError):  # the first error is the one to tell
                file.close()
        raise
    for file in files:
        file.close()


def _put_in_place(drafts: Sequence[Path], paths: Sequence[Path]) -> None:
    """Rename the drafts; if that stops half way, put back what was there."""
    kept: list[tuple[Path, Path | None]] = []
    try:
        for draft, path in zip(drafts, paths, strict=True):
            backup = None
            if len(paths) > 1 and path.exists():
                backup = draft.with_suffix(".old")
                os.link(path, backup)
            kept.append((path, backup))
            os.replace(draft, path)
    except BaseException:
        for path, backup in kept:
            with suppress(OSError):
                if backup is not None:
                    os.replace(backup, path)
        raise
    for _, backup in kept:
        if backup is not None:
            backup.unlink()
