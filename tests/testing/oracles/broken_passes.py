"""Passes that break one law each, and small models to try them on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Graph, Node
from graphopt.passes import Lossy, Numerics, Pass, PassContext, PassResult, Reassociates, RewritePass
from graphopt.rewriting import NoMatch, any_, const, op, rewrite

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
DOUBLE_NEG = f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) {{ a = Neg(x) b = Neg(a) y = Relu(b) }}"
SUM = f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) <float[3] w = {{1.0, -2.0, 0.1}}> {{ a = Add(x, w) b = Mul(a, x) y = Relu(b) }}"
SCALED = f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) <float p = {{0.3}}, float q = {{0.7}}> {{ a = Mul(x, p) y = Mul(a, q) }}"


@rewrite(op.Neg(op.Neg(any_("x"))))
def drop_double_neg(m, rw):
    """Neg(Neg(x)) -> x: right, and exact."""
    return m["x"]


class Right(RewritePass):
    """A pass that keeps all laws."""

    name = "right"
    rules = (drop_double_neg,)


@rewrite(op.Neg(op.Neg(any_("x"))))
def neg_to_abs(m, rw):
    """Neg(Neg(x)) -> Abs(x): wrong numbers."""
    return rw.new("Abs", m["x"])


@rewrite(op.Relu(any_("x")))
def relu_to_leaky(m, rw):
    """Relu(x) -> LeakyRelu(x): wrong numbers."""
    return rw.new("LeakyRelu", m["x"])


@rewrite(op.Add(any_("x"), const("w")))
def add_nothing(m, rw):
    """Add(x, 0) -> x, which is wrong for negative zero."""
    return m["x"] if not m.array("w").any() else NoMatch("w is not zero")


@rewrite(op.Mul(op.Mul(any_("x"), const("a", scalar=True)), const("b", scalar=True)))
def merge_factors(m, rw):
    """(x * a) * b -> x * (a * b): other rounding."""
    return rw.new("Mul", m["x"], rw.constant(m.array("a") * m.array("b")))


@dataclass(frozen=True)
class Planted(Pass):
    """Base of passes that edit by hand."""

    numerics: ClassVar[Numerics] = Lossy()
    needs_types: ClassVar[bool] = False

    def find(self, graph: Graph, kind: str) -> Iterator[Node]:
        return (node for node in list(graph.nodes) if node.op == kind)


class RenamesOutput(Planted):
    name = "renames-output"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        graph.outputs[0].name = "z"
        return PassResult(changed=True)


class DropsDoc(Planted):
    name = "drops-doc"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        graph.inputs[0].doc = ""
        return PassResult(changed=True)


class ChangesOpset(Planted):
    name = "changes-opset"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        owner = graph.owner
        assert owner is not None
        changed = owner.opset_imports[""] != 18
        owner.opset_imports[""] = 18
        return PassResult(changed=changed)


class ChangesOpsetOnPurpose(ChangesOpset):
    name = "changes-opset-on-purpose"
    may_change = ("opset",)


class Invalid(Planted):
    """Leaves an attribute that no schema allows."""

    name = "invalid"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        found = [node for node in self.find(graph, "Relu") if not node.attributes]
        for node in found:
            node.set_attribute("slope", 1.0)
        return PassResult(changed=bool(found))


class LeavesBrokenGraph(Planted):
    """Reads a value before it is made."""

    name = "leaves-broken-graph"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        nodes = list(graph.nodes)
        nodes[0].replace_input(0, nodes[-1].outputs[0])
        return PassResult(changed=True)


class HidesChange(Planted):
    """Edits and says that it did not."""

    name = "hides-change"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in self.find(graph, "Relu"):
            node.set_attribute("slope", 2.0)
        return PassResult(changed=False)


class ClaimsChange(Planted):
    """Does nothing and says that it did."""

    name = "claims-change"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        return PassResult(changed=True)


class MutatesWeights(Planted):
    """Writes into an array that others read too."""

    name = "mutates-weights"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for value in graph.initializers():
            assert value.const is not None
            array = value.const.numpy()
            array.flags.writeable = True
            array *= np.float32(2)  # type: ignore[misc]  # the array is one of floats
        return PassResult(changed=True)


class Nondeterministic(Planted):
    """Names what it makes by a counter that outlives the run."""

    name = "nondeterministic"
    counter: ClassVar[Iterator[int]] = itertools.count()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in self.find(graph, "Neg"):
            node.outputs[0].name = f"made_{next(self.counter)}"
        return PassResult(changed=True)


class OneAtATime(Planted):
    """Turns one Relu after the other into Abs."""

    name = "one-at-a-time"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in self.find(graph, "Relu"):
            node.set_op("Abs")
            return PassResult(changed=True)
        return PassResult(changed=False)


class LooksAtNames(Planted):
    """Adds nothing to a sum whose name sorts early."""

    name = "looks-at-names"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        found = [node for node in self.find(graph, "Add") if node.outputs[0].name < "m" and not node.metadata]
        for node in found:
            node.metadata = {"seen": "1"}
        return PassResult(changed=bool(found), stats={"seen": len(found)})


class LooksAtOrder(Planted):
    """Counts only when a Relu is the first node."""

    name = "looks-at-order"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        first = next(iter(graph.nodes))
        if first.op != "Relu" or first.metadata:
            return PassResult(changed=False)
        first.metadata = {"seen": "1"}
        return PassResult(changed=True, stats={"first": 1})


class WrongFromOpset20(Planted):
    """Wrong numbers where the opset is new."""

    name = "wrong-from-opset-20"
    numerics: ClassVar[Numerics] = Reassociates()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        if (graph.opset() or 0) < 20:
            return PassResult(changed=False)
        changed = False
        for node in self.find(graph, "Add"):
            node.set_op("Sub")
            changed = True
        return PassResult(changed=changed)


class Fails(Planted):
    name = "fails"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        raise KeyError("w")
