"""Multiplies once by what two terms share.

``x * c + z * c -> (x + z) * c`` for a constant; ``x @ w + z @ w -> (x + z) @ w`` and ``x @ u + x @ v -> x @ (u + v)`` for constant
matrices, as two branches of a layer and adapters that were not merged have it. Touches weights. Numerics: re-associates.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import Constant, DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import same_shape
from graphopt.transforms.fusion.linear import round_to
from graphopt.transforms.movement.alignment import producer_of

__all__ = ["RULES"]

_FLOATS = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16})
_LIMIT = 1e4
_SMALL_BYTES = 1 << 14
#: Take a factor into their weights.
_LINEAR = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "BatchNormalization", "LayerNormalization"})
_X, _Z = any_("x"), any_("z")


def _same(left: Value | None, right: Value | None) -> Constant | None:
    """The constant that two values both are."""
    if left is None or right is None or not (left.is_constant and right.is_constant):
        return None
    if left.const is None or right.const is None or not left.const.equals(right.const):
        return None
    return left.const


class MultiplyOnce(RewritePattern):
    """Add(Mul(x, c), Mul(z, c)) -> Mul(Add(x, z), c), and Sub; Add(MatMul(x, w), MatMul(z, w)) -> MatMul(Add(x, z), w)."""

    name: ClassVar[str] = "multiply-once"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Add", "Sub"](op.Mul(_X, const("c", scalar=True)), op.Mul(_Z, const("c", scalar=True))),
        op.Add(op.MatMul(_X, const("w")), op.MatMul(_Z, const("w"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both terms must be read by nobody else."""
        left, right = (producer_of(value, ("Mul", "MatMul"), node) for value in node.inputs)
        if left is None or right is None or left is right or left.op != right.op or (node.opset or 0) < 7:
            return NoMatch("not of two products")
        if node.output.dtype not in _FLOATS:
            return NoMatch("not of floats")
        for one in (0, 1) if left.op == "Mul" else (1,):
            for other in (0, 1) if left.op == "Mul" else (1,):
                shared = _same(left.inputs[one], right.inputs[other])
                x, z = left.inputs[1 - one], right.inputs[1 - other]
                if shared is None or x is None or z is None or x.is_constant or z.is_constant or x is z:
                    continue
                reason = self._reason(left.op, shared, x, z)
                if reason is not None:
                    return reason
                rw.matched = [node, left, right]
                return rw.new(left.op, rw.new(node.op, x, z), left.inputs[one])
        return NoMatch("no constant that both multiply with")

    @staticmethod
    def _reason(op_type: str, shared: Constant, x: Value, z: Value) -> NoMatch | None:
        if op_type == "MatMul":
            return None if same_shape(x.shape, z.shape) else NoMatch("%s and %s differ", x.type, z.type)
        if any(value.producer is not None and value.producer.op in _LINEAR for value in (x, z)):
            return NoMatch("the factor belongs into weights")
        if shared.nbytes > _SMALL_BYTES:
            return NoMatch("the factor is large")
        sizes = np.abs(shared.numpy().astype(np.float64))
        is_plain = bool(((sizes >= 1 / _LIMIT) & (sizes <= _LIMIT)).all())
        return None if is_plain else NoMatch("a factor is zero, extreme or not finite")


class AddWeights(RewritePattern):
    """Add(MatMul(x, u), MatMul(x, v)) -> MatMul(x, u + v)."""

    name: ClassVar[str] = "add-weights"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Add(op.MatMul(_X, const("u")), op.MatMul(_X, const("v"))),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Weights of one shape that nobody else reads."""
        left, right = (producer_of(value, ("MatMul",), node) for value in node.inputs)
        if left is None or right is None or left is right or left.inputs[0] is not right.inputs[0]:
            return NoMatch("not of two products of one tensor")
        arrays = []
        for product in (left, right):
            weight = product.inputs[1]
            array = None if weight is None else weight.array()
            if weight is None or array is None or weight.dtype not in _FLOATS or not weight.has_single_use:
                return NoMatch("a matrix is not constant, or somebody else reads it")
            arrays.append(array.astype(np.float64))
        weight = left.inputs[1]
        if arrays[0].shape != arrays[1].shape or weight is None or weight.dtype is None:
            return NoMatch("matrices have shapes %s and %s", arrays[0].shape, arrays[1].shape)
        total = round_to(arrays[0] + arrays[1], weight.dtype)
        if isinstance(total, NoMatch):
            return total
        rw.matched = [node, left, right]
        return rw.new("MatMul", left.inputs[0], total)


RULES = (MultiplyOnce(), AddWeights())
