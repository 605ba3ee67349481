"""Arrays in ``.npy`` and ``.npz`` files, read row by row: a file may be larger than memory. Objects (pickles) are refused."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from graphopt.errors import CalibrationError
from graphopt.ir import Array
from graphopt.verify.damaged_files import HEADERS, UNREADABLE

__all__ = ["StoredArray", "stored_arrays"]


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array in a file, of which only the header was read.

    Attributes:
        name: in the archive; that of the file for a single array.
        where: for messages.
        shape: its shape.
        dtype: its element type.
        open: a stream that begins with the header.
        held: the array itself, where it is in memory.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    open: Callable[[], IO[bytes]] | None = None
    held: Array | None = None

    @classmethod
    def of(cls, name: str, array: Array) -> StoredArray:
        """An array in memory."""
        return cls(name, f"array {name!r}", array.shape, array.dtype, held=array)

    def whole(self) -> Array:
        """All of it."""
        return next(self.rows(max(1, self.shape[0]))) if self.shape and self.shape[0] else self._read()

    def rows(self, count: int) -> Iterator[Array]:
        """Pieces of so many rows along the first axis, the last one perhaps shorter.

        Raises:
            CalibrationError: if the file is damaged.
        """
        if self.held is not None or self.open is None or _is_fortran(self.open):
            array = self._read()
            for start in range(0, len(array), count):
                yield array[start : start + count]
            return
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        with _readable(self.where), self.open() as stream:
            _header(stream)
            for start in range(0, self.shape[0], count):
                size = min(count, self.shape[0] - start)
                yield self._array(stream, size * row_bytes, (size, *self.shape[1:]))

    def _read(self) -> Array:
        if self.held is not None:
            return self.held
        assert self.open is not None, "in memory or in a file"
        with _readable(self.where), self.open() as stream:
            shape, fortran, dtype = _header(stream)
            found = self._array(stream, math.prod(shape) * dtype.itemsize, (math.prod(shape),))
            return found.reshape(shape, order="F" if fortran else "C")

    def _array(self, stream: IO[bytes], size: int, shape: tuple[int, ...]) -> Array:
        raw = stream.read(size)
        if len(raw) != size:
            raise ValueError("it ends in the middle")
        return np.frombuffer(raw, self.dtype).reshape(shape)


def stored_arrays(path: Path) -> list[StoredArray]:
    """The arrays of a ``.npy`` or ``.npz`` file; headers are read, numbers are not.

    Raises:
        CalibrationError: if it can't be read, or holds objects.
    """
    where = f"data {str(path)!r}"
    with _readable(where):
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe or a device may never end
            raise ValueError("it is no regular file")
        with open(path, "rb") as file:
            magic = file.read(len(np.lib.format.MAGIC_PREFIX))
        if magic == np.lib.format.MAGIC_PREFIX:
            return [_stored(path.stem, where, lambda: open(path, "rb"), path.stat().st_size)]
        if not magic.startswith(b"PK"):
            raise ValueError("it is no array and no archive of arrays")
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return [
            _stored(
                info.filename.removesuffix(".npy"),
                f"array {info.filename.removesuffix('.npy')!r} of {where}",
                lambda name=info.filename: zipfile.ZipFile(path).open(name),  # type: ignore[misc]  # mypy follows no defaults of lambdas
                info.file_size,
            )
            for info in members
        ]


def _stored(name: str, where: str, open_: Callable[[], IO[bytes]], size: int) -> StoredArray:
    with _readable(where), open_() as stream:
        shape, _, dtype = _header(stream)
        if math.prod(shape) * dtype.itemsize > size:
            raise ValueError(f"it is to have {math.prod(shape) * dtype.itemsize:,} bytes, the file has {size:,}")
    return StoredArray(name, where, shape, dtype, open_)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    read = HEADERS.get(np.lib.format.read_magic(stream))
    if read is None:
        raise ValueError("its format is not known")
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects (a pickle), which are never loaded; store plain numbers")
    return shape, fortran, dtype


def _is_fortran(open_: Callable[[], IO[bytes]]) -> bool:
    with open_() as stream:
        return _header(stream)[1]


@contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as err:
        reason = (
            err.strerror
            if isinstance(err, OSError) and err.strerror
            else " ".join(str(err).split()) or type(err).__name__
        )
        raise CalibrationError(
            f"{where} cannot be read: {reason}; expected .npz or .npy as numpy writes it, without objects"
        ) from err
