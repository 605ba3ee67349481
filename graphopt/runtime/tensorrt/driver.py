"""CUDA through the driver's own library, called by ctypes.

Whoever has a GPU that works has ``libcuda``: packages that wrap it (cuda-python, torch, cupy) need it too, so none of them is needed here.
The primary context of the device is used, which is the one of the CUDA runtime inside TensorRT. Source: CUDA driver API reference (facts
only).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any, Final

from graphopt.errors import ExecutionError
from graphopt.ir import Array
from graphopt.runtime.tensorrt.cuda import Cuda

__all__ = ["DRIVER_LIBRARIES", "DriverCuda", "connect"]

#: Names of the driver's library, by system.
DRIVER_LIBRARIES: Final = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")

_CAPABILITY: Final = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NON_BLOCKING: Final = 1  # CU_STREAM_NON_BLOCKING
_THREAD_LOCAL: Final = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
_NO_DEVICE: Final = 100  # CUDA_ERROR_NO_DEVICE
_LEAST_BYTES: Final = 256

_SIGNATURES: Final[dict[str, tuple[type[Any], ...]]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_ulonglong), c_size_t),
    "cuMemFree_v2": (c_ulonglong,),
    "cuMemcpyHtoDAsync_v2": (c_ulonglong, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_ulonglong, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
}


def _load() -> ctypes.CDLL:
    for name in DRIVER_LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise ExecutionError(f"there is no NVIDIA driver ({DRIVER_LIBRARIES[0]} can't be loaded); install one for your GPU")


def connect(device: int = 0) -> Cuda:
    """A device.

    Args:
        device: its number, as CUDA counts.

    Raises:
        ExecutionError: if there is no driver, no GPU, or no device of that number.
    """
    return DriverCuda(_load(), device)


class DriverCuda:
    """A device, through the driver.

    Args:
        library: ``libcuda``.
        device: its number.

    Raises:
        ExecutionError: if the driver does not work or has no such device.
    """

    def __init__(self, library: ctypes.CDLL, device: int = 0) -> None:
        self._library = library
        self._calls: dict[str, Callable[..., int]] = {}
        for name, arguments in _SIGNATURES.items():
            try:
                call = getattr(library, name)
            except AttributeError as err:
                raise ExecutionError(f"the NVIDIA driver has no {name}; update it") from err
            call.argtypes, call.restype = list(arguments), c_int
            self._calls[name] = call
        code = self._calls["cuInit"](0)
        count = c_int(0)
        if code != _NO_DEVICE:
            self._check("cuInit", code)
            self._call("cuDeviceGetCount", byref(count))
        if count.value == 0:
            raise ExecutionError("there is no GPU: the NVIDIA driver finds no device")
        if not 0 <= device < count.value:
            raise ExecutionError(f"there is no GPU {device}: the NVIDIA driver finds {count.value}, from 0 on")
        handle, context = c_int(), c_void_p()
        self._call("cuDeviceGet", byref(handle), device)
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), handle)
        self.name = text.value.decode(errors="replace")
        self.capability = "".join(str(self._attribute(item, handle)) for item in _CAPABILITY)
        self._call("cuDevicePrimaryCtxRetain", byref(context), handle)
        self._context = context
        self.enter()

    def _attribute(self, number: int, handle: c_int) -> int:
        found = c_int()
        self._call("cuDeviceGetAttribute", byref(found), number, handle)
        return found.value

    def _call(self, name: str, *arguments: object) -> None:
        self._check(name, self._calls[name](*arguments))

    def _check(self, name: str, code: int) -> None:
        if code == 0:
            return
        found, text = c_char_p(), c_char_p()
        self._calls["cuGetErrorName"](code, byref(found))
        self._calls["cuGetErrorString"](code, byref(text))
        said = [item.value.decode(errors="replace") for item in (found, text) if item.value]
        raise ExecutionError(f"CUDA's {name} failed: {', '.join(said) or f'error {code}'}")

    def enter(self) -> None:
        """Make this the device of the thread that calls."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device."""
        address = c_ulonglong()
        self._call("cuMemAlloc_v2", byref(address), max(size, _LEAST_BYTES))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", address)

    def to_device(self, address: int, array: Array, stream: int) -> None:
        """Begin to copy a contiguous array."""
        if array.nbytes:
            self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, stream)

    def to_host(self, array: Array, address: int, stream: int) -> None:
        """Begin to copy into a contiguous array."""
        if array.nbytes:
            self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, stream)

    def stream(self) -> int:
        """A new stream, beside the default one."""
        found = c_void_p()
        self._call("cuStreamCreate", byref(found), _NON_BLOCKING)
        return found.value or 0

    def wait(self, stream: int) -> None:
        """Wait until everything in a stream is done."""
        self._call("cuStreamSynchronize", stream)

    def end_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy_v2", stream)

    def capture(self, stream: int, work: Callable[[], bool]) -> int | None:
        """A graph of what ``work`` puts into a stream, ``None`` if that can't be captured."""
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
        graph, made = c_void_p(), c_void_p()
        try:
            worked = work()
        finally:  # a stream that captures is of no use for anything else
            ended = self._calls["cuStreamEndCapture"](stream, byref(graph))
        if ended or not graph.value:
            return None
        try:
            if not worked or self._calls["cuGraphInstantiateWithFlags"](byref(made), graph, 0):
                return None
        finally:
            self._calls["cuGraphDestroy"](graph)
        return made.value

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into a stream."""
        self._call("cuGraphLaunch", graph, stream)

    def end_graph(self, graph: int) -> None:
        """Give a graph back."""
        self._call("cuGraphExecDestroy", graph)

    def event(self, stream: int) -> int:
        """A new event, recorded into the stream."""
        found = c_void_p()
        self._call("cuEventCreate", byref(found), 0)
        self._call("cuEventRecord", found, stream)
        return found.value or 0

    def milliseconds(self, first: int, second: int) -> float:
        """Time between two events that have happened."""
        found = c_float()
        self._call("cuEventElapsedTime", byref(found), first, second)
        for event in (first, second):
            self._call("cuEventDestroy_v2", event)
        return found.value
