"""Pairs of QuantizeLinear and DequantizeLinear between floats: they cost two conversions and a rounding, and nothing runs on integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.ir import Node, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.static.float_pairs import MOVING, DropRoundTrip
from graphopt.transforms.quantization.static.roles import COMPUTING, JOINING, MAPPING, POOLING
from graphopt.transforms.quantization.static.stored import DEQUANTIZE, QUANTIZE

__all__ = ["DropIslands"]

_ANY: Final = QuantizationScheme(
    "any",
    static_ops=COMPUTING | JOINING | MAPPING | POOLING,
    passing_ops=MOVING | {"Resize", "Split"},
    activations=frozenset({"Clip", "Relu"}),
)


@dataclass(frozen=True)
class DropIslands(RewritePattern):
    """DequantizeLinear(QuantizeLinear(x)) -> x, where neither what gives x nor who reads it has an integer kernel.

    Attributes:
        scheme: tells which operators have one; by default all that some runtime has one for.
    """

    name: ClassVar[str] = "drop-islands"
    roots: ClassVar[tuple[str, ...]] = DEQUANTIZE
    numerics: ClassVar[Numerics] = Lossy()
    reach: ClassVar[int] = 3
    scheme: QuantizationScheme = _ANY

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where the pair stands between floats."""
        scheme = self.scheme
        stored = node.inputs[0]
        pair = None if stored is None else stored.producer
        if pair is None or pair.op not in QUANTIZE or stored is None or stored.use_count > 1 or stored.is_graph_output:
            return NoMatch("it is not one pair")
        x = pair.inputs[0]
        if x is None or _may_be_integer(x.producer, scheme):
            return NoMatch("what gives it may be on integers")
        if any(_may_be_integer(user, scheme) for user in node.output.users):
            return NoMatch("who reads it may be on integers")
        return DropRoundTrip().match_and_rewrite(node, rw)


def _may_be_integer(node: Node | None, scheme: QuantizationScheme) -> bool:
    """Whether a node may belong to integers around it: by its own kernel, or as an activation of what has one."""
    if node is None:
        return False
    if node.op in scheme.static_ops or node.op in scheme.passing_ops or node.op in (*QUANTIZE, *DEQUANTIZE):
        return True
    above: Value | None = node.input_at(0)
    return node.op in scheme.activations and above is not None and _may_be_integer(above.producer, scheme)
