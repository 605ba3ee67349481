"""Spells out normalizations by means and arithmetic, for targets that lack them: the inverse of ``fuse-normalization``.

``LayerNormalization[e](x, w, b) -> (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) * w + b``, RMSNormalization without the mean, in float32
as the operators do inside; ``InstanceNormalization`` likewise by channel; ``GroupNormalization(x, w, b) -> reshape(InstanceNormalization(
reshape(x))) * w + b``. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Rule
from graphopt.transforms.broadcasting import static_shape
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeNormalization"]

_DTYPES = frozenset({DType.FLOAT, DType.FLOAT16})


def _mean(x: Value, axes: Sequence[int], make: Spelling, opset: int) -> Value:
    if opset < 18:
        return make.of("ReduceMean", x, axes=tuple(axes), keepdims=1)
    return make.of("ReduceMean", x, np.array(axes, np.int64), keepdims=1)


def _normalized(
    x: Value, axes: Sequence[int], epsilon: float, make: Spelling, opset: int, *, is_centred: bool
) -> Value:
    """``x``, or its difference from the mean, divided by its root mean square."""
    difference = make.of("Sub", x, _mean(x, axes, make, opset)) if is_centred else x
    square = make.of("Mul", difference, difference)
    return make.of("Div", difference, make.of("Sqrt", make.of("Add", _mean(square, axes, make, opset), epsilon)))


class SpellOutLayerNorm(SpellOut):
    """LayerNormalization[e](x, w, b) -> (x - ReduceMean(x)) / Sqrt(variance + e) * w + b, RMSNormalization without the mean."""

    name: ClassVar[str] = "spell-out-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("LayerNormalization", "RMSNormalization")
    dtypes: ClassVar[frozenset[DType]] = _DTYPES

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """In float32, then in the type of ``x``."""
        scale, bias, axis, opset = node.input_at(1), node.input_at(2), node.int_attr("axis", -1), node.opset or 0
        if any(value.is_used for value in node.outputs[1:]):
            return NoMatch("mean or deviation are used too")
        if scale is None or node.attr("stash_type", 1) != 1:
            return NoMatch("it has no scale or does not compute in float32")
        if axis >= 0 and x.rank is None:
            return NoMatch("axis %d of a tensor whose rank is not known", axis)
        axes = range(axis if axis < 0 else axis - (x.rank or 0), 0)
        wide, narrow = Spelling(make.rw, DType.FLOAT), make.dtype is not DType.FLOAT
        inner = make.of("Cast", x, to=int(DType.FLOAT)) if narrow else x
        is_centred = node.op == "LayerNormalization"
        found = _normalized(inner, axes, node.float_attr("epsilon", 1e-5), wide, opset, is_centred=is_centred)
        if narrow:
            found = make.of("Cast", found, to=int(make.dtype))
        found = make.of("Mul", found, scale)
        return found if bias is None else make.of("Add", found, bias)


def _by_channel(value: Value, rank: int, make: Spelling) -> Value | np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """A number for each channel, in a shape that broadcasts."""
    array = value.array()
    shape = (-1, *[1] * (rank - 2))
    return make.of("Reshape", value, np.array(shape, np.int64)) if array is None else array.reshape(shape)


class SpellOutInstanceNorm(SpellOut):
    """InstanceNormalization[e](x, w, b) -> (x - ReduceMean(x)) / Sqrt(variance + e) * w + b, by channel."""

    name: ClassVar[str] = "spell-out-instance-norm"
    roots: ClassVar[tuple[str, ...]] = ("InstanceNormalization",)
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Over all axes but batch and channels."""
        scale, bias, opset = node.input_at(1), node.input_at(2), node.opset or 0
        if x.rank is None or x.rank < 3 or scale is None or bias is None:
            return NoMatch("%s has no axis but batch and channels, or its rank is not known", x.type)
        axes, epsilon = range(2 - x.rank, 0), node.float_attr("epsilon", 1e-5)
        found = _normalized(x, axes, epsilon, make, opset, is_centred=True)
        found = make.of("Mul", found, _by_channel(scale, x.rank, make))
        return make.of("Add", found, _by_channel(bias, x.rank, make))


class SpellOutGroupNorm(SpellOut):
    """GroupNormalization[g](x, w, b) -> Reshape(InstanceNormalization(Reshape(x, [0, g, -1]), 1, 0), shape of x) * w + b."""

    name: ClassVar[str] = "spell-out-group-norm"
    roots: ClassVar[tuple[str, ...]] = ("GroupNormalization",)
    min_opset: ClassVar[int] = 21
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """The shape comes from ``x`` itself where it is not known."""
        scale, bias, groups = node.input_at(1), node.input_at(2), node.int_attr("num_groups")
        if x.rank is None or x.rank < 3 or scale is None or bias is None or 0 in (x.shape or ()):
            return NoMatch("%s has no axis but batch and channels, or its rank is not known", x.type)
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        grouped = make.of("Reshape", x, np.array([0, groups, -1], np.int64))
        epsilon = node.float_attr("epsilon", 1e-5)
        normalized = make.of("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
        sizes = static_shape(x.shape)
        shape = make.of("Shape", x) if sizes is None else np.array(sizes, np.int64)
        found = make.of("Mul", make.of("Reshape", normalized, shape), _by_channel(scale, x.rank, make))
        return make.of("Add", found, _by_channel(bias, x.rank, make))


@dataclass(frozen=True)
class DecomposeNormalization(DecomposePass):
    """Spell out normalizations by means and arithmetic, for targets that lack their operators. Re-associates; needs types.

    Attributes:
        ops: operators to spell out, all that the pass knows when there are none.
        lacking: whether only those are spelled out that the target has no kernel for.
    """

    name: ClassVar[str] = "decompose-normalization"
    rules: ClassVar[tuple[Rule, ...]] = (SpellOutLayerNorm(), SpellOutInstanceNorm(), SpellOutGroupNorm())
