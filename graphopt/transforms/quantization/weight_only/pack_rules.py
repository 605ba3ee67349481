"""Products by dequantized weights become ``com.microsoft::MatMulNBits``, which multiplies by the stored integers directly.

``MatMul(x, DequantizeLinear(w, s, z)) -> MatMulNBits(x, packed w, s, z)``, and Gemm with its bias; ``MatMulNBits(x, ...) + c`` with one
number for each column -> the bias of MatMulNBits. Weights of 4 or 8 bits, with scales for blocks along the summed axis, for columns, or
one for all. With ``accuracy_level`` 4 the kernel stores activations by 8 bits too, in blocks with a scale each.
Numerics: lossy (the kernel's choice of accuracy); exact for levels 0 and 1 up to the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from graphopt.ir import Array, Constant, DType, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.products import is_static
from graphopt.transforms.quantization.weight_only.nbits import is_packable, pack_matrix

__all__ = ["NBITS", "AddBiasToNbits", "PackProduct"]

NBITS: Final = "com.microsoft::MatMulNBits"
_FLOATS: Final = frozenset({DType.FLOAT, DType.FLOAT16})
_INTEGERS: Final = frozenset({DType.INT8, DType.UINT8, DType.INT4, DType.UINT4})
#: Sizes of blocks for scales that are not of blocks, the best first.
_BLOCKS: Final = (128, 256, 64, 32, 16)
_BIAS: Final = 5
_WEIGHT = op.DequantizeLinear(const("w"), const("s"))


@dataclass(frozen=True, slots=True)
class _Stored:
    """A dequantized matrix: integers [K, N], scales and zero points [blocks, N]."""

    integers: Array
    scale: NDArray[np.floating[Any]]
    zero_point: Array
    dtype: DType
    block: int


def _read(value: Value | None, *, is_transposed: bool) -> _Stored | NoMatch:
    """What DequantizeLinear says of a matrix [K, N], or of a transposed one."""
    node = None if value is None else value.producer
    if node is None or node.op != "DequantizeLinear" or node.has_references:
        return NoMatch("the weight is not dequantized")
    constants = [constant_of(node.input_at(place)) for place in range(3)]
    integers, scale, zero = constants
    if integers is None or scale is None or (zero is None and node.input_at(2) is not None):
        return NoMatch("the weight or its parameters are not constant")
    if integers.ndim != 2 or integers.dtype not in _INTEGERS or not integers.size:
        return NoMatch("the weight is %s, expected a matrix of 4 or 8 bits", integers.type)
    if node.int_attr("output_dtype", 0):
        return NoMatch("DequantizeLinear states the type of its output")
    block, summed = node.int_attr("block_size", 0), 1 if is_transposed else 0
    axis = node.int_attr("axis", 1) % 2
    if scale.ndim and scale.size > 1 and axis != (summed if block else 1 - summed):
        return NoMatch("scales are along axis %d", axis)
    rows, columns = integers.shape[::-1] if is_transposed else integers.shape
    if not block:
        block = next((size for size in _BLOCKS if rows % size == 0), 32)
    if not is_packable(integers.dtype.bits, block):
        return NoMatch("blocks are of %d numbers, expected a power of 2 from 16 on", block)
    shape = (-(-rows // block), columns)
    found = [None if item is None else _spread(item, shape, is_transposed=is_transposed) for item in (scale, zero)]
    if found[0] is None or (zero is not None and found[1] is None):
        return NoMatch("scales are %s", scale.type)
    array = integers.numpy()
    zeros = np.zeros(shape, np.int16) if found[1] is None else found[1]
    return _Stored(array.T if is_transposed else array, found[0], zeros, integers.dtype, block)


def _spread(parameter: Constant, shape: tuple[int, int], *, is_transposed: bool) -> Any:  # noqa: ANN401 - integers or floats
    """A parameter as [blocks, N], ``None`` if it is of another shape."""
    array = parameter.numpy()
    if array.size == 1:
        return np.broadcast_to(array.reshape(1, 1), shape)
    if array.ndim == 1:
        return np.broadcast_to(array, shape) if array.shape == shape[1:] else None
    array = array.T if is_transposed else array
    return array if array.shape == shape else None


@dataclass(frozen=True)
class PackProduct(RewritePattern):
    """MatMul(x, DequantizeLinear(w)) -> com.microsoft::MatMulNBits(x, w), and Gemm."""

    name: ClassVar[str] = "pack-product"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm")
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = NBITS
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.MatMul(any_("x"), _WEIGHT),
        op.Gemm(any_("x"), _WEIGHT, const("b", optional=True)),
    )
    selection: Selection = field(default_factory=Selection)
    accuracy_level: int = 4

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """A product whose weight is dequantized."""
        if not self.selection.admits(node):
            return NoMatch("%r is excluded", layer_name(node))
        x = node.input_at(0)
        if x is None or x.dtype not in _FLOATS or (x.rank or 0) < 2:
            return NoMatch("the activation is %s", None if x is None else x.type)
        if is_static(node):
            return NoMatch("its activations are quantized already")
        gemm = node.op == "Gemm"
        if gemm and node.int_attr("transA", 0):
            return NoMatch("the activation is transposed")
        stored = _read(node.input_at(1), is_transposed=gemm and bool(node.int_attr("transB", 0)))
        if isinstance(stored, NoMatch):
            return stored
        rows, columns = stored.integers.shape
        bias = self._bias(node, columns, rw) if gemm else None
        if isinstance(bias, NoMatch):
            return bias
        rw.matched = [node]
        alpha = np.asarray(node.float_attr("alpha", 1.0) if gemm else 1.0, x.dtype.numpy)
        bits = stored.dtype.bits
        packed = pack_matrix(
            stored.integers,
            stored.scale * alpha,
            stored.zero_point,
            bits=bits,
            block=stored.block,
            is_signed=stored.dtype.is_signed,
        )
        stem = "weight" if node.inputs[1] is None else node.inputs[1].name
        inputs = [
            x,
            rw.constant(packed.weight, f"{stem}_packed"),
            rw.constant(packed.scale, f"{stem}_scale"),
            None if packed.zero_point is None else rw.constant(packed.zero_point, f"{stem}_zero_point"),
            None,
            bias,
        ]
        stated: dict[str, object] = {"K": rows, "N": columns, "bits": bits, "block_size": stored.block}
        stated["accuracy_level"] = self.accuracy_level
        made = rw.new_node(NBITS, inputs, attributes=stated, name=node.name)
        made.output.type = node.output.type
        return made.output

    @staticmethod
    def _bias(node: Node, columns: int, rw: Rewriter) -> Value | NoMatch | None:
        """What Gemm adds, one number for each column."""
        term, beta = node.input_at(2), node.float_attr("beta", 1.0)
        if term is None or not beta:
            return None
        constant = constant_of(term)
        if constant is None or constant.size not in (1, columns) or constant.shape[-1:] not in ((), (1,), (columns,)):
            return NoMatch("what Gemm adds is not constant, or not one number for each column")
        row = np.broadcast_to(constant.numpy().reshape(-1), (columns,)).astype(np.float32) * np.float32(beta)
        return rw.constant(row.astype(constant.dtype.numpy), f"{term.name}_row")


class AddBiasToNbits(RewritePattern):
    """Add(com.microsoft::MatMulNBits(x, w), c) -> MatMulNBits(x, w, bias=c)."""

    name: ClassVar[str] = "add-bias-to-nbits"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    makes: ClassVar[str] = NBITS
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Add(op.MatMul(any_("x"), _WEIGHT), const("c"), commute=True),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The product must have no other reader and no bias."""
        for total, term in (node.inputs, node.inputs[::-1]):
            product = None if total is None else total.producer
            if product is None or total is None or product.op != NBITS or not total.has_single_use:
                continue
            constant, columns = constant_of(term), product.attributes.get("N")
            if (
                constant is None
                or columns is None
                or constant.shape != (columns.value,)
                or product.graph is not node.graph
            ):
                continue
            if product.input_at(_BIAS) is not None:
                continue
            rw.matched = [node, product]
            inputs = [*(product.input_at(place) for place in range(_BIAS)), term]
            made = rw.new_node(NBITS, inputs, attributes=dict(product.attributes), name=product.name)
            made.output.type = node.output.type
            return made.output
        return NoMatch("adds no row to a product of MatMulNBits")
