"""Spells what ``assign-quantization`` has noted as QuantizeLinear and DequantizeLinear.

An activation gets one pair, right behind what gives it: who computes on integers reads it, and everybody does where the producer gives
nothing but integers. Weights and biases are stored as integers, with a DequantizeLinear. Values that share a scale share its constant.
Names stay: what was computed keeps its name, except that a graph output is what DequantizeLinear gives. Main graph only; a value that a
subgraph captures counts as any other. Products that give floats become ``fuse-integer-products``' operator where the target has it.
Numerics: lossy, exactly the round trips that the notes mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Graph, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.quantization.static.decisions import FORM, form_of
from graphopt.transforms.quantization.static.keep_floats import KeepFloatLayers
from graphopt.transforms.quantization.static.qoperator import FuseIntegerProducts
from graphopt.transforms.quantization.static.spelling import Speller

__all__ = ["InsertQdq"]


@dataclass(frozen=True)
class InsertQdq(Pass):
    """Spell quantizations that are noted on values as QuantizeLinear and DequantizeLinear. Idempotent: the notes go.

    Attributes:
        fuse: whether a product that gives floats, with its bias, becomes one operator where the target has one for it, and layers of
            floats between integers are spelled so that the runtime leaves them floats (``keep-float-layers``).
    """

    name: ClassVar[str] = "insert-qdq"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    fuse: bool = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Spell the notes of the main graph."""
        marked = [node for node in graph.nodes if form_of(node)]
        if not marked or not ctx.applications.admits(self.name, ""):
            return PassResult(changed=False)
        speller = Speller(graph, wide_domain="com.microsoft" if "com.microsoft" in ctx.target.domains else "")
        for value in list(graph.values()):
            if value.quantization is not None and constant_of(value) is None:
                speller.spell_activation(value, value.quantization)
        for node in marked:
            speller.spell_constants(node)
        for node in marked:
            assert node.metadata is not None, "a mark is metadata"
            node.metadata = {key: text for key, text in node.metadata.items() if key != FORM} or None
        for value in graph.values():
            value.quantization = None
        graph.touch()
        ctx.applications.record(self.name, "")
        fused = FuseIntegerProducts().run(graph, ctx).stats if self.fuse else {}
        kept = KeepFloatLayers().run(graph, ctx).stats if self.fuse else {}
        return PassResult(changed=True, stats={"nodes": len(marked), **speller.counts, **fused, **kept})
