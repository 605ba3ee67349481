"""Memory for the inputs and outputs of an engine, kept from run to run."""

from __future__ import annotations

from typing import Any

from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt.cuda import Cuda

__all__ = ["DeviceMemory", "Growing", "growing_output"]


class DeviceMemory:
    """One piece of device memory for each name; it grows and never shrinks until it is closed.

    Args:
        cuda: the device.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: dict[str, tuple[int, int]] = {}

    def of(self, name: str, size: int) -> int:
        """Address of at least ``size`` bytes."""
        address, held = self._held.get(name, (0, -1))
        if size > held:
            if held >= 0:
                del self._held[name]
                self._cuda.free(address)
            address = self._cuda.allocate(size)
            self._held[name] = (address, size)
        return address

    def close(self) -> None:
        """Give everything back."""
        while self._held:
            _, (address, _) = self._held.popitem()
            self._cuda.free(address)


class Growing:
    """What TensorRT tells of an output whose size depends on data.

    Attributes:
        address: of its memory.
        shape: of it, once it is known.
        failure: why there is no memory, ``""`` if there is.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self.address = 0
        self.shape: tuple[int, ...] | None = None
        self.failure = ""

    def reallocate(self, name: str, size: int) -> int:
        """Address of memory for the output, 0 if there is none."""
        try:
            self.address = self._memory.of(name, size)
        except ExecutionError as err:  # a call from native code, which can't raise
            self.failure = str(err)
            self.address = 0
        return self.address


def growing_output(module: Any, memory: DeviceMemory) -> tuple[object, Growing]:  # noqa: ANN401  the library
    """An allocator of the library's class, and what it was told.

    Args:
        module: the library.
        memory: where the output goes.
    """
    told = Growing(memory)

    class Allocator(module.IOutputAllocator):  # type: ignore[misc]  # a class of the library
        def __init__(self) -> None:
            module.IOutputAllocator.__init__(self)

        def reallocate_output(self, tensor_name: str, held: int, size: int, alignment: int) -> int:
            return told.reallocate(tensor_name, size)

        def reallocate_output_async(self, tensor_name: str, held: int, size: int, alignment: int, stream: int) -> int:
            return told.reallocate(tensor_name, size)

        def notify_shape(self, tensor_name: str, shape: object) -> None:
            told.shape = tuple(shape)  # type: ignore[arg-type]  # Dims iterates

    return Allocator(), told
