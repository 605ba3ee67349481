"""What an engine takes and gives, as the model declares it, and arrays between the two.

TensorRT has no float64 and few integers, so an engine may have another element type than the model: float64 becomes float32 on the way in.
Integers that do not fit are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphopt.backends.tensorrt.api import Api
from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType, TensorType
from graphopt.runtime.base import Datum, ValueSpec

__all__ = ["Binding", "bindings_of", "shape_text"]

#: Larger than any size.
_MOST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Binding:
    """An input or output of an engine.

    Attributes:
        name: of the tensor.
        is_input: whether it is fed.
        dtype: element type in the engine.
        declared: element type in the model.
        shape: -1 for what is not fixed.
        on_host: whether the engine reads or writes it in the host's memory, as it does with sizes.
        ranges: smallest and largest shape by profile, of an input.
    """

    name: str
    is_input: bool
    dtype: DType
    declared: DType
    shape: tuple[int, ...]
    on_host: bool
    ranges: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def spec(self) -> ValueSpec:
        """It, as runners declare inputs and outputs."""
        return ValueSpec(self.name, TensorType(self.declared, tuple(None if size < 0 else size for size in self.shape)))

    def accepts(self, shape: Sequence[int], profile: int) -> bool:
        """Whether a profile has a shape."""
        least, most = self.ranges[profile]
        return len(shape) == len(least) and all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def fed(self, value: Datum) -> Array:
        """An array as the engine takes it, contiguous.

        Raises:
            ExecutionError: if it is no tensor, or of another element type or number of axes than the model declares.
        """
        if not isinstance(value, np.ndarray):
            raise ExecutionError(f"input {self.name!r} is a {type(value).__name__}, expected a tensor")
        try:
            given = DType.from_numpy(value.dtype)
        except ValueError as err:
            raise ExecutionError(f"input {self.name!r} is of {value.dtype}, expected {self.declared}") from err
        if given is not self.declared:
            raise ExecutionError(f"input {self.name!r} is of {given}, expected {self.declared}")
        if value.ndim != len(self.shape) or any(
            size not in (-1, other) for size, other in zip(self.shape, value.shape, strict=True)
        ):
            raise ExecutionError(
                f"input {self.name!r} has the shape {shape_text(value.shape)}, expected {shape_text(self.shape)}"
            )
        if self.declared is self.dtype and value.flags.c_contiguous and value.dtype.isnative:
            return value
        found = np.array(value, self.dtype.numpy, order="C")  # keeps arrays without axes what they are
        if self.dtype.is_integer and self.declared is not self.dtype and not np.array_equal(found, value):
            raise ExecutionError(
                f"input {self.name!r} has numbers that do not fit in {self.dtype}, which TensorRT has in place of {self.declared}"
            )
        return found

    def given(self, array: Array) -> Array:
        """An output as the model declares it."""
        return array.astype(self.declared.numpy) if self.declared is not self.dtype else array


def bindings_of(engine: Any, api: Api, declared: Mapping[str, str]) -> list[Binding]:  # noqa: ANN401  ICudaEngine
    """Inputs and outputs of an engine, in its order.

    Args:
        engine: it.
        api: the library.
        declared: element types of the model where they differ, by name.

    Raises:
        ExecutionError: if ``declared`` names a type that there is not.
    """
    module = api.module
    found = []
    for place in range(engine.num_io_tensors):
        name = str(engine.get_tensor_name(place))
        is_input = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        dtype = api.ir_dtype(engine.get_tensor_dtype(name))
        stated = declared.get(name, str(dtype)).upper()
        if stated not in DType.__members__:
            raise ExecutionError(
                f"the engine's manifest says that {name!r} is of {stated.lower()!r}, which is no element type"
            )
        shape = tuple(int(size) for size in engine.get_tensor_shape(name))
        profiles = range(engine.num_optimization_profiles if is_input else 0)
        ranges = tuple(_range(shape, *engine.get_tensor_profile_shape(name, profile)) for profile in profiles)
        on_host = engine.get_tensor_location(name) == module.TensorLocation.HOST
        found.append(Binding(name, is_input, dtype, DType[stated], shape, on_host, ranges))
    return found


def _range(shape: tuple[int, ...], *stated: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest and largest shape of a profile; one that says nothing of an input has its fixed sizes, and any others."""
    least, most = tuple(stated[0]), tuple(stated[-1])
    if len(least) == len(most) == len(shape):
        return least, most
    return tuple(max(size, 0) for size in shape), tuple(_MOST if size < 0 else size for size in shape)


def shape_text(shape: Sequence[int]) -> str:
    """A shape for people.

    Example:
        >>> shape_text((-1, 3))
        '?x3'
    """
    return "x".join("?" if size < 0 else str(size) for size in shape) or "of a scalar"
