"""Spells out moves between blocks of pixels and channels, for targets that lack them: the inverse of what ``canonicalize`` recognizes.

``DepthToSpace`` and ``SpaceToDepth`` take axes apart with Reshape, bring them into another order with Transpose and join them with Reshape.
Sizes of the image that are not numbers are computed. Exact. Source: https://onnx.ai/onnx/operators/onnx__DepthToSpace.html,
onnx__SpaceToDepth.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter, Rule
from graphopt.transforms.broadcasting import static_shape
from graphopt.transforms.decompose.spelling import DecomposePass

__all__ = ["DecomposeBlocks"]

_CHANNELS_FIRST: Final = (0, 1, 4, 2, 5, 3)
_BLOCKS_FIRST: Final = (0, 3, 4, 1, 5, 2)
_TO_CHANNELS: Final = (0, 3, 5, 1, 2, 4)


class SpellOutBlocks(RewritePattern):
    """DepthToSpace(x) -> Reshape(Transpose(Reshape(x))), and SpaceToDepth."""

    name: ClassVar[str] = "spell-out-blocks"
    roots: ClassVar[tuple[str, ...]] = ("DepthToSpace", "SpaceToDepth")
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 1

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Channels must be known; the batch is copied."""
        x, block = node.inputs[0], node.int_attr("blocksize", 0)
        if x is None or x.shape is None or len(x.shape) != 4 or block < 1 or (node.opset or 0) < 5:
            return NoMatch("not four axes, or an opset in which Reshape has no second input")
        channels = x.shape[1]
        if not isinstance(channels, int) or (node.op == "DepthToSpace" and channels % (block * block)):
            return NoMatch("%s channels and blocks of %d", channels, block)
        image = static_shape(x.shape[2:])
        if image is not None and 0 in (channels, *image):
            return NoMatch("%s is empty", x.type)
        if image is not None and node.op == "SpaceToDepth" and any(size % block for size in image):
            return NoMatch("%s is not a multiple of %d", image, block)
        if image is None and (node.opset or 0) < 14:
            return NoMatch("opset %s has no Reshape for sizes that may be zero", node.opset)
        sizes = _Sizes(x, block, image, rw)
        depth = channels // (block * block)
        if node.op == "SpaceToDepth":
            order: tuple[int, ...] = _TO_CHANNELS
            apart = sizes.of(channels, "height/", block, "width/", block)
            joined = sizes.of(channels * block * block, "height/", "width/")
        else:
            first = (node.opset or 0) >= 11 and node.str_attr("mode", "DCR") == "CRD"
            order = _CHANNELS_FIRST if first else _BLOCKS_FIRST
            groups = (depth, block, block) if first else (block, block, depth)
            apart, joined = sizes.of(*groups, "height", "width"), sizes.of(depth, "height*", "width*")
        moved = rw.new("Transpose", sizes.reshape(x, apart), perm=order)
        return sizes.reshape(moved, joined)


class _Sizes:
    """Makes targets of Reshape: constant ones with a copied batch, or computed ones."""

    def __init__(self, x: Value, block: int, image: tuple[int, ...] | None, rw: Rewriter) -> None:
        self.block, self.image, self.rw = block, image, rw
        self.shape = None if image is not None else rw.new("Shape", x)

    def of(self, *entries: int | str) -> Value:
        """The batch, then numbers and sizes of the image: as they are, by blocks (``/``) or times blocks (``*``)."""
        if self.image is not None:
            named = {
                f"{name}{sign}": size
                for name, whole in zip(("height", "width"), self.image, strict=True)
                for sign, size in (("", whole), ("/", whole // self.block), ("*", whole * self.block))
            }
            numbers = [entry if isinstance(entry, int) else named[entry] for entry in entries]
            return self.rw.constant(np.array([0, *numbers], np.int64))
        return self.rw.new("Concat", self._computed(0, ""), *map(self._entry, entries), axis=0)

    def _entry(self, entry: int | str) -> Value:
        if isinstance(entry, int):
            return self.rw.constant(np.array([entry], np.int64))
        return self._computed(2 if entry.startswith("height") else 3, entry[-1] if entry[-1] in "/*" else "")

    def _computed(self, axis: int, sign: str) -> Value:
        assert self.shape is not None, "asked for computed sizes only"
        size = self.rw.new("Gather", self.shape, np.array([axis], np.int64), axis=0)
        if not sign:
            return size
        return self.rw.new("Mul" if sign == "*" else "Div", size, np.array([self.block], np.int64))

    def reshape(self, value: Value, target: Value) -> Value:
        """The tensor in another shape, which may hold a computed zero."""
        if self.image is not None:
            return self.rw.new("Reshape", value, target)
        return self.rw.new("Reshape", value, target, allowzero=1)


@dataclass(frozen=True)
class DecomposeBlocks(DecomposePass):
    """Spell out DepthToSpace and SpaceToDepth by Reshape and Transpose, for targets that lack them. Exact; needs types; idempotent.

    Attributes:
        ops: operators to spell out, both when there are none.
        lacking: whether only those are spelled out that the target has no kernel for.
    """

    name: ClassVar[str] = "decompose-blocks"
    rules: ClassVar[tuple[Rule, ...]] = (SpellOutBlocks(),)
