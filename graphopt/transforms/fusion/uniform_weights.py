"""Folds BatchNormalization where weights are one number, made by ConstantOfShape, as models without trained weights have them.

``BatchNormalization(Conv(x, w, b)) -> Conv(x, w * k, (b - mean) * k + bias)`` with ``k = scale / sqrt(var + epsilon)``, and
``BatchNormalization(x) * m -> BatchNormalization`` with ``scale * m`` and ``bias * m``, and sums: what is one number stays one number, so a
ConstantOfShape of another number takes its place and the file does not grow by the weights. Arithmetic in float64, rounded once.
Numerics: re-associates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Constant, DType, Node, TensorType, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.fusion.batch_norm_affine import batch_norm_as_affine, has_no_root, training_reason
from graphopt.transforms.fusion.linear import round_to

__all__ = ["FoldUniformAffine", "FoldUniformBatchNorm"]

_FLOATS: Final = frozenset({DType.FLOAT16, DType.FLOAT, DType.DOUBLE})
_RESHAPES: Final = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Identity"})
_FARTHEST: Final = 3
_SMALL_BYTES: Final = 1 << 14
_LINEAR: Final = frozenset({"BatchNormalization", "Conv", "ConvTranspose"})


@dataclass(frozen=True, slots=True)
class _Uniform:
    """A tensor that is one number everywhere.

    Attributes:
        number: the number.
        source: what ConstantOfShape gives, or a constant.
    """

    number: float
    source: Value

    @property
    def is_made(self) -> bool:
        """Whether ConstantOfShape makes it."""
        return self.source.producer is not None


def _uniform(value: Value | None, dtype: DType | None, *, reshapes: int = 0) -> _Uniform | None:
    """What makes a value one number, ``None`` when nothing is seen to; behind some reshapes its shape is another."""
    for _ in range(reshapes):
        node = None if value is None else value.producer
        if node is None or node.domain or node.has_references or node.op not in _RESHAPES:
            break
        value = node.inputs[0]
    if value is None or value.dtype != dtype:
        return None
    if value.is_constant and value.const is not None:
        return _constant(value, value.const)
    node = value.producer
    if node is None or node.op != "ConstantOfShape" or node.has_references:
        return None
    shape = node.input_at(0)
    if shape is None or not shape.is_constant or not isinstance(value.type, TensorType):
        return None
    sizes = value.type.static_shape
    if sizes is None or 0 in sizes:
        return None
    stated = node.attributes.get("value")
    number = float(stated.value.numpy().reshape(-1)[0]) if stated and isinstance(stated.value, Constant) else 0.0
    return _Uniform(number, value) if np.isfinite(number) else None


def _constant(value: Value, constant: Constant) -> _Uniform | None:
    """A small constant that is one number everywhere: what ConstantOfShape made of few is folded early."""
    if constant.nbytes > _SMALL_BYTES or constant.is_sparse or constant.size == 0:
        return None
    numbers = constant.numpy().reshape(-1)
    number = float(numbers[0])
    return _Uniform(number, value) if np.isfinite(number) and bool((numbers == numbers[0]).all()) else None


def _refilled(uniform: _Uniform, number: float, rw: Rewriter) -> Value | NoMatch:
    """The same shape filled with another number."""
    source = uniform.source
    rounded = round_to(np.array([number]), source.dtype or DType.FLOAT)
    if isinstance(rounded, NoMatch):
        return rounded
    if source.producer is not None:
        return rw.new("ConstantOfShape", source.producer.inputs[0], value=rounded)
    assert source.const is not None, "it was found to be constant"
    return rw.constant(np.full(source.const.shape, rounded), source.name)


def _statistics(norm: Node, dtype: DType | None) -> tuple[list[_Uniform], float, float] | NoMatch:
    """The four inputs of a BatchNormalization, and factor and term of what it computes of each channel."""
    reason = training_reason(norm)
    if reason is not None:
        return reason
    if any(value.is_used for value in norm.outputs[1:]):
        return NoMatch("it gives statistics")
    found = [_uniform(value, dtype) for value in norm.inputs[1:5]]
    uniform = [item for item in found if item is not None]
    if len(uniform) < 4:
        return NoMatch("statistics are no single numbers of type %s", dtype)
    scale, bias, mean, var = (np.array([item.number]) for item in uniform)
    epsilon = norm.float_attr("epsilon", 1e-5)
    if has_no_root(var + epsilon).any():
        return NoMatch("the variance has no root")
    affine = batch_norm_as_affine(scale, bias, mean, var, epsilon)
    return affine if isinstance(affine, NoMatch) else (uniform, float(affine[0][0]), float(affine[1][0]))


def _feeds_one_norm(conv: Node) -> bool:
    users = conv.output.users
    return conv.output.has_single_use and users[0].op == "BatchNormalization" and users[0].inputs[0] is conv.output


class FoldUniformBatchNorm(RewritePattern):
    """BatchNormalization(Conv(x, w, b)) -> Conv(x, w', b'), where each weight is made by ConstantOfShape, inference only."""

    name: ClassVar[str] = "fold-uniform-batch-norm"
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.BatchNormalization(
            op.Conv(any_("x"), op.ConstantOfShape(const("shape"))),
            *(op.ConstantOfShape(const("channels")) for _ in range(4)),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Scale the number that the weights are, if they are no one else's."""
        conv = None if node.inputs[0] is None else node.inputs[0].producer
        if conv is None or conv.op not in ("Conv", "ConvTranspose") or not conv.output.has_single_use:
            return NoMatch("no convolution for this one alone is before it")
        weight, dtype = conv.inputs[1], conv.output.dtype
        if weight is None or dtype not in _FLOATS or conv.graph is not node.graph or conv.has_references:
            return NoMatch("weights of type %s", dtype)
        kernel = _uniform(weight, dtype)
        bias = None if conv.input_at(2) is None else _uniform(conv.input_at(2), dtype)
        if kernel is None or not kernel.is_made or (bias is None and conv.input_at(2) is not None):
            return NoMatch("weights are no single number")
        if not all(_feeds_one_norm(user) for user in weight.users):
            return NoMatch("weights %r have other users", weight.name)
        statistics = _statistics(node, dtype)
        if isinstance(statistics, NoMatch):
            return statistics
        uniform, factor, term = statistics
        scaled = _refilled(kernel, kernel.number * factor, rw)
        if isinstance(scaled, NoMatch):
            return scaled
        added = _refilled(uniform[1], (0.0 if bias is None else bias.number * factor) + term, rw)
        if isinstance(added, NoMatch):
            return added
        inputs = [conv.inputs[0], scaled, added]
        return rw.new_node(conv.op, inputs, attributes=dict(conv.attributes), name=conv.name).output


