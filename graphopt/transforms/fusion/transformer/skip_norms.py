"""A residual sum and the normalization after it become one operator of ONNX Runtime's.

``LayerNormalization(x + y [+ bias], gamma, beta) -> com.microsoft::SkipLayerNormalization(x, y, gamma, beta, bias)``, and
``RMSNormalization`` or ``SimplifiedLayerNormalization`` ``-> com.microsoft::SkipSimplifiedLayerNormalization``, over the last axis. The sum
itself is the operator's fourth output where others read it. What the kernels want: float32 or float16, rank 2 or 3, ``x`` and ``y`` of one
shape, ``gamma``, ``beta`` and ``bias`` with one number for each place of the last axis.
Numerics: re-associates (float16 sums are not rounded in between). Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, one_of, op
from graphopt.transforms.broadcasting import same_shape

__all__ = ["FuseSkipLayerNorm", "FuseSkipRmsNorm"]

_DTYPES: Final = frozenset({DType.FLOAT, DType.FLOAT16})
_SUM_PLACE: Final = 3
_X, _Y = any_("x"), any_("y")
_BIASED: Final = op.Add(any_("z"), const("bias"))
_SUMS: Final = one_of(op.Add(_X, _Y), op.Add(_X, _BIASED), op.Add(_BIASED, _Y))


class _FuseSkipNorm(RewritePattern):
    """What both normalizations share."""

    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    makes: ClassVar[str]

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The sum, and a bias in it, enter the operator."""
        total, gamma, beta = node.inputs[0], node.input_at(1), node.input_at(2)
        add = None if total is None else total.producer
        if add is None or total is None or add.op != "Add" or add.graph is not node.graph or add.has_references:
            return NoMatch("normalizes no sum")
        if total.rank not in (2, 3) or total.dtype not in _DTYPES or total.shape is None:
            return NoMatch("the sum is %s", total.type)
        if node.int_attr("axis", -1) not in (-1, total.rank - 1) or node.int_attr("stash_type", 1) != 1:
            return NoMatch("normalizes axis %s", node.attr("axis"))
        if any(value.is_used for value in node.outputs[1:]):
            return NoMatch("mean or deviation are used")
        width = total.shape[-1]
        if gamma is None or not _is_row(gamma, width, total) or not (beta is None or _is_row(beta, width, total)):
            return NoMatch("scale and bias are not constants of %s numbers", width)
        terms = _terms(add, width)
        if terms is None:
            return NoMatch("terms %s and %s do not have one shape", *(item and item.type for item in add.inputs))
        x, y, bias, nodes = terms
        rw.matched = [node, add, *nodes]
        rows = [gamma, bias] if self.makes.endswith("SkipSimplifiedLayerNormalization") else [gamma, beta, bias]
        shared = not total.has_single_use
        if shared and any(row is not None and row.producer is not None for row in rows):
            return NoMatch("constants stand behind the sum")
        made = rw.new_node(
            self.makes,
            [x, y, *rows],
            outputs=_SUM_PLACE + 1 if shared else 1,
            attributes={"epsilon": node.float_attr("epsilon", 1e-5)},
            name=node.name,
        )
        made.output.type = node.output.type
        if shared:  # others may read the sum before the place of the normalization
            made.outputs[_SUM_PLACE].type = total.type
            rw.graph.move_before(add, made)
            rw.replace(total, made.outputs[_SUM_PLACE])
            rw.erase_if_unused(add)
        return [made.output, *[None] * (len(node.outputs) - 1)]


class FuseSkipLayerNorm(_FuseSkipNorm):
    """LayerNormalization(x + y, gamma, beta) -> com.microsoft::SkipLayerNormalization(x, y, gamma, beta)."""

    name: ClassVar[str] = "fuse-skip-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("LayerNormalization",)
    makes: ClassVar[str] = "com.microsoft::SkipLayerNormalization"
    contexts: ClassVar[tuple[Pattern, ...]] = (op.LayerNormalization(_SUMS, const("gamma"), const("beta")),)


class FuseSkipRmsNorm(_FuseSkipNorm):
    """RMSNormalization(x + y, gamma) -> com.microsoft::SkipSimplifiedLayerNormalization(x, y, gamma)."""

    name: ClassVar[str] = "fuse-skip-rms-norm"
    roots: ClassVar[tuple[str, ...]] = ("RMSNormalization", "SimplifiedLayerNormalization")
    makes: ClassVar[str] = "com.microsoft::SkipSimplifiedLayerNormalization"
    contexts: ClassVar[tuple[Pattern, ...]] = (op.RMSNormalization(_SUMS, const("gamma")),)


def _is_row(value: Value, width: object, total: Value) -> bool:
    """Whether a value is a constant with one number for each place of the last axis."""
    return value.is_constant and value.dtype is total.dtype and value.shape == (width,)


def _terms(add: Node, width: object) -> tuple[Value, Value, Value | None, tuple[Node, ...]] | None:
    """The two terms of a sum and a bias, with the nodes that added it."""
    x, y = add.inputs[0], add.inputs[1]
    if x is None or y is None:
        return None
    for whole, row in ((x, y), (y, x)):
        inner = _plain_add(whole, add)
        if inner is not None and _is_row(row, width, whole) and inner.inputs[0] is not None:
            a, b = inner.inputs[0], inner.inputs[1]
            if b is not None and same_shape(a.shape, b.shape) and same_shape(a.shape, add.output.shape):
                return a, b, row, (inner,)
    if not same_shape(x.shape, y.shape):
        return None
    for whole, other in ((x, y), (y, x)):
        inner = _plain_add(whole, add)
        for inside, term in () if inner is None else (inner.inputs, inner.inputs[::-1]):
            if inner is None or inside is None or term is None or not _is_row(term, width, whole):
                continue
            if same_shape(inside.shape, whole.shape):
                return (inside, other, term, (inner,)) if whole is x else (other, inside, term, (inner,))
    return x, y, None, ()


def _plain_add(value: Value, root: Node) -> Node | None:
    """The Add behind a value that nobody else reads."""
    node = value.producer
    if node is None or node.op != "Add" or node.graph is not root.graph or not value.has_single_use:
        return None
    return None if node.has_references else node
