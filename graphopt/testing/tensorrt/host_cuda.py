"""A device whose memory is the host's: all that engines need of CUDA, done at once."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import Array

__all__ = ["HostCuda"]


class HostCuda:
    """A device made of the host's memory; counts what is held.

    Args:
        capability: compute capability to have.
        limit: bytes that there are.
    """

    def __init__(self, capability: str = "89", limit: int = 1 << 40) -> None:
        self.name = "a GPU that is none"
        self.capability = capability
        self.held: dict[int, Array] = {}
        self.streams: set[int] = set()
        self.graphs: dict[int, Callable[[], bool]] = {}
        self.launches = 0
        self._limit = limit
        self._numbers = itertools.count(1)

    def enter(self) -> None:
        """Nothing: all threads have it."""

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes."""
        if size + sum(array.nbytes for array in self.held.values()) > self._limit:
            raise ExecutionError("CUDA's cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY, out of memory")
        memory: Array = np.zeros(max(size, 1), np.uint8)
        self.held[memory.ctypes.data] = memory
        return memory.ctypes.data

    def free(self, address: int) -> None:
        """Give memory back."""
        del self.held[address]

    def to_device(self, address: int, array: Array, stream: int) -> None:
        """Copy a contiguous array."""
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def to_host(self, array: Array, address: int, stream: int) -> None:
        """Copy into a contiguous array."""
        if array.nbytes:
            ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def stream(self) -> int:
        """A new stream."""
        found = next(self._numbers)
        self.streams.add(found)
        return found

    def wait(self, stream: int) -> None:
        """Nothing: all is done at once."""

    def end_stream(self, stream: int) -> None:
        """Give a stream back."""
        self.streams.remove(stream)

    def capture(self, stream: int, work: Callable[[], bool]) -> int | None:
        """A graph of the work, which is not done now."""
        found = next(self._numbers)
        self.graphs[found] = work
        return found

    def launch(self, graph: int, stream: int) -> None:
        """Do the work of a graph."""
        self.launches += 1
        self.graphs[graph]()

    def end_graph(self, graph: int) -> None:
        """Give a graph back."""
        del self.graphs[graph]

    def event(self, stream: int) -> int:
        """A new event."""
        return next(self._numbers)

    def milliseconds(self, first: int, second: int) -> float:
        """No time passes."""
        return 0.0
