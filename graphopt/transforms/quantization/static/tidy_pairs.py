"""What Q/DQ models carry that nothing needs: pairs after pairs, and integers that are moved as floats.

``Quantize(Dequantize(q)) -> q`` with equal parameters; ``Reshape(Dequantize(q)) -> Dequantize(Reshape(q))`` for operators that only move
numbers. Both exact.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Quantization, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.quantization.parameters import integer_range
from graphopt.transforms.quantization.static.float_pairs import MOVING
from graphopt.transforms.quantization.static.roles import data_inputs
from graphopt.transforms.quantization.static.stored import QUANTIZE, parameters_of, stored_by

__all__ = ["DequantizeLater", "DropRequantization"]

_NARROW: Final = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
#: From this opset on DequantizeLinear has an axis, and the moved operators take bytes.
_AXIS: Final = 13


class DropRequantization(RewritePattern):
    """QuantizeLinear(DequantizeLinear(q)) with equal parameters -> q."""

    name: ClassVar[str] = "drop-requantization"
    roots: ClassVar[tuple[str, ...]] = QUANTIZE
    numerics: ClassVar[Numerics] = Exact()

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where each integer comes back as itself."""
        stored = stored_by(node.input_at(0))
        again = parameters_of(node, node.output.dtype)
        if stored is None or again is None:
            return NoMatch("what is quantized is not stored already, or a scale is not constant")
        if not _agree(stored.how, again):
            return NoMatch("the parameters differ")
        if stored.integers.dtype is not node.output.dtype or again.dtype not in _NARROW:
            return NoMatch("the element types differ")
        scale = again.scale.numpy().astype(np.float64)
        least, most = integer_range(again.dtype)
        if again.scale.dtype is not DType.FLOAT:
            return NoMatch("%s rounds what the integers stand for", again.scale.dtype)
        limits = np.finfo(np.float32)
        if not (scale >= float(limits.tiny)).all() or not (scale * 2 * (most - least) <= float(limits.max)).all():
            return NoMatch("the scale is not normal")
        return stored.integers


def _agree(one: Quantization, other: Quantization) -> bool:
    same = (one.dtype, one.axis, one.block) == (other.dtype, other.axis, other.block)
    return same and one.scale.equals(other.scale) and one.zero_point.equals(other.zero_point)


class DequantizeLater(RewritePattern):
    """Reshape(DequantizeLinear(q)) -> DequantizeLinear(Reshape(q)), for all operators that only move numbers."""

    name: ClassVar[str] = "dequantize-later"
    roots: ClassVar[tuple[str, ...]] = tuple(sorted(MOVING - {"Identity", "MaxPool", "Expand", "Tile"}))
    numerics: ClassVar[Numerics] = Exact()

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where all that is moved is stored alike, and read by nobody else."""
        if (node.opset or 0) < _AXIS:
            return NoMatch("operators of opset %s may not take bytes", node.opset)
        places = data_inputs(node)
        stored = [stored_by(node.input_at(at)) for at in places]
        first = stored[0]
        if first is None or first.how.block or first.integers.dtype not in (DType.INT8, DType.UINT8):
            return NoMatch("what is moved is not stored as bytes")
        if not all(item is not None and _agree(first.how, item.how) for item in stored):
            return NoMatch("not all is stored alike")
        read = [node.inputs[at] for at in places]
        if not all(value is not None and value.has_single_use for value in read):
            return NoMatch("others read it as floats")
        how = first.how
        axis = None
        if how.axis is not None:
            perm = node.ints_attr("perm")
            rank = first.integers.rank
            if node.op != "Transpose" or perm is None or rank is None:
                return NoMatch("there are several scales")
            axis = perm.index(how.axis % rank)
        above = read[0].producer if read[0] is not None else None
        assert above is not None, "a DequantizeLinear gives it"
        inputs: list[Value | None] = list(node.inputs)
        for at, item in zip(places, stored, strict=True):
            inputs[at] = None if item is None else item.integers
        moved = rw.new_node(node.op, inputs, attributes=dict(node.attributes)).output
        attributes: dict[str, object] = dict(above.attributes)
        if axis is not None:
            attributes["axis"] = axis
        return rw.new_node(above.op, [moved, *above.inputs[1:]], attributes=attributes).output
