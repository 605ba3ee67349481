"""A table of which rows are looked up (an embedding) is stored as integers, and only the rows that were found become floats.

8 bits: ``Gather(w, i) -> Cast(Gather(w8, i)) * Gather(s, i)``, with one scale for each row; a zero point is looked up and subtracted
likewise. 4 bits: ``com.microsoft::GatherBlockQuantized(w4, i, s, z)``, with blocks along the rows, where the target has the kernel.
DequantizeLinear before Gather would compute the whole table in each run. Numerics: lossy. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Array, DType, Node, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.quantization.spelled_weights import SpelledWeight, read_weight
from graphopt.transforms.quantization.weight_only.form import StoredWeights

__all__ = ["BLOCKED_GATHER", "StoreTable"]

BLOCKED_GATHER: Final = "com.microsoft::GatherBlockQuantized"
_BYTE: Final = 8
#: Tensors of 4 bits are there from this opset on.
_SMALL_NUMBERS: Final = 21
_LEAST_BLOCK: Final = 16
_LEAST_ROW: Final = 4


@dataclass(frozen=True)
class StoreTable(RewritePattern):
    """Gather(w, i) -> Mul(Cast(Gather(w8, i)), Gather(scale, i))."""

    name: ClassVar[str] = "store-table"
    roots: ClassVar[tuple[str, ...]] = ("Gather",)
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Gather(const("w"), any_("i"), axis=0),)
    form: StoredWeights = field(default_factory=StoredWeights)
    has_blocked_kernel: bool = False

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """A table whose rows are looked up, and which nothing else reads."""
        spelled, places = read_weight(node.input_at(0)), node.input_at(1)
        refused = self.form.refusal(node, spelled)
        if refused is not None:
            return refused
        assert spelled is not None, "that was asked"
        table, constant = spelled.value, spelled.constant
        if constant.ndim < 2 or node.int_attr("axis", 0) not in (0, -constant.ndim):
            return NoMatch("no rows of a table are looked up")
        if constant.size < _LEAST_ROW * constant.shape[0]:
            return NoMatch("rows are so short that a scale for each is no gain")
        if places is None or constant_of(places) is not None:
            return NoMatch("what is looked up is constant")
        if any(user.op != "Gather" or user.input_at(0) is not table for user in table.users):
            return NoMatch("%r is read by others too, so that it has to stay", table.name)
        if table.graph_outputs:
            return NoMatch("%r is a graph output", table.name)
        known = self.form.known(spelled)
        if (self.form.dtype if known is None else known.dtype).bits < _BYTE:
            return self._blocked(spelled, places, rw)
        if known is not None and (known.axis not in (0, None) or known.block):
            return NoMatch("%r has parameters of other parts than rows", table.name)
        return self._rows(spelled, places, rw)

    def _rows(self, spelled: SpelledWeight, places: Value, rw: Rewriter) -> Replacement:
        table, dtype = spelled.value, spelled.constant.dtype
        array, how = self.form.stored(spelled, channel=0, summed=None)
        column = (array.shape[0], *(1,) * (array.ndim - 1))
        to = int(dtype)
        numbers = rw.new("Cast", rw.new("Gather", rw.constant(array, f"{table.name}_{how.dtype}"), places), to=to)
        zero = _column(how.zero_point.numpy(), column)
        if zero.any():
            point = rw.constant(zero, f"{table.name}_zero_point")
            numbers = rw.new("Sub", numbers, rw.new("Cast", rw.new("Gather", point, places), to=to))
        scale = rw.constant(_column(how.scale.numpy(), column).astype(dtype.numpy), f"{table.name}_scale")
        return rw.new("Mul", numbers, rw.new("Gather", scale, places))

    def _blocked(self, spelled: SpelledWeight, places: Value, rw: Rewriter) -> Replacement:
        table, dtype, known = spelled.value, spelled.constant.dtype, self.form.known(spelled)
        block = self.form.size_of_block if known is None else known.block
        if not self.has_blocked_kernel:
            return NoMatch("the target has no kernel that looks up numbers of 4 bits; int8 needs none")
        if (rw.graph.opset() or 0) < _SMALL_NUMBERS:
            return NoMatch(
                "opset %s has no numbers of 4 bits; raise-opset{to=%d} makes it newer", rw.graph.opset(), _SMALL_NUMBERS
            )
        if (
            spelled.constant.ndim != 2
            or block < _LEAST_BLOCK
            or block & (block - 1)
            or (known is not None and known.axis != 1)
        ):
            return NoMatch("%r has no blocks of a power of 2, 16 and more, along its rows", table.name)
        array, how = self.form.stored(spelled, channel=0, summed=1)
        inputs = [
            rw.constant(array, f"{table.name}_{how.dtype}"),
            places,
            rw.constant(how.scale.numpy().astype(dtype.numpy), f"{table.name}_scale"),
            rw.constant(how.zero_point, f"{table.name}_zero_point")
            if how.dtype is DType.UINT4 or how.zero_point.numpy().astype(np.int64).any()
            else None,
        ]
        stated: dict[str, object] = {"gather_axis": 0, "quantize_axis": 1, "block_size": block}
        return rw.new_node(BLOCKED_GATHER, inputs, attributes=stated, name=rw.root.name).output


def _column(parameter: Array, shape: tuple[int, ...]) -> Array:
    """One number for each row, also of one for all."""
    return np.array(np.broadcast_to(parameter.reshape(-1, *shape[1:]), shape))
