"""Which weights are stored as integers, how, and what spells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from graphopt.ir import Array, DType, Node, Quantization, Value
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.parameters import expanded, quantized
from graphopt.transforms.quantization.spelled_weights import SpelledWeight
from graphopt.transforms.quantization.weight_only.balancing import balanced
from graphopt.transforms.quantization.weight_only.rounding import rounded_weights

__all__ = ["Spelling", "StoredWeights"]

#: How floats are made of stored integers: an operator for it, or a conversion and a product, which runtimes fold when they load.
Spelling = Literal["dequantize", "multiply"]

#: Opsets from which DequantizeLinear is there, has axes, gives halves, and takes blocks and 4 bits.
_OLDEST, _CHANNELS, _HALVES, _BLOCKS = 10, 13, 19, 21
_BYTE: Final = 8
#: Types whose integers are as good as floats are with one factor.
_CAST: Final = frozenset({DType.INT8, DType.INT16, DType.UINT8})
_FLOATS: Final = frozenset({DType.FLOAT, DType.FLOAT16})
#: Numbers that share a scale where nobody says how many.
_BLOCK: Final = 32


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """Which layers, and how their weights are stored.

    Attributes:
        selection: layers to work on.
        dtype: stored type.
        block: numbers that share a scale, 0 for all of a channel, ``None`` for what is common for the type.
        symmetric: whether the zero point is 0, or the middle of an unsigned type.
        spelling: "multiply" spells weights without blocks and zero points as ``Mul(Cast(w8), s)``; all others, and all with
            "dequantize", are DequantizeLinear.
    """

    selection: Selection = field(default_factory=Selection)
    dtype: DType = DType.INT8
    block: int | None = None
    symmetric: bool = True
    spelling: Spelling = "dequantize"

    @property
    def size_of_block(self) -> int:
        """How many numbers share a scale, 0 for all of a channel."""
        return (0 if self.dtype.bits >= _BYTE else _BLOCK) if self.block is None else self.block

    def known(self, weight: SpelledWeight) -> Quantization | None:
        """Parameters that a weight keeps: those that somebody gave it, and of stored integers those that have no more bits than wanted."""
        return None if weight.is_computed and self.dtype.bits < _BYTE else weight.known

    def refusal(self, node: Node, weight: SpelledWeight | None) -> NoMatch | None:
        """Why a weight of a node is not stored otherwise, ``None`` if it is."""
        if not self.selection.admits(node):
            return NoMatch("%r is excluded", layer_name(node))
        if weight is None or not weight.constant.size:
            return NoMatch("the weight is not constant")
        if weight.is_dequantized:
            return NoMatch("the weight is stored as integers already")
        if weight.is_computed and self.spelling == "multiply":
            return NoMatch("the weight is computed from stored integers already")
        constant = weight.constant
        opset = node.opset or 0
        multiplied = self.spelling == "multiply" and self.dtype in _CAST and self.symmetric and not self.size_of_block
        if constant.dtype not in _FLOATS or (constant.dtype is DType.FLOAT16 and opset < _HALVES and not multiplied):
            return NoMatch("the weight is %s, which DequantizeLinear of opset %s does not give", constant.dtype, opset)
        if not np.isfinite(constant.numpy().astype(np.float32)).all():
            return NoMatch("weight %r has NaN or infinities", weight.value.name)
        return None

    def stored(
        self, weight: SpelledWeight, *, channel: int, summed: int | None, sums: tuple[int, ...] = ()
    ) -> tuple[Array, Quantization]:
        """A weight as integers, by parameters that it has already (from GPTQ, say) or by rounding to nearest.

        Args:
            weight: floats, or integers that are spelled otherwise.
            channel: axis with one scale each.
            summed: axis that is cut into blocks, ``None`` where there are none.
            sums: axes over which sums stay, where there are no blocks.
        """
        constant, known = weight.constant, self.known(weight)
        if known is not None:
            return quantized(constant.numpy(), known), known
        block = 0 if summed is None else self.size_of_block
        integers, how = rounded_weights(
            constant.numpy(),
            self.dtype,
            axis=summed if block and summed is not None else channel,
            block=block,
            symmetric=self.symmetric,
            like=constant.dtype,
        )
        return (balanced(constant.numpy(), how, sums) if sums and not block else integers), how

    def floats(
        self,
        weight: SpelledWeight,
        rw: Rewriter,
        *,
        channel: int,
        summed: int | None,
        sums: tuple[int, ...] = (),
    ) -> Value | NoMatch:
        """A weight computed from its integers, once for all layers of a graph that read it; arguments as before."""
        key = (StoredWeights, rw.graph, weight.value, channel, summed)
        made = rw.memo.get(key)
        if isinstance(made, Value) and made.producer is not None and made.producer.graph is rw.graph:
            return made
        if self.spelling == "multiply":
            array, how = self.stored(weight, channel=channel, summed=summed, sums=sums)
            if _is_plain(how):
                rw.memo[key] = value = _multiplied(weight.value, array, how, rw)
                return value
        known, block = self.known(weight), 0 if summed is None else self.size_of_block
        bits, blocked, along = self.dtype.bits, bool(block), True
        if known is not None:
            bits, blocked, along = known.dtype.bits, bool(known.block), known.axis is not None
        needed = _BLOCKS if blocked or bits != _BYTE else _CHANNELS if along else _OLDEST
        opset = rw.graph.opset() or 0
        if opset < needed:
            what = "blocks" if blocked else f"numbers of {bits} bits" if bits != _BYTE else "scales for channels"
            return NoMatch(
                "DequantizeLinear of opset %s knows no %s; raise-opset{to=%d} makes it newer", opset, what, needed
            )
        rw.memo[key] = found = _spelled(
            weight.value, self.stored(weight, channel=channel, summed=summed, sums=sums), rw
        )
        return found


def _spelled(value: Value, made: tuple[Array, Quantization], rw: Rewriter) -> Value:
    """DequantizeLinear of constants, at the start of the graph, so that all may read it."""
    array, how = made
    zero = how.zero_point.numpy()
    assert value.dtype is not None, "constants have a type"
    inputs = [
        rw.constant(array, f"{value.name}_{how.dtype}"),
        rw.constant(how.scale.numpy().astype(value.dtype.numpy), f"{value.name}_scale"),
        rw.constant(zero, f"{value.name}_zero_point") if zero.astype(np.int64).any() else None,
    ]
    attributes: dict[str, object] = {"axis": how.axis, "block_size": how.block or None}
    name = rw.graph.fresh_name(f"{value.name}_dequantize")
    node = rw.new_node("DequantizeLinear", inputs, attributes=attributes, name=name)
    _to_the_start(rw, node)
    return node.output


def _is_plain(how: Quantization) -> bool:
    """Whether integers need no more than a factor: 8 bits or 16, no blocks, no zero points."""
    return how.dtype in _CAST and not how.block and not how.zero_point.numpy().astype(np.int64).any()


def _multiplied(value: Value, array: Array, how: Quantization, rw: Rewriter) -> Value:
    """``Mul(Cast(w8), s)``, at the start of the graph; float for float what DequantizeLinear gives."""
    assert value.dtype is not None, "constants have a type"
    scale = expanded(how.scale.numpy(), array.shape, how.axis).astype(value.dtype.numpy)
    stored = rw.constant(array, f"{value.name}_{how.dtype}")
    cast = rw.new_node(
        "Cast", [stored], attributes={"to": int(value.dtype)}, name=rw.graph.fresh_name(f"{value.name}_cast")
    )
    factor = rw.constant(scale, f"{value.name}_scale")
    node = rw.new_node("Mul", [cast.output, factor], name=rw.graph.fresh_name(f"{value.name}_floats"))
    _to_the_start(rw, node)
    _to_the_start(rw, cast)
    return node.output


def _to_the_start(rw: Rewriter, node: Node) -> None:
    first = next(iter(rw.graph.nodes))
    if first is not node:
        rw.graph.move_before(first, node)
