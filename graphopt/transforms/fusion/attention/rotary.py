"""Rotary position embedding becomes ``com.microsoft::RotaryEmbedding``.

``x * cos + Concat(-x2, x1) * sin -> RotaryEmbedding(x, [0], cos', sin')`` with ``x1`` and ``x2`` the halves of the last axis of ``x``,
which is ``[B, N, S, H]``; ``cos`` and ``sin`` are ``[1, 1, S, H]`` with two equal halves, of which the operator wants one, ``[S, H/2]``.
Where heads were split and moved for it, ``x`` is taken as it was before. Numerics: re-associates. Source: Su et al., RoFormer, 2021,
section 3.4; ONNX Runtime's docs/ContribOperators.md
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.layouts import Layout, is_reshape, trace
from graphopt.transforms.fusion.attention.shapes import split_heads, transpose
from graphopt.transforms.operands import constant_ints

__all__ = ["UseRotaryEmbedding"]

_OP: Final = "com.microsoft::RotaryEmbedding"
_MOST_STEPS: Final = 10
#: What treats each number alike.
_ELEMENTWISE: Final = frozenset({"Cos", "Sin", "Cast", "Identity", "Neg"})


class UseRotaryEmbedding(RewritePattern):
    """Add(Mul(x, cos), Mul(Concat(Neg(x2), x1), sin)) -> com.microsoft::RotaryEmbedding(x, [0], cos, sin)."""

    name: ClassVar[str] = "use-rotary-embedding"
    roots: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 5
    makes: ClassVar[str] = _OP

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Terms and factors may stand in either order."""
        if node.output.rank != 4 or node.output.dtype is not DType.FLOAT:
            return NoMatch("the sum is %s", node.output.type)
        if (rw.graph.opset() or 0) < 10:
            return NoMatch("opset %s has Slice otherwise", rw.graph.opset())
        for plain, turned in (node.inputs, node.inputs[::-1]):
            found = None if plain is None or turned is None else _rotation(plain, turned, node)
            if found is not None:
                break
        else:
            return NoMatch("no turned halves of one tensor")
        x, cos, sin, inner = found
        shape = x.shape
        if shape is None or len(shape) != 4 or not isinstance(shape[3], int) or shape[3] % 2:
            return NoMatch("the tensor is %s", x.type)
        for table in (cos, sin):
            sizes = table.shape
            if sizes is None or len(sizes) != 4 or sizes[:2] != (1, 1) or sizes[3] != shape[3]:
                return NoMatch("the table is %s", table.type)
            if not same_dim(sizes[2], shape[2]) or not _has_equal_halves(table):
                return NoMatch("the table does not certainly have a row for each position, and equal halves")
        rw.matched = [node, *inner]
        factor = trace(x, Layout.BNSH, scales=False)
        heads, size = factor.number("N"), shape[3]
        flat = factor.seen.get(Layout.BSD) if heads else None
        tables = [_half_table(rw, table, size) for table in (cos, sin)]
        source = x if flat is None else flat.value
        made = rw.new_node(
            _OP, [source, np.zeros(1, np.int64), *tables], attributes={"num_heads": heads} if flat else {}
        ).output
        made.type = source.type
        if flat is None or heads is None:
            return made
        return transpose(rw, split_heads(rw, made, heads, size), (0, 2, 1, 3))


def _rotation(plain: Value, turned: Value, root: Node) -> tuple[Value, Value, Value, tuple[Node, ...]] | None:
    """The tensor, the tables, and the nodes of a sum of two products."""
    first, second = _inner(plain, root, "Mul"), _inner(turned, root, "Mul")
    if first is None or second is None:
        return None
    for halves, sin in (second.inputs, second.inputs[::-1]):
        concat = None if halves is None else _inner(halves, root, "Concat")
        if concat is None or sin is None or len(concat.inputs) != 2 or concat.int_attr("axis") not in (-1, 3):
            continue
        left, right = concat.inputs
        negative = None if left is None else _inner(left, root, "Neg")
        if negative is None or negative.inputs[0] is None or right is None:
            continue
        for x, cos in (first.inputs, first.inputs[::-1]):
            if x is None or cos is None:
                continue
            if _is_half(negative.inputs[0], x, upper=True) and _is_half(right, x, upper=False):
                return x, cos, sin, (first, second, concat, negative)
    return None


def _inner(value: Value, root: Node, op: str) -> Node | None:
    """The producer of a value that nobody else reads."""
    node = value.producer if value.has_single_use else None
    if node is None or node.op != op or node.graph is not root.graph:
        return None
    return None if node.attributes and node.has_references else node


def _is_half(value: Value, x: Value, *, upper: bool) -> bool:
    """Whether a value is the lower or the upper half of the last axis."""
    node = value.producer
    shape, part = x.shape, value.shape
    if (
        node is None
        or node.inputs[0] is not x
        or shape is None
        or part is None
        or len(part) != 4
        or node.has_references
    ):
        return False
    width = shape[3]
    if not isinstance(width, int) or part[3] != width // 2 or width % 2:
        return False
    if node.op == "Split":
        return len(node.outputs) == 2 and node.int_attr("axis", 0) in (-1, 3) and value.index == int(upper)
    if node.op != "Slice" or len(node.inputs) < 4 or any(item is None for item in node.inputs):
        return False
    numbers = [constant_ints(item) for item in node.inputs[1:] if item is not None]
    known = [item for item in numbers if not isinstance(item, NoMatch)]
    if len(known) != len(numbers):
        return False
    starts, ends, axes, *steps = known
    if axes not in ((-1,), (3,)) or steps not in ([], [(1,)]):
        return False
    start, end = (width // 2, width) if upper else (0, width // 2)
    return starts in ((start,), (start - width,)) and (ends in ((end,), (end - width,)) or (upper and ends >= (end,)))


def _has_equal_halves(value: Value) -> bool:
    """Whether both halves of the last axis are the same: two times one thing, side by side."""
    for _ in range(_MOST_STEPS):
        if value.is_constant and value.const is not None:
            numbers = value.const.numpy()
            half = numbers.shape[-1] // 2 if numbers.ndim else 0
            return bool(half) and np.array_equal(numbers[..., :half], numbers[..., half:])
        node = value.producer
        source = None if node is None or not node.inputs else node.inputs[0]
        if node is None or source is None or (node.attributes and node.has_references):
            return False
        if node.op == "Concat":
            last = node.int_attr("axis") in (-1, (value.rank or 0) - 1)
            return last and len(node.inputs) == 2 and node.inputs[1] is source
        if node.op in _ELEMENTWISE:
            value = source
        elif node.op in ("Mul", "Add", "Div") and len(node.inputs) == 2:
            other = node.inputs[1]
            if other is None or not other.is_constant or other.const is None or other.const.size != 1:
                return False
            value = source
        elif is_reshape(node) or node.op == "Expand":
            before, after = source.shape, value.shape
            if before is None or after is None or not before or not after or not same_dim(before[-1], after[-1]):
                return False
            value = source
        else:
            return False
    return False


def _half_table(rw: Rewriter, table: Value, size: int) -> Value:
    """[1, 1, S, H] to [S, H/2]."""
    if table.is_constant and table.const is not None:
        return rw.constant(np.ascontiguousarray(table.const.numpy()[0, 0, :, : size // 2]))
    bounds = [np.array([number], np.int64) for number in (0, size // 2, 3)]
    return rw.new("Reshape", rw.new("Slice", table, *bounds), np.array([-1, size // 2], np.int64))