class FoldUniformAffine(RewritePattern):
    """Mul(Conv(x, w, b), c) -> Conv(x, w * c, b * c), and Add, and so for BatchNormalization, where each is made by ConstantOfShape."""

    name: ClassVar[str] = "fold-uniform-affine"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Add")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 5
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Mul", "Add"](
            op.BatchNormalization(any_("x"), *(op.ConstantOfShape(const("channels")) for _ in range(4))),
            op.ConstantOfShape(const("shape")),
            commute=True,
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Change the numbers that weights and bias are."""
        if (node.opset or 0) < 9:
            return NoMatch("ConstantOfShape came with opset 9")
        for data, other in (node.inputs[:2], node.inputs[1::-1]):
            linear = None if data is None else data.producer
            if data is None or linear is None or linear.op not in _LINEAR or not data.has_single_use:
                continue
            constant = _uniform(other, data.dtype, reshapes=_FARTHEST)
            if constant is None or data.dtype not in _FLOATS or linear.graph is not node.graph or linear.has_references:
                continue
            if data.shape is None or node.output.shape != data.shape:
                return NoMatch("the result has shape %s, expected %s", node.output.shape, data.shape)
            return _changed(linear, constant.number, rw, is_product=node.op == "Mul")
        return NoMatch("nothing that is linear is multiplied or added to by a single number")


def _changed(linear: Node, number: float, rw: Rewriter, *, is_product: bool) -> Replacement:
    """An operator with its result multiplied by a number, or one added to it."""
    if linear.op == "BatchNormalization":
        statistics = _statistics(linear, linear.output.dtype)
        if isinstance(statistics, NoMatch):
            return statistics
        weight, bias = statistics[0][:2]
    else:
        found = [_uniform(value, linear.output.dtype) for value in linear.inputs[1:3]]
        if len(found) < 2 or found[0] is None or found[1] is None:
            return NoMatch("weights and bias of %s are no single numbers", linear.op)
        weight, bias = found[0], found[1]
        if not weight.is_made:
            return NoMatch("weights are constant")
        if is_product and linear.inputs[1] is not None and not linear.inputs[1].has_single_use:
            return NoMatch("weights have other users")
    scaled = _refilled(weight, weight.number * number, rw) if is_product else linear.inputs[1]
    if isinstance(scaled, NoMatch):
        return scaled
    added = _refilled(bias, bias.number * number if is_product else bias.number + number, rw)
    if isinstance(added, NoMatch):
        return added
    inputs = [linear.inputs[0], scaled, added, *linear.inputs[3:]]
    return rw.new_node(linear.op, inputs, attributes=dict(linear.attributes), name=linear.name).output
