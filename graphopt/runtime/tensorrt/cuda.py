"""The part of CUDA that running an engine needs, as a type: memory, copies, streams, graphs, events.

Addresses, streams, graphs and events are the integers that TensorRT takes. Tests bring a device made of the host's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from graphopt.ir import Array

__all__ = ["Cuda"]


class Cuda(Protocol):
    """One device. Every call raises :class:`~graphopt.errors.ExecutionError` with CUDA's own name of what went wrong.

    Attributes:
        name: of the device, for people.
        capability: compute capability without the point, ``"90"``.
    """

    @property
    def name(self) -> str:
        """Name of the device."""

    @property
    def capability(self) -> str:
        """Compute capability, ``"90"``."""

    def enter(self) -> None:
        """Make this the device of the thread that calls."""

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device."""

    def free(self, address: int) -> None:
        """Give memory back."""

    def to_device(self, address: int, array: Array, stream: int) -> None:
        """Begin to copy a contiguous array; it must live until the stream was waited for."""

    def to_host(self, array: Array, address: int, stream: int) -> None:
        """Begin to copy into a contiguous array; it is filled when the stream was waited for."""

    def stream(self) -> int:
        """A new stream."""

    def wait(self, stream: int) -> None:
        """Wait until everything in a stream is done."""

    def end_stream(self, stream: int) -> None:
        """Give a stream back."""

    def capture(self, stream: int, work: Callable[[], bool]) -> int | None:
        """A graph of what ``work`` puts into a stream, ``None`` if it says that it failed or the work can't be captured."""

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into a stream."""

    def end_graph(self, graph: int) -> None:
        """Give a graph back."""

    def event(self, stream: int) -> int:
        """A new event that happens when all that is in the stream now is done."""

    def milliseconds(self, first: int, second: int) -> float:
        """Time between two events that have happened; both are given back."""
