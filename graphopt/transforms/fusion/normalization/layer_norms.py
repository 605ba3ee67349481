"""Recognizes LayerNormalization and RMSNormalization over the last axes.

``(x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) -> LayerNormalization[e](x, 1)`` from opset 17 on, ``x / sqrt(mean(x^2) + e) ->
RMSNormalization[e](x, 1)`` from opset 23 on: the quotient as Div, or a product with Reciprocal or Pow, the square as Mul or Pow, the
difference computed once or twice. What it is multiplied with and what is added to it goes in by rules of their own, see
:mod:`~graphopt.transforms.fusion.normalization.affine`. Models of older opsets are to be raised first: what ONNX Runtime has for these lies
in the default domain, where the checker of ``onnx`` refuses it. Numerics: re-associates. Source: Ba et al., Layer
Normalization, 2016; Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.rewriting.pattern import OpPattern
from graphopt.transforms.broadcasting import static_shape
from graphopt.transforms.expressions import nodes_between
from graphopt.transforms.fusion.normalization.moments import Normalized, normalized

__all__ = [
    "CENTRED_CONTEXTS",
    "FuseLayerNorm",
    "FuseRmsNorm",
    "RecognizeNormalization",
    "is_by_channel",
    "mean_pattern",
    "widened",
]

_DTYPES: Final = frozenset({DType.FLOAT, DType.FLOAT16})  # an epsilon of float64 would be rounded to float32
_X = any_("x")
_EPSILON = const("epsilon", scalar=True, equal_to=1e-3)
_TWO = const("two", scalar=True, equal_to=2.0)
_HALF = const("half", scalar=True, equal_to=-0.5)
_AXES = const("axes", equal_to=-1)


def mean_pattern(x: Pattern, *, attribute: bool) -> OpPattern:
    """The mean over the last axis, which is an attribute before opset 18 and an input from then on."""
    return op.ReduceMean(x, axes=(-1,), keepdims=1) if attribute else op.ReduceMean(x, _AXES, keepdims=1)


def _contexts() -> tuple[tuple[Pattern, ...], tuple[Pattern, ...]]:
    """Spellings with the mean subtracted, and without."""
    with_mean: list[Pattern] = []
    without: list[Pattern] = []
    for attribute in (False, True):
        difference = op.Sub(_X, mean_pattern(_X, attribute=attribute), name="difference", shared=True)
        variance = op.Add(mean_pattern(op.Pow(difference, _TWO), attribute=attribute), _EPSILON)
        with_mean.append(op.Div(difference, op.Sqrt(variance)))
        with_mean.append(op.Mul(difference, op.Reciprocal(op.Sqrt(variance))))
        power = op.Add(mean_pattern(op.Mul(_X, _X), attribute=attribute), _EPSILON)
        without.append(op.Mul(_X, op.Reciprocal(op.Sqrt(power))))
        without.append(op.Mul(_X, op.Pow(power, _HALF)))
    return tuple(with_mean), tuple(without)


CENTRED_CONTEXTS, _PLAIN_CONTEXTS = _contexts()


class RecognizeNormalization(RewritePattern):
    """A rule that finds a normalization.

    Attributes:
        operator: what it becomes.
        min_opset: oldest opset of the default domain at which it applies.
        is_centred: whether the mean is to be subtracted.
    """

    roots: ClassVar[tuple[str, ...]] = ("Div", "Mul")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 8
    operator: ClassVar[str]
    min_opset: ClassVar[int] = 7
    is_centred: ClassVar[bool]

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Find it, see that nobody else needs its parts, replace it."""
        opset = node.opset
        if opset is None or opset < self.min_opset:
            return NoMatch("opset %s is older than %d", opset, self.min_opset)
        reason = NoMatch("it is no quotient of a value and its root mean square")
        for found in normalized(node):
            if found.is_centred is not self.is_centred:
                continue
            if found.x.dtype not in _DTYPES or found.x.is_constant:
                return NoMatch("the element type is %s", found.x.dtype)
            nodes = nodes_between(node, (found.x,), found.x)
            if isinstance(nodes, NoMatch):
                reason = nodes
                continue
            rw.matched = nodes
            return self.replacement(node, found, rw)
        return reason

    def replacement(self, node: Node, found: Normalized, rw: Rewriter) -> Replacement:
        """The operator with a scale of ones."""
        count = len(found.axes)
        if found.axes != tuple(range(-count, 0)):
            return NoMatch("axes %s are not the last ones", found.axes)
        sizes = static_shape(None if found.x.rank is None else tuple(found.x.shape or ())[-count:])
        if sizes is None or found.x.rank is None or found.x.rank < count:
            return NoMatch("the sizes of axes %s are not known", found.axes)
        if is_by_channel(node, found):
            return NoMatch("it is an instance normalization")
        x = widened(found, rw)
        dtype = DType.FLOAT if found.is_widened else found.x.dtype
        assert dtype is not None, "asked above"
        attributes: dict[str, object] = {"axis": -count, "epsilon": found.epsilon}
        return rw.new_node(self.operator, [x, np.ones(sizes, dtype.numpy)], attributes=attributes).output


def widened(found: Normalized, rw: Rewriter) -> Value:
    """What is normalized, in the element type in which it is."""
    return rw.new("Cast", found.x, to=int(DType.FLOAT)) if found.is_widened else found.x


def is_by_channel(node: Node, found: Normalized) -> bool:
    """Whether all axes but batch and channels of an image are normalized, and what comes next has no number for each of their elements."""
    x, count = found.x, len(found.axes)
    if x.rank is None or x.rank < 4 or found.axes != tuple(range(2 - x.rank, 0)):
        return False
    if x.dtype is not DType.FLOAT or not found.is_centred or found.is_widened:
        return False
    for user in node.output.users:
        for value in user.inputs if user.op in ("Mul", "Add") else ():
            if value is not None and value.is_constant and any(size != 1 for size in (value.shape or ())[-count:]):
                return False
    return True


class FuseLayerNorm(RecognizeNormalization):
    """(x - ReduceMean(x)) / Sqrt(ReduceMean((x - ReduceMean(x))^2) + e) -> LayerNormalization[e](x, 1)."""

    name: ClassVar[str] = "fuse-layer-norm"
    operator: ClassVar[str] = "LayerNormalization"
    min_opset: ClassVar[int] = 17
    is_centred: ClassVar[bool] = True
    contexts: ClassVar[tuple[Pattern, ...]] = CENTRED_CONTEXTS


class FuseRmsNorm(RecognizeNormalization):
    """x / Sqrt(ReduceMean(x^2) + e) -> RMSNormalization[e](x, 1)."""

    name: ClassVar[str] = "fuse-rms-norm"
    operator: ClassVar[str] = "RMSNormalization"
    min_opset: ClassVar[int] = 23
    is_centred: ClassVar[bool] = False
    contexts: ClassVar[tuple[Pattern, ...]] = _PLAIN_CONTEXTS
