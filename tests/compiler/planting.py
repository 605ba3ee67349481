"""Wrong rules and passes that a plugin brings, for tests of what finds them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

from onnx import ModelProto
from onnx.parser import parse_model

from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import Graph, Node
from graphopt.passes import Pass, PassContext, PassResult, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter, any_, op, rewrite

__all__ = ["ALL", "CHAIN", "HEAD", "chain", "eliminate_double_neg", "parse_model", "plugins"]

HEAD = '<ir_version: 10, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y) '
CHAIN = "{ a = Neg(x) b = Neg(a) c = Abs(b) d = Sqrt(c) e = Sqrt(d) f = Exp(e) y = Relu(f) }"


def chain() -> ModelProto:
    """A chain of one-input operators, with names of nodes."""
    model = parse_model(HEAD + CHAIN)
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


@rewrite(op.Neg(op.Neg(any_("x"))))
def eliminate_double_neg(m, rw):
    return m["x"]


@rewrite(op.Sqrt(any_("x")))
def drop_sqrt(m, rw):
    return m["x"]


class ExpToAbs(RewritePattern):
    """Exp(x) -> Abs(x): wrong on purpose."""

    name: ClassVar[str] = "exp-to-abs"
    roots: ClassVar[tuple[str, ...]] = ("Exp",)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        return rw.new("Abs", node.inputs[0])


@rewrite(op.Exp(any_("x")))
def use_missing_operator(m, rw):
    return rw.new("com.microsoft::NoSuchOperator", m["x"])


@rewrite(op.Exp(any_("x")))
def raise_index_error(m, rw):
    sizes: list[int] = []
    return NoMatch("%d", sizes[0])


class WrongRule(RewritePass):
    """One right rule and one that is wrong everywhere."""

    name = "wrong-rule"
    rules = (eliminate_double_neg, drop_sqrt)


class WrongPattern(RewritePass):
    """A rule in class form."""

    name = "wrong-pattern"
    rules = (eliminate_double_neg, ExpToAbs())


class InvalidRule(RewritePass):
    """A rule that makes what no runtime loads."""

    name = "invalid-rule"
    rules = (eliminate_double_neg, use_missing_operator)


class RaisingRule(RewritePass):
    """A rule that fails."""

    name = "raising-rule"
    rules = (eliminate_double_neg, raise_index_error)


@dataclass(frozen=True)
class WrongPass(Pass):
    """Changes a node, and does not number that."""

    name: ClassVar[str] = "wrong-pass"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in graph.nodes:
            if node.op == "Exp":
                node.set_op("Sin")
                return PassResult(changed=True)
        return PassResult(changed=False)


@dataclass(frozen=True)
class SilentPass(Pass):
    """Changes a node, and says that it did not."""

    name: ClassVar[str] = "silent-pass"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        for node in graph.nodes:
            if node.op == "Exp":
                node.set_op("Sin")
        return PassResult(changed=False)


@dataclass(frozen=True)
class BrokenGraphPass(Pass):
    """Lets a node read what comes after it."""

    name: ClassVar[str] = "broken-graph"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        nodes = list(graph.nodes)
        nodes[1].replace_input(0, nodes[-1].output)
        return PassResult(changed=True)


@dataclass(frozen=True)
class RaisingPass(Pass):
    """Fails."""

    name: ClassVar[str] = "raising-pass"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        raise RuntimeError("out of luck")


ALL = (WrongRule, WrongPattern, InvalidRule, RaisingRule, WrongPass, SilentPass, BrokenGraphPass, RaisingPass)


def plugins(*passes: type[Pass]) -> PluginManager:
    """The built-in plugins, and one that is called ``acme``."""
    found = builtin_plugins(discover=False)

    @hookimpl
    def graphopt_passes() -> list[type[Pass]]:
        return list(passes or ALL)

    found.register(SimpleNamespace(graphopt_passes=graphopt_passes), name="acme", package="acme 1.2")
    return found
