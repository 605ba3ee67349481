"""Where weights stay until somebody asks for them: a file that is kept open, or the bytes that a caller gave.

A file is recognised by what the system says about it (inode, size, time of change) whenever it is read, so a file that was cut or written
over meanwhile gives an error instead of other numbers, and a file that was replaced by another one of the same name is still the old one.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from graphopt.errors import ModelError
from graphopt.ir.constant import Array, unpack_bytes
from graphopt.ir.types import DType

__all__ = ["ByteSource", "BytesInFile", "BytesInMemory", "StoredData"]

_CHUNK = 1 << 20
_MAP_FROM = 1 << 16


class ByteSource(Protocol):
    """Bytes that tensors are parts of."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def view(self, offset: int, length: int) -> memoryview:
        """A part of the bytes, not copied."""

    def read(self, start: int, end: int) -> bytes:
        """A copy of the bytes from ``start`` to before ``end``."""

    def chunks(self, offset: int, length: int) -> Iterator[bytes | memoryview]:
        """A part of the bytes, in pieces of bounded size that nothing keeps in memory."""


class BytesInMemory:
    """Bytes that the caller holds anyway."""

    __slots__ = ("_view", "size")

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(content)
        self.size = self._view.nbytes

    def view(self, offset: int, length: int) -> memoryview:
        """A part of the bytes, not copied."""
        return self._view[offset : offset + length]

    def read(self, start: int, end: int) -> bytes:
        """A copy of the bytes from ``start`` to before ``end``."""
        return bytes(self._view[start:end])

    def chunks(self, offset: int, length: int) -> Iterator[bytes | memoryview]:
        """The part in pieces of 1 MiB."""
        for start in range(offset, offset + length, _CHUNK):
            yield self._view[start : min(start + _CHUNK, offset + length)]


class BytesInFile:
    """A regular file.

    Args:
        path: the file.
        keep_open: whether it stays open from now on, so that it is the same file even when another one takes its name; without, each
            reading opens it again.

    Raises:
        OSError: if it cannot be opened.
        ModelError: if it is no regular file.
    """

    __slots__ = ("_descriptor", "_stamp", "path", "size")

    def __init__(self, path: Path, *, keep_open: bool = True) -> None:
        self.path = path
        self._descriptor = -1
        if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: opening a device may do something
            raise ModelError(f"{str(path)!r} is no regular file, expected a file; choose another one")
        descriptor = self._open()
        state = os.fstat(descriptor)
        self.size = state.st_size
        self._stamp = _stamp(state)
        if keep_open:
            self._descriptor = descriptor
        else:
            os.close(descriptor)

    def close(self) -> None:
        """Give the file back. Views that are in use stay valid."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    def _open(self) -> int:
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = self._descriptor
        try:
            descriptor = self._open() if descriptor < 0 else descriptor
        except OSError as err:
            raise ModelError(f"{str(self.path)!r} cannot be read any more: {err.strerror}; put the file back") from err
        try:
            state = os.fstat(descriptor)
            if _stamp(state) != self._stamp:
                raise ModelError(
                    f"{str(self.path)!r} changed since it was read (it had {self.size} bytes and has {state.st_size}); "
                    "read the model again"
                )
            yield descriptor
        finally:
            if descriptor != self._descriptor:
                os.close(descriptor)

    def view(self, offset: int, length: int) -> memoryview:
        """A part of the file: a large one is mapped, and its memory is free again when the view is; a small one is read."""
        if length < _MAP_FROM:
            return memoryview(b"".join(self.chunks(offset, length)))
        begin = offset - offset % mmap.ALLOCATIONGRANULARITY
        with self._opened() as descriptor:
            mapping = mmap.mmap(descriptor, offset + length - begin, access=mmap.ACCESS_READ, offset=begin)
        return memoryview(mapping)[offset - begin :]

    def read(self, start: int, end: int) -> bytes:
        """A copy of the bytes from ``start`` to before ``end``."""
        return b"".join(self.chunks(start, end - start))

    def chunks(self, offset: int, length: int) -> Iterator[bytes | memoryview]:
        """The part in pieces of 1 MiB, read, not mapped."""
        end = offset + length
        with self._opened() as descriptor:
            while offset < end:
                piece = os.pread(descriptor, min(_CHUNK, end - offset), offset)
                if not piece:
                    raise ModelError(f"{str(self.path)!r} ends {end - offset} bytes early; put the whole file back")
                offset += len(piece)
                yield piece


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_ino, state.st_size, state.st_mtime_ns


class StoredData:
    """Numbers of a tensor in a part of a byte source.

    Args:
        source: where the bytes are.
        offset: first byte.
        length: bytes, must be what ``dtype`` and ``shape`` need.
        dtype: element type.
        shape: size of each axis.
    """

    __slots__ = ("dtype", "length", "offset", "shape", "source")

    def __init__(self, source: ByteSource, offset: int, length: int, dtype: DType, shape: tuple[int, ...]) -> None:
        self.source = source
        self.offset = offset
        self.length = length
        self.dtype = dtype
        self.shape = shape

    def numpy(self) -> Array:
        """A read-only view of the source; a copy for packed types."""
        if self.length == 0:
            return np.zeros(self.shape, self.dtype.numpy)
        raw = np.frombuffer(self.source.view(self.offset, self.length), np.uint8)
        return unpack_bytes(raw, self.dtype, self.shape)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The packed little-endian bytes in pieces of bounded size."""
        return self.source.chunks(self.offset, self.length)
