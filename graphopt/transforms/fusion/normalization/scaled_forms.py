"""Recognizes LayerNormalization as TensorFlow spells it, with the scale inside.

``x * k + (b - mean(x) * k)`` with ``k = w / sqrt(var(x) + e)``, the form of ``tf.nn.batch_normalization``, ``-> LayerNormalization[e](x, w,
b)``, the scale absent or not. Numerics: re-associates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import static_shape
from graphopt.transforms.expressions import nodes_between, other_operand, producer, square_of
from graphopt.transforms.fusion.normalization.layer_norms import mean_pattern
from graphopt.transforms.fusion.normalization.moments import centred, inverse_root, mean_of, with_epsilon

__all__ = ["FuseScaledLayerNorm"]

_DTYPES: Final = frozenset({DType.FLOAT, DType.FLOAT16})
_X = any_("x")


def _context(*, attribute: bool) -> Pattern:
    mean = op.ReduceMean(_X, axes=(-1,), keepdims=1, name="mean", shared=True)
    if not attribute:
        mean = op.ReduceMean(_X, const("axes", equal_to=-1), keepdims=1, name="mean", shared=True)
    square = op.Pow(op.Sub(_X, mean), const("two", scalar=True, equal_to=2.0))
    variance = op.Add(mean_pattern(square, attribute=attribute), const("epsilon", scalar=True, equal_to=1e-3))
    factor = op.Mul(op.Reciprocal(op.Sqrt(variance)), const("w"), name="factor", shared=True)
    return op.Add(op.Mul(_X, factor), op.Sub(const("b"), op.Mul(mean, factor)))


@dataclass(frozen=True, slots=True)
class _Scaled:
    x: Value
    axes: tuple[int, ...]
    epsilon: float
    scale: Value | None
    bias: Value


def _readings(node: Node) -> Iterator[_Scaled]:
    """The ways to read a sum as such a normalization."""
    for one in node.inputs:
        product = producer(one, "Mul")
        difference = None if one is None else producer(other_operand(node, one), "Sub")
        shift = None if difference is None else producer(difference.inputs[1], "Mul")
        bias = None if difference is None else difference.inputs[0]
        if product is None or shift is None or bias is None:
            continue
        for x in product.inputs:
            factor = None if x is None else other_operand(product, x)
            mean = None if factor is None else mean_of(other_operand(shift, factor))
            if factor is None or mean is None or mean.x is not x:
                continue
            for inverse, scale in _factors(factor):
                for moment, epsilon in with_epsilon(inverse_root(inverse)):
                    square = mean_of(moment)
                    inner = None if square is None else centred(square_of(square.x))
                    if square is not None and inner == mean and square.axes == mean.axes:
                        yield _Scaled(mean.x, mean.axes, epsilon, scale, bias)


def _factors(value: Value) -> Iterator[tuple[Value, Value | None]]:
    """A factor as an inverse root and a scale."""
    yield value, None
    node = producer(value, "Mul")
    for one in () if node is None else node.inputs:
        other = None if node is None or one is None else other_operand(node, one)
        if one is not None and other is not None and other.is_constant:
            yield one, other


def _last_axis(value: Value | None, sizes: tuple[int, ...], dtype: DType) -> Array | NoMatch:
    """A constant in the shape of the normalized axes."""
    if value is None:
        return np.ones(sizes, dtype.numpy)
    array = value.array()
    if array is None or value.dtype is not dtype:
        return NoMatch("%r is no constant of %s", value.name, dtype)
    if array.size == 1:
        return np.full(sizes, array.reshape(-1)[0])
    shape = array.shape
    while len(shape) > len(sizes) and shape[0] == 1:
        shape = shape[1:]
    return np.reshape(array, sizes) if shape == sizes else NoMatch("%r is %s", value.name, value.type)


class FuseScaledLayerNorm(RewritePattern):
    """x * k + (b - ReduceMean(x) * k) with k = w / Sqrt(variance + e) -> LayerNormalization[e](x, w, b)."""

    name: ClassVar[str] = "fuse-scaled-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 10
    min_opset: ClassVar[int] = 17
    contexts: ClassVar[tuple[Pattern, ...]] = (_context(attribute=False), _context(attribute=True))

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Axes must be the last ones."""
        opset = node.opset
        if opset is None or opset < self.min_opset:
            return NoMatch("opset %s is older than %d", opset, self.min_opset)
        found = next(_readings(node), None)
        if found is None:
            return NoMatch("no x * k + (b - mean(x) * k)")
        x, count, dtype = found.x, len(found.axes), found.x.dtype
        sizes = static_shape(None if x.rank is None or x.rank < count else tuple(x.shape or ())[-count:])
        if found.axes != tuple(range(-count, 0)) or sizes is None or dtype not in _DTYPES or x.rank is None:
            return NoMatch("axes %s of %s are not the last ones, or their sizes are not known", found.axes, x.type)
        scale, bias = _last_axis(found.scale, sizes, dtype), _last_axis(found.bias, sizes, dtype)
        if isinstance(scale, NoMatch):
            return scale
        if isinstance(bias, NoMatch):
            return bias
        given = [
            value.const.shape for value in (found.scale, found.bias) if value is not None and value.const is not None
        ]
        nodes = nodes_between(node, (x,), x)
        if isinstance(nodes, NoMatch):
            return nodes
        if any(len(shape) > x.rank for shape in given):
            return NoMatch("scale or bias has more axes than %r", x.name)
        rw.matched = nodes
        attributes: dict[str, object] = {"axis": -count, "epsilon": found.epsilon}
        return rw.new_node("LayerNormalization", [x, scale, bias], attributes=attributes).output
