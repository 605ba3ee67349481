"""Small passes with options of many kinds, for tests of the infrastructure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from graphopt.ir import DType, Graph, GraphBuilder, Model
from graphopt.passes import Numerics, Pass, PassContext, PassRegistry, PassResult, Reassociates, RewritePass
from graphopt.rewriting import Match, Rewriter, any_, op, rewrite


class Mode(enum.Enum):
    """A choice."""

    FAST = "fast"
    SMALL = "small"


@dataclass(frozen=True)
class Tune(Pass):
    """Does nothing, with every kind of option.

    Attributes:
        ratio: a part
            of the whole.
        axes: numbers.
    """

    name: ClassVar[str] = "tune"
    ratio: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    count: int = 3
    deep: bool = False
    label: str = "x"
    axes: tuple[int, ...] = ()
    words: tuple[str, ...] = ("a",)
    only: str | None = None
    kind: Literal["plain", "fancy"] = "plain"
    mode: Mode = Mode.FAST
    either: int | str = 0
    table: dict[str, float] = field(default_factory=dict)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        return PassResult(changed=False)


@dataclass(frozen=True)
class Keep(Pass):
    """Keeps a number of nodes; how many must be stated."""

    name: ClassVar[str] = "keep"
    needs_types: ClassVar[bool] = False
    nodes: Annotated[int, Meta(ge=1)] = field()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        return PassResult(changed=False)


@rewrite(op.Neg(op.Neg(any_("x"))))
def eliminate_double_neg(m: Match, rw: Rewriter):
    """Neg(Neg(x)) -> x."""
    return m["x"]


@rewrite(op.Abs(op.Relu(any_("x"))), numerics=Reassociates(1e-3))
def relu_is_positive(m: Match, rw: Rewriter):
    """Abs(Relu(x)) -> Relu(x)."""
    return rw.new("Relu", m["x"])


@dataclass(frozen=True)
class EliminateDoubleNeg(RewritePass):
    """Neg(Neg(x)) -> x. Exact."""

    name = "eliminate-double-neg"
    rules = (eliminate_double_neg,)


@dataclass(frozen=True)
class SimplifyAbs(RewritePass):
    """Abs(Relu(x)) -> Relu(x)."""

    name = "simplify-abs"
    rules = (relu_is_positive,)


@dataclass(frozen=True)
class DropOne(Pass):
    """Replaces one Relu by its input each time it runs, so that it must be repeated."""

    name: ClassVar[str] = "drop-one"
    numerics: ClassVar[Numerics] = Reassociates(1e-2)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in graph.nodes:
            value = node.inputs[0] if node.inputs else None
            if node.op == "Relu" and value is not None and not node.output.is_graph_output:
                for use in node.output.uses:
                    use.node.replace_input(use.position, value)
                graph.erase(node)
                return PassResult(changed=True, stats={"dropped": 1})
        return PassResult(changed=False)


def registry() -> PassRegistry:
    """All of them, and two named pipelines."""
    return PassRegistry.of(
        Tune,
        Keep,
        EliminateDoubleNeg,
        SimplifyAbs,
        DropOne,
        pipelines={"O1": "eliminate-double-neg", "O2": "O1,fixpoint(drop-one,O1)", "empty": ""},
    )


def chain(*ops: str) -> Model:
    """A model that applies unary operators one after another to a float [n, 4]."""
    b = GraphBuilder(opset=17)
    value = b.input("x", DType.FLOAT, ["n", 4])
    for op_type in ops:
        value = b.op(op_type, value)
    b.output(value, "y")
    return b.build()


def ops(model: Model) -> list[str]:
    """Operators of the main graph in order."""
    return [node.op for node in model.graph.nodes]
