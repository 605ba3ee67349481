"""Operators that plugins bring: what they mean, and what a backend runs instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.ir import Array, Model, Node, TensorType, Value
from graphopt.numerics import Numerics, weakest
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.rewriting import Rule, RuleIndex, rewrite_graph

if TYPE_CHECKING:
    import onnx.defs
    from onnx.onnx_cpp2py_export.shape_inference import InferenceContext

    from graphopt.ir import Graph

__all__ = ["Converter", "Kernel", "LowerOperators", "Lowering", "OperatorDefinition"]

#: Computes an operator with numpy: arrays for the inputs (``None`` where absent), attributes as keywords; one array, or a tuple of them.
Kernel = Callable[..., "Array | tuple[Array, ...]"]


@dataclass(frozen=True, slots=True)
class OperatorDefinition:
    """An operator in a plugin's own domain.

    Attributes:
        schema: name, domain, inputs, outputs, attributes; registered in ``onnx.defs``.
        infer: sets the types of the outputs, unless ``schema`` has a function that does.
        kernel: its meaning, in numpy.
        dim_roles: name of each axis of each parameter, by parameter name: axes of one name have one size, ``"..."`` stands for any
            number of axes. ``{"X": ("batch", "channel", "..."), "Y": ("batch", "channel", "...")}``
        separable: names of axes along which each index is treated on its own, so that pruning may take some away: ``("channel",)`` for an
            activation, not for a softmax over channels. A name that no output has is summed over with weights.
        decomposition: the rule that puts standard operators in its place, for backends that do not know it.
    """

    schema: onnx.defs.OpSchema
    kernel: Kernel | None = None
    infer: Callable[[InferenceContext], None] | None = None
    dim_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decomposition: Rule | None = None
    separable: tuple[str, ...] = ()

    @property
    def op(self) -> str:
        """The operator as rules are indexed by it: ``"domain::Name"``."""
        return f"{self.schema.domain}::{self.schema.name}" if self.schema.domain else self.schema.name


@dataclass(frozen=True, slots=True)
class Lowering:
    """What a backend runs in the place of an operator.

    Attributes:
        op: the operator, ``"domain::Name"``.
        backend: name of the backend.
        rule: puts operators that the backend runs in its place.
    """

    op: str
    backend: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Converter:
    """How one operator becomes layers of a runtime whose networks are built layer by layer.

    Attributes:
        op: the operator, ``"Conv"`` or ``"domain::Name"``.
        backend: name of the backend, whose documentation says what ``convert`` is given and what it returns.
        convert: adds the layers of a node.
        supports: why a node is not taken, ``None`` when it is; it must agree with what can be built.
        priority: of several that take a node, the one with the highest is used; built-in ones have 0.
        dynamic: whether sizes that are known only when the model runs are taken.
    """

    op: str
    backend: str
    convert: Callable[..., Any] = field(repr=False)
    supports: Callable[[Node], str | None] | None = field(default=None, repr=False)
    priority: int = 0
    dynamic: bool = True

    def reason_against(self, node: Node) -> str | None:
        """Why this converter does not take a node, ``None`` when it does."""
        if not self.dynamic:
            for value in (*node.inputs, *node.outputs):
                if value is not None and not _has_fixed_sizes(value):
                    return f"the sizes of {value.name!r} are not fixed"
        return None if self.supports is None else self.supports(node)


def _has_fixed_sizes(value: Value) -> bool:
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return shape is not None and all(isinstance(size, int) for size in shape)


@dataclass(frozen=True)
class LowerOperators(Pass):
    """Put operators that a backend runs in the place of those that plugins brought.

    Made by the plugin manager, which knows the rules; not a part of pipeline text. Idempotent; needs no types.

    Attributes:
        rules: lowerings and decompositions.
    """

    name: ClassVar[str] = "lower-operators"
    needs_types: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    rules: tuple[Rule, ...] = field(default=(), repr=False)  # not an option: rules have no text form

    @property
    def declared_numerics(self) -> Numerics:
        """The weakest of what the rules declare."""
        return weakest(rule.numerics for rule in self.rules)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Lower each operator that a rule is for."""
        result = rewrite_graph(
            graph,
            RuleIndex(self.rules),
            inference=ctx.types,
            applications=ctx.applications,
            explain=ctx.explain,
        )
        if result.changed:
            self._drop_imports(graph)
        return PassResult(changed=result.changed, stats=dict(result.applied))

    def _drop_imports(self, graph: Graph) -> None:
        """Import domains no longer of which all operators were lowered: runtimes refuse, or warn of, those they do not know."""
        owner = graph.owner
        assert owner is not None, "a graph is rewritten inside a model or function"
        lowered = {root.rpartition("::")[0] for rule in self.rules for root in rule.roots} - {""}
        defined = {domain for domain, _name, _overload in owner.functions} if isinstance(owner, Model) else set()
        for domain in lowered - defined - {node.domain for node in graph.walk()}:
            owner.opset_imports.pop(domain, None)
