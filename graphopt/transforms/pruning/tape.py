"""Arrays by name and batch, written once and read again: in memory as long as they are few, in a file that has no name else."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from graphopt.ir import Array

__all__ = ["Tape"]

#: Bytes that stay in memory, and bytes beyond which nothing more is kept.
_IN_MEMORY: Final = 128 << 20
_MOST: Final = 6 << 30


class Tape:
    """What some tensors were, batch by batch.

    Args:
        dtypes: what each tensor is stored as; observers are shown wider floats.

    Example:
        >>> tape = Tape({"x": np.dtype(np.float16)})
        >>> tape.observer("x").observe(np.array([1.0, 2.0], np.float32))
        >>> tape.is_whole(1), tape.is_whole(2), tape.batch(0)
        (True, False, {'x': array([1., 2.], dtype=float16)})
        >>> tape.close()
    """

    def __init__(self, dtypes: Mapping[str, np.dtype[np.generic]]) -> None:
        self._dtypes = dict(dtypes)
        self._places: dict[str, list[tuple[int, tuple[int, ...]]]] = {name: [] for name in dtypes}
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  close() ends it
        self._end = 0

    @property
    def names(self) -> Collection[str]:
        """Of the tensors."""
        return self._dtypes.keys()

    def observer(self, name: str) -> _Recorder:
        """Writes a tensor down."""
        return _Recorder(self, name)

    def write(self, name: str, array: Array) -> None:
        """Keep the next batch of a tensor, unless there is too much already."""
        if self._end > _MOST:
            return
        stored = np.ascontiguousarray(array, self._dtypes[name])
        self._file.seek(self._end)
        self._file.write(stored.tobytes())
        self._places[name].append((self._end, array.shape))
        self._end += stored.nbytes

    def is_whole(self, batches: int) -> bool:
        """Whether each tensor was seen in so many batches, and all of it was kept."""
        return self._end <= _MOST and all(len(places) == batches for places in self._places.values())

    def batch(self, number: int) -> dict[str, Array]:
        """The arrays of a batch by name."""
        found: dict[str, Array] = {}
        for name, places in self._places.items():
            start, shape = places[number]
            dtype = self._dtypes[name]
            self._file.seek(start)
            raw = self._file.read(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
            found[name] = np.frombuffer(raw, dtype).reshape(shape)
        return found

    def close(self) -> None:
        """Forget all."""
        self._file.close()


class _Recorder:
    """Sees one tensor."""

    def __init__(self, tape: Tape, name: str) -> None:
        self._tape, self._name = tape, name

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        self._tape.write(self._name, array)
