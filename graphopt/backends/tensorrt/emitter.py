"""Adds layers to a network: each call is checked at once, arrays live as long as the network, ranks and types are aligned.

TensorRT states what is wrong in its log only; a call that fails gives ``None`` or a layer whose output has no shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.backends.tensorrt.arrays import is_one_number, lasting, packed_int4
from graphopt.backends.tensorrt.protocols import Enum, Layer, Network, Tensor
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Array, DType, Node, Value

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.api import Api, Log
    from graphopt.backends.tensorrt.registry import Registry

__all__ = ["Emitter"]

#: Types of constants that are one number all over, and expanded where they are used.
_EXPANDED: Final = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16)
#: Element types that TensorRT takes as a pointer only, and whose numbers can't be read back from a network.
_BY_POINTER: Final = (DType.BFLOAT16, DType.FLOAT8E4M3FN, DType.INT4)
#: What numbers of a type are kept in inside of a network: TensorRT lacks the type, or takes it at the edges and between scales only.
_INSIDE: Final = {
    **dict.fromkeys((DType.INT8, DType.UINT8, DType.INT16, DType.UINT16), DType.INT32),
    **dict.fromkeys((DType.INT4, DType.UINT4, DType.INT2, DType.UINT2), DType.INT32),
    **dict.fromkeys((DType.UINT32, DType.UINT64), DType.INT64),
    **dict.fromkeys((DType.DOUBLE, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT8E4M3FNUZ), DType.FLOAT),
    **dict.fromkeys((DType.FLOAT8E5M2FNUZ, DType.FLOAT4E2M1, DType.FLOAT8E8M0), DType.FLOAT),
}
#: Types that inputs and outputs have all the same.
_AT_EDGES: Final = (DType.INT8, DType.UINT8, DType.FLOAT8E4M3FN)


class Emitter:
    """Adds layers to a network.

    Args:
        api: the library.
        log: of the builder that made the network.
        network: it.
        registry: converters by operator.
        refittable: whether weights may be exchanged in the engine: then equal numbers are not one layer, as others may differ there.

    Attributes:
        stored: constants whose numbers TensorRT does not give back, by the name of their layer.
        tensors: tensors of values of the model.
        whole: integers of values of the model as floats, where they were floats before they were stored.
    """

    def __init__(self, api: Api, log: Log, network: Network, registry: Registry, *, refittable: bool = False) -> None:
        self.api = api
        self.registry = registry
        self.log = log
        self.network = network
        self.stored: dict[str, Array] = {}
        self.tensors: dict[Value, Tensor] = {}
        self.whole: dict[Value, Tensor] = {}
        self._keep: list[object] = []  # TensorRT does not copy weights before it builds
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._shared_layers: set[str] = set()
        self._pointed: dict[str, object] = {}
        self._names: set[str] = set()
        self._refittable = refittable
        self._node: Node | None = None
        self._count = 0

    # -- what is being lowered ------------------------------------------------------------------------------------------------

    @contextmanager
    def lowering(self, node: Node) -> Iterator[None]:
        """Layers that are added inside belong to a node: they get its name and lineage, errors name it."""
        outer, first = self._node, self.network.num_layers
        self._node = node
        try:
            yield
        finally:
            self._node = outer
        name = node.name or (node.outputs[0].name if node.outputs else node.op)
        lineage = json.dumps(list(node.lineage.names()))
        for place in range(first, self.network.num_layers):
            layer = self.network.get_layer(place)
            if not layer.metadata and layer.name not in self._shared_layers:
                layer.metadata = lineage
                if layer.name not in self._names:
                    layer.name = self._unique(f"{name} #{place - first}" if place > first else name)

    def _unique(self, name: str) -> str:
        """A name that no layer has; engines are looked into, and refitted, by names of layers."""
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name} ({count})"
        self._names.add(found)
        return found

    def pointed(self, layer: str) -> object:
        """The weights of a constant layer that were given as a pointer, ``None`` if they were not."""
        return self._pointed.get(layer)

    def fail(self, reason: str) -> UnsupportedOpError:
        """The error that the node at hand can't be expressed."""
        node = self._node
        where = "the network" if node is None else f"node {node.name or node.outputs[0].name!r} ({node.op})"
        original = "" if node is None else f", from {', '.join(node.lineage.names()[:3])}"
        error = UnsupportedOpError(f"{where}{original}: {reason}")
        error.node = "" if node is None or not node.outputs else node.outputs[0].name
        return error

    def check(self, layer: Layer | None, *, settled: bool = True) -> Layer:
        """A layer, if TensorRT took it.

        Args:
            layer: what a call gave.
            settled: whether all of its inputs are set, so that its outputs have shapes.

        Raises:
            UnsupportedOpError: with TensorRT's own message, if it did not.
        """
        if layer is None:
            raise self.fail(f"TensorRT refused it: {self.log.errors() or 'it does not say why'}")
        if not settled:
            return layer
        try:
            for place in range(layer.num_outputs):
                tuple(layer.get_output(place).shape)
        except (RuntimeError, ValueError) as err:
            raise self.fail(f"TensorRT refused it: {self.log.errors() or err}") from err
        return layer

    def out(self, layer: Layer | None) -> Tensor:
        """The first output of a layer, which is checked."""
        return self.check(layer).get_output(0)

    # -- values ----------------------------------------------------------------------------------------------------------------

    def input(self, node: Node, place: int) -> Tensor:
        """The tensor of an input of a node.

        Raises:
            UnsupportedOpError: if it is absent.
        """
        found = self.optional(node, place)
        if found is None:
            raise self.fail(f"input {place} is missing")
        return found

    def optional(self, node: Node, place: int) -> Tensor | None:
        """The tensor of an input of a node, ``None`` when it is absent."""
        value = node.input_at(place)
        return None if value is None else self.tensor(value)

    def tensor(self, value: Value) -> Tensor:
        """The tensor of a value, a constant's where it is one."""
        found = self.tensors.get(value)
        if found is None:
            if value.const is None or not value.is_constant:
                raise self.fail(f"value {value.name!r} has no tensor")
            found = self.tensors[value] = self.constant(value.const.numpy(), value.const.dtype)
        return found

    def array(self, node: Node, place: int) -> Array | None:
        """The numbers of an input that is constant, else ``None``."""
        value = node.input_at(place)
        return None if value is None or value.const is None or not value.is_constant else value.const.numpy()

    def kernel(self, node: Node, place: int) -> Array | None:
        """Weights that a layer is to hold; ``None`` if it reads them as a tensor: they are not constant, or one number all over."""
        found = self.array(node, place)
        return None if found is None or self._is_uniform(found) else found

    # -- constants -------------------------------------------------------------------------------------------------------------

    def constant(self, array: Array | np.generic, dtype: DType | None = None) -> Tensor:
        """A tensor of given numbers, in the type that they have inside; equal ones are one layer."""
        array = np.asarray(array)
        dtype = self.inside(DType.from_numpy(array.dtype) if dtype is None else dtype)
        return self._shared(array.astype(dtype.numpy, copy=False), dtype)

    def as_stored(self, array: Array, dtype: DType) -> Tensor:
        """A tensor of given numbers as they are, for scales to make floats of: int8, int4, float8e4m3fn."""
        return self._shared(array, dtype)

    def inside(self, dtype: DType) -> DType:
        """The type in which numbers of a type are kept inside of a network."""
        return _INSIDE.get(dtype, dtype)

    def at_edge(self, dtype: DType) -> DType:
        """The type of an input or output of the network."""
        return dtype if dtype in _AT_EDGES else self.inside(dtype)

    def _is_uniform(self, array: Array) -> bool:
        """Whether an engine need not hold an array, which is one number all over. What is exchanged later is held whatever it is."""
        return not self._refittable and is_one_number(array)

    def _shared(self, array: Array, dtype: DType) -> Tensor:
        if dtype in _EXPANDED and self._is_uniform(array):
            one = self._shared(array.reshape(-1)[:1].reshape((1,) * array.ndim), dtype)
            return self.expand(one, array.shape)
        kept = lasting(array)
        small = kept.size <= 64 and not (self._refittable and dtype.is_float)
        key = (str(dtype), kept.shape, kept.tobytes()) if small else None
        if key is not None and key in self._constants and self._node is not None:
            return self._constants[key]
        found = self._add_constant(kept, dtype, shared=small)
        if key is not None:
            self._constants[key] = found
        return found

    def _add_constant(self, kept: Array, dtype: DType, *, shared: bool) -> Tensor:
        module = self.api.module
        if dtype is DType.BOOL:  # constants of this type can't be given as arrays
            return self.cast(self._add_constant(kept.astype(np.int32), DType.INT32, shared=shared), dtype)
        kind = self.api.dtype(dtype)
        if kind is None:
            raise self.fail(f"TensorRT has no element type {dtype}")
        self._keep.append(kept)
        weights: object = kept
        packed = dtype in _BY_POINTER
        if not kept.size:
            weights = module.Weights(kind)
        elif packed:
            stored = packed_int4(kept) if dtype is DType.INT4 else kept
            self._keep.append(stored)
            weights = module.Weights(kind, stored.ctypes.data, kept.size)
        layer = self.check(self.network.add_constant(kept.shape, weights))
        self._count += 1
        layer.name = self._unique(f"constant {self._count}")
        if shared:  # it belongs to no node
            self._shared_layers.add(layer.name)
        if packed:
            self.stored[layer.name] = kept
            self._pointed[layer.name] = weights
        return layer.get_output(0)

    def weights(self, array: Array | None, dtype: DType) -> object:
        """Weights to give to a layer that takes them as numbers; they live as long as the network."""
        if array is None:
            return self.api.module.Weights(self.api.dtype(dtype))
        kept = lasting(array)
        self._keep.append(kept)
        return kept

    # -- the layers that everything is made of -----------------------------------------------------------------------------------

    def rank(self, tensor: Tensor) -> int:
        """Number of axes."""
        return len(tensor.shape)

    def axis(self, axis: int, tensor: Tensor) -> int:
        """An axis, counted from the front."""
        return axis % max(1, self.rank(tensor))

    def cast(self, tensor: Tensor, dtype: Enum | DType) -> Tensor:
        """A tensor in another element type; from and to float8 that is a scale of 1."""
        kind = self.api.dtype(dtype) if isinstance(dtype, DType) else dtype
        if kind is None:
            raise self.fail(f"TensorRT has no element type {dtype}")
        if tensor.dtype == kind:
            return tensor
        start, end = self.api.ir_dtype(tensor.dtype), self.api.ir_dtype(kind)
        if start is DType.FLOAT8E4M3FN:
            one, scaled = self.constant(np.float32(1)), self.api.dtype(DType.FLOAT)
            return self.cast(self.out(self.network.add_dequantize(tensor, one, scaled)), kind)
        if end is DType.FLOAT8E4M3FN:
            floats = tensor if start.is_float else self.cast(tensor, DType.FLOAT)
            one = self.constant(np.ones((), self.api.ir_dtype(floats.dtype).numpy))
            return self.out(self.network.add_quantize(floats, one, kind))
        return self.out(self.network.add_cast(tensor, kind))

    def plain(self, tensor: Tensor) -> Tensor:
        """A tensor that all layers take: stored bytes as int32, stored float8 as floats."""
        return self.cast(tensor, self.inside(self.api.ir_dtype(tensor.dtype)))

    def unary(self, tensor: Tensor, op: str) -> Tensor:
        """A layer of ``UnaryOperation``."""
        return self.out(self.network.add_unary(self.plain(tensor), self.api.enum("UnaryOperation", op)))

    def activation(self, tensor: Tensor, kind: str, alpha: float | None = None, beta: float | None = None) -> Tensor:
        """A layer of ``ActivationType``."""
        layer = self.check(self.network.add_activation(tensor, self.api.enum("ActivationType", kind)))
        if alpha is not None:
            layer.alpha = alpha
        if beta is not None:
            layer.beta = beta
        return layer.get_output(0)

    def elementwise(self, a: Tensor, b: Tensor, op: str) -> Tensor:
        """A layer of ``ElementWiseOperation``; the shorter shape gets axes in front."""
        a, b = self.aligned(self.plain(a), self.plain(b))
        return self.out(self.network.add_elementwise(a, b, self.api.enum("ElementWiseOperation", op)))

    def aligned(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors with axes of size 1 in front, so that all have the rank of the longest."""
        longest = max(self.rank(item) for item in tensors)
        return [self.with_rank(item, longest) for item in tensors]

    def with_rank(self, tensor: Tensor, rank: int) -> Tensor:
        """A tensor with axes of size 1 in front."""
        lacking = rank - self.rank(tensor)
        return tensor if lacking <= 0 else self.unsqueeze(tensor, range(lacking))

    def unsqueeze(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """A tensor with axes of size 1 at places of the result."""
        rank = self.rank(tensor) + len(axes)
        new = {axis % rank for axis in axes}
        if tuple(tensor.shape).count(-1) <= 1:
            sizes = iter(tensor.shape)
            return self.reshape(tensor, [1 if place in new else next(sizes) for place in range(rank)])
        axes_tensor = self.constant(np.array(sorted(new), np.int64))
        return self.out(self.network.add_unsqueeze(tensor, axes_tensor))

    def squeeze(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """A tensor without axes of size 1."""
        gone = {axis % self.rank(tensor) for axis in axes}
        rest = [size for place, size in enumerate(tensor.shape) if place not in gone]
        if sum(size == -1 for size in rest) <= 1:
            return self.reshape(tensor, rest)
        return self.out(self.network.add_squeeze(tensor, self.constant(np.array(sorted(gone), np.int64))))

    def reshape(self, tensor: Tensor, shape: Sequence[int] | Tensor) -> Tensor:
        """A tensor with other sizes: numbers, of which one may be -1, or a shape tensor. A 0 is a 0."""
        layer = self.check(self.network.add_shuffle(tensor))
        layer.zero_is_placeholder = False
        if isinstance(shape, Sequence):
            layer.reshape_dims = tuple(int(size) for size in shape)
        else:
            layer.set_input(1, shape)
        return self.out(layer)

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """A tensor with its axes in another order."""
        if list(order) == list(range(len(order))):
            return tensor
        layer = self.check(self.network.add_shuffle(tensor))
        layer.first_transpose = tuple(order)
        return self.out(layer)

    def shape(self, tensor: Tensor) -> Tensor:
        """The sizes of a tensor, int64 [rank]; constant where all are known."""
        if -1 not in tuple(tensor.shape):
            return self.constant(np.array(tuple(tensor.shape), np.int64))
        return self.out(self.network.add_shape(tensor))

    def sizes(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """Some of the sizes of a tensor, int64 [len(axes)]."""
        known = [tensor.shape[axis] for axis in axes]
        if -1 not in known:
            return self.constant(np.array(known, np.int64))
        return self.gather(self.shape(tensor), self.constant(np.array(list(axes), np.int32)), 0)

    def gather(self, tensor: Tensor, indices: Tensor, axis: int) -> Tensor:
        """Parts of a tensor along an axis, by indices that are not negative."""
        indices = self.plain(indices)
        layer = self.check(self.network.add_gather_v2(tensor, indices, self.api.enum("GatherMode", "DEFAULT")))
        layer.axis = axis
        return self.out(layer)

    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
        """Tensors joined along an axis."""
        if len(tensors) == 1:
            return tensors[0]
        if len({str(item.dtype) for item in tensors}) > 1:
            tensors = [self.plain(item) for item in tensors]
        layer = self.check(self.network.add_concatenation(list(tensors)), settled=False)
        layer.axis = axis
        return self.out(layer)

    def expand(self, tensor: Tensor, shape: Tensor | Sequence[int]) -> Tensor:
        """A tensor repeated along axes of size 1 until it has some sizes, of its own rank."""
        rank = self.rank(tensor)
        if isinstance(shape, Sequence):
            strides = [int(size != 1) for size in tensor.shape]
            if -1 not in tuple(tensor.shape):
                return self.out(self.network.add_slice(tensor, [0] * rank, list(shape), strides))
            shape = self.constant(np.array(list(shape), np.int64))
        layer = self.check(self.network.add_slice(tensor, [0] * rank, [1] * rank, [1] * rank))
        layer.set_input(2, shape)
        if -1 in tuple(tensor.shape):
            ones = self.constant(np.ones(rank, np.int64))
            layer.set_input(3, self.elementwise(self.elementwise(self.shape(tensor), ones, "SUB"), ones, "MIN"))
        else:
            layer.stride = tuple(int(size != 1) for size in tensor.shape)
        return self.out(layer)

    def reduce(self, tensor: Tensor, op: str, axes: Sequence[int], *, keep: bool) -> Tensor:
        """A layer of ``ReduceOperation`` over some axes."""
        mask = sum(1 << (axis % self.rank(tensor)) for axis in axes)
        return self.out(self.network.add_reduce(self.plain(tensor), self.api.enum("ReduceOperation", op), mask, keep))

    def scalar_like(self, number: float, tensor: Tensor) -> Tensor:
        """One number in the element type of a tensor, with its rank."""
        dtype = self.inside(self.api.ir_dtype(tensor.dtype))
        return self.constant(np.full((1,) * self.rank(tensor), number).astype(dtype.numpy), dtype)

    def is_float(self, tensor: Tensor) -> bool:
        """Whether a tensor has floating-point numbers."""
        return self.api.ir_dtype(tensor.dtype).is_float

    def is_integer(self, tensor: Tensor) -> bool:
        """Whether a tensor has integers."""
        return self.api.ir_dtype(tensor.dtype).is_integer

    def select(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Numbers of ``a`` where the condition holds, of ``b`` elsewhere."""
        condition, a, b = self.aligned(condition, self.plain(a), self.plain(b))
        return self.out(self.network.add_select(condition, a, b))
