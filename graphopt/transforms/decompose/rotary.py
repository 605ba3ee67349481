"""Spells out rotary position embedding by halves and tables: the inverse of a rule of ``fuse-microsoft-attention``.

``com.microsoft::RotaryEmbedding(x, [0], cos, sin)`` that turns all numbers of a head. Numerics: re-associates. Source: ONNX Runtime's
docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.decompose.heads import head_major, joined, last
from graphopt.transforms.decompose.spelling import Spelling, SpellOut

__all__ = ["SpellOutRotaryEmbedding"]


class SpellOutRotaryEmbedding(SpellOut):
    """com.microsoft::RotaryEmbedding(x, [0], cos, sin) -> x * [cos cos] + [-x2 x1] * [sin sin]."""

    name: ClassVar[str] = "spell-out-rotary-embedding"
    roots: ClassVar[tuple[str, ...]] = ("com.microsoft::RotaryEmbedding",)
    min_opset: ClassVar[int] = 13
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.FLOAT16})

    def spell(self, x: Value, node: Node, make: Spelling) -> Value | NoMatch:
        """Only what ``fuse-microsoft-attention`` makes: tables with a row for each position, all numbers of a head turned."""
        start, cos, sin = (node.input_at(place) for place in (1, 2, 3))
        if start is None or cos is None or sin is None or not start.is_constant or start.const is None:
            return NoMatch("positions are not known")
        if start.const.shape != (1,) or start.const.numpy().any():
            return NoMatch("positions do not begin at 0")
        if any(node.int_attr(name, 0) for name in ("interleaved", "is_packed_batching", "rotary_embedding_dim")):
            return NoMatch("numbers are turned otherwise")
        half, rows = last(cos), cos.shape[0] if cos.shape else None
        length = x.shape[1 if x.rank == 3 else 2] if x.shape is not None and x.rank in (3, 4) else None
        if not half or rows is None or rows != length or float(node.float_attr("scale", 1.0)) != 1.0:
            return NoMatch("the table %s is not certainly of the positions of %s", cos.type, x.type)
        width = last(x)
        if x.rank == 3 and (not width or width % (2 * half)):
            return NoMatch("the tensor is %s", x.type)
        whole = x if x.rank == 4 else head_major(make, x, (width or 0) // (2 * half))
        lower, upper = (
            make.of("Slice", whole, *(np.array([number], np.int64) for number in bounds))
            for bounds in ((0, half, 3), (half, 2 * half, 3))
        )
        turned = make.of("Concat", make.of("Neg", upper), lower, axis=-1)
        tables = [make.of("Concat", table, table, axis=-1) for table in (cos, sin)]
        result = make.of("Add", make.of("Mul", whole, tables[0]), make.of("Mul", turned, tables[1]))
        return result if x.rank == 4 else joined(make, result, width or 0)
