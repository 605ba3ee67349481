"""Recognizes blocks of pixels that become channels, and channels that become blocks of pixels.

``Reshape(Transpose(Reshape(x)))`` that takes channels apart into blocks (pixel shuffle) is DepthToSpace, with blocks or channels first; the
reverse with blocks first is SpaceToDepth, and so is a Concat of all slices in steps of the block size, row by row. For floats, which all
runtimes have both operators for. Exact. Source: https://onnx.ai/onnx/operators/onnx__DepthToSpace.html, onnx__SpaceToDepth.html
"""

from __future__ import annotations

from typing import ClassVar

from graphopt.ir import Dim, DType, Node, Shape, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, op, rest
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.movement.alignment import order_of, producer_of, reshaped_dims
from graphopt.transforms.slice_ranges import read_ranges

__all__ = ["RULES"]

_LARGEST_INT32 = (1 << 31) - 1
_LARGEST_BLOCK = 16
_CHANNELS_FIRST, _BLOCKS_FIRST = (0, 1, 4, 2, 5, 3), (0, 3, 4, 1, 5, 2)
_TO_CHANNELS = (0, 3, 5, 1, 2, 4)


def _fits(shape: Shape, wanted: tuple[Dim, ...]) -> bool:
    """Whether sizes are the wanted ones, where one may be whatever is left."""
    return all(size is None or same_dim(size, other) for size, other in zip(shape, wanted, strict=True))


class DepthToSpaceFromReshapes(RewritePattern):
    """Reshape(Transpose(Reshape(x))) -> DepthToSpace(x), or SpaceToDepth(x)."""

    name: ClassVar[str] = "depth-to-space-from-reshapes"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Reshape(op.Transpose(op.Reshape(any_("x"), rest("first")), perm=_CHANNELS_FIRST), rest("second")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The order of axes says which one it may be, sizes say whether it is."""
        transpose = producer_of(node.input_at(0), ("Transpose",), node)
        order = None if transpose is None else order_of(transpose, 6)
        inner = None if transpose is None or order is None else producer_of(transpose.inputs[0], ("Reshape",), node)
        if inner is None or order not in (_CHANNELS_FIRST, _BLOCKS_FIRST, _TO_CHANNELS):
            return NoMatch("no Transpose of blocks between two Reshape nodes")
        x, apart, wanted = inner.inputs[0], reshaped_dims(inner), reshaped_dims(node)
        if x is None or x.dtype is not DType.FLOAT or x.shape is None or apart is None or wanted is None:
            return NoMatch("a shape is not known, or not of floats")
        if len(x.shape) != 4 or len(apart) != 6 or len(wanted) != 4 or None in x.shape:
            return NoMatch("not four axes that become six, then four")
        batch, channels, height, width = x.shape
        assert channels is not None, "checked above"
        if order == _TO_CHANNELS:
            size = apart[3]
            if not isinstance(size, int) or not isinstance(height, int) or not isinstance(width, int) or size < 1:
                return NoMatch("the size of a block is not known")
            rows: tuple[Dim, ...] = (height // size, width // size)
            sizes: tuple[Dim, ...] = (batch, channels, rows[0], size, rows[1], size)
            result: tuple[Dim, ...] = (batch, channels * size * size, *rows)
            fits = height % size == width % size == 0 and _fits(apart, sizes) and _fits(wanted, result)
            return rw.new("SpaceToDepth", x, blocksize=size) if fits else NoMatch("%s is not %s", apart, sizes)
        size = apart[2]
        if not isinstance(size, int) or not isinstance(channels, int) or size < 1 or height is None or width is None:
            return NoMatch("the size of a block is not known")
        depth = channels // (size * size)
        first = order == _CHANNELS_FIRST
        sizes = (batch, depth, size, size, height, width) if first else (batch, size, size, depth, height, width)
        result = (batch, depth, height * size, width * size)
        if channels % (size * size) or not _fits(apart, sizes) or not _fits(wanted, result):
            return NoMatch("%s is not %s", apart, sizes)
        if (node.opset or 0) >= 11:
            return rw.new("DepthToSpace", x, blocksize=size, mode="CRD" if first else "DCR")
        return NoMatch("channels first need opset 11") if first else rw.new("DepthToSpace", x, blocksize=size)


class SpaceToDepthFromSlices(RewritePattern):
    """Concat of x[:, :, i::n, j::n] for all i and j -> SpaceToDepth[n](x)."""

    name: ClassVar[str] = "space-to-depth-from-slices"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Concat(op.Slice(any_("x"), rest("first")), op.Slice(any_("x"), rest("second")), axis=1),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All slices, row by row, of an image whose sizes are multiples of the step."""
        step = round(len(node.inputs) ** 0.5)
        if (
            step * step != len(node.inputs)
            or not 2 <= step <= _LARGEST_BLOCK
            or node.int_attr("axis", 0) not in (1, -3)
        ):
            return NoMatch("%d parts along axis %s", len(node.inputs), node.attr("axis"))
        x: Value | None = None
        for place, part in enumerate(node.inputs):
            found = _source(part, node, (place // step, place % step), step)
            if found is None or (x is not None and found is not x):
                return NoMatch("part %d is not every %dth pixel of one image", place, step)
            x = found
        if x is None or x.dtype is not DType.FLOAT or x.shape is None or len(x.shape) != 4:
            return NoMatch("no image of floats")
        if any(not isinstance(size, int) or size % step for size in x.shape[2:]):
            return NoMatch("%s is not a multiple of %d", x.type, step)
        return rw.new("SpaceToDepth", x, blocksize=step)


def _source(part: Value | None, reader: Node, starts: tuple[int, int], step: int) -> Value | None:
    """What one or two Slice nodes take every ``step``-th row and column of, from ``starts`` on."""
    wanted = {2: starts[0], 3: starts[1]}
    value = part
    for _ in range(2):
        node = None if value is None else value.producer
        if not wanted or node is None or node.op != "Slice" or node.graph is not reader.graph or node.has_references:
            break
        ranges = read_ranges(node)
        if isinstance(ranges, NoMatch):
            return None
        for start, end, axis, by in zip(ranges.starts, ranges.ends, ranges.axes, ranges.steps, strict=True):
            place = axis + 4 if axis < 0 else axis
            if wanted.pop(place, None) != start or by != step or end < _LARGEST_INT32:
                return None
        value = node.inputs[0]
    return value if not wanted else None


RULES = (DepthToSpaceFromReshapes(), SpaceToDepthFromSlices())
