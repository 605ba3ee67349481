"""Puts bodies of functions in place of their calls.

Attribute references take the value of the call, or else the default of the function; an input that the call leaves out is left out
where the body reads it. A function means its operators at its own opsets: a call stays when the model imports another version at
which one of these operators is another. Exact; needs no types.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import msgspec

from graphopt.errors import ModelError
from graphopt.ir import Function, FunctionKey, Graph, GraphOwner, Model, Node, Value, find_schema, inline_graph
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter

__all__ = ["InlineFunctions"]


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Put the bodies of functions in place of their calls, nested ones too. Exact; idempotent.

    The functions themselves stay until ``remove-unused-functions``.

    Attributes:
        keep: functions that stay calls, as ``domain::name``, or whole domains.
        max_nodes: a call that would become more nodes than this stays.
    """

    name: ClassVar[str] = "inline-functions"
    idempotent: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False
    per_function: ClassVar[bool] = False
    keep: tuple[str, ...] = ()
    max_nodes: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Inline the calls in the model's graph and in functions that are kept."""
        model = cast(Model, graph.owner)
        if not model.functions:
            return PassResult(changed=False)
        run = _Inliner(self, model, ctx)
        run.inline(model)
        for function in model.functions.values():
            if run.is_kept(function):
                run.inline(function)
        return PassResult(changed=run.counts["calls"] > 0, stats=dict(run.counts))


class _Inliner:
    def __init__(self, step: InlineFunctions, model: Model, ctx: PassContext) -> None:
        self._step = step
        self._model = model
        self._ctx = ctx
        self._rewriter = Rewriter(ctx.types)
        self._sizes = _expanded_sizes(model)
        self._conflicts: dict[tuple[GraphOwner, FunctionKey], str] = {}
        self.counts: Counter[str] = Counter()

    def is_kept(self, function: Function) -> bool:
        """Whether calls of a function are to stay."""
        return function.domain in self._step.keep or f"{function.domain}::{function.name}" in self._step.keep

    def inline(self, owner: GraphOwner) -> None:
        """Inline the calls in one owner, and those that come with them."""
        todo = [node for node in owner.graph.walk() if self._called(node) is not None]
        todo.reverse()
        while todo:
            node = todo.pop()
            function = self._called(node)
            assert function is not None
            if self.is_kept(function):
                continue
            reason = self._refusal(function, owner)
            if reason:
                self.counts[reason] += 1
                continue
            site = node.outputs[0].name if node.outputs else node.name
            if not self._ctx.applications.admits(self._step.name, site):
                continue
            made = self._expand(node, function, owner)
            if made is None:
                self.counts["kept: gives out an absent input"] += 1
                continue
            self._ctx.applications.record(self._step.name, site)
            self.counts["calls"] += 1
            todo.extend(reversed([inner for inner in made if self._called(inner) is not None]))

    def _called(self, node: Node) -> Function | None:
        return self._model.functions.get((node.domain, node.op_type, node.overload))

    def _expand(self, node: Node, function: Function, owner: GraphOwner) -> list[Node] | None:
        """Put a body in place of a call; the new nodes, ``None`` if that can't be done."""
        body = function.graph
        stands_for: dict[Value, Value] = {}
        absent: list[Value] = []
        for index, formal in enumerate(body.inputs):
            given = node.input_at(index)
            if given is None:
                if formal.graph_outputs:
                    return None
                absent.append(Value(""))
            stands_for[formal] = absent[-1] if given is None else given
        self._rewriter.start(node)
        made = inline_graph(body, node, stands_for, {**function.attribute_defaults, **node.attributes})
        for value in absent:
            for user, index in list(value._uses):
                user.replace_input(index, None)
        for domain, version in function.opset_imports.items():
            owner.opset_imports.setdefault(domain, version)
        new = list(
            dict.fromkeys(v.producer for old, v in made.items() if old not in stands_for and v.producer is not None)
        )
        for inner in new:
            for value in inner.outputs:  # what the function states of its values may be true for another call
                value.type, value.declared = None, False
        self._rewriter.finish(node, [made[value] for value in body.outputs[: len(node.outputs)]])
        return new

    def _refusal(self, function: Function, owner: GraphOwner) -> str:
        """Why calls of a function stay in an owner, ``""`` if they don't."""
        place = owner, function.key
        if place not in self._conflicts:
            reason = ""
            if self._sizes[function.key] > self._step.max_nodes:
                reason = "kept: too many nodes"
            elif _is_other_operator(function, owner):
                reason = "kept: other opset"
            elif _has_name_of_operator(function, owner):
                reason = "kept: named as an operator"
            self._conflicts[place] = reason
        return self._conflicts[place]


def _has_name_of_operator(function: Function, owner: GraphOwner) -> bool:
    """Whether a call may mean an operator that has the same name: ONNX Runtime takes it for that, the specification does not."""
    version = owner.opset_imports.get(function.domain)
    return (
        not function.overload
        and version is not None
        and find_schema(function.domain, function.name, version) is not None
    )


def _is_other_operator(function: Function, owner: GraphOwner) -> bool:
    """Whether an operator of a function is another one at the opsets of an owner."""
    used = {(node.domain, node.op_type) for node in function.graph.walk()}
    for domain, op_type in used:
        mine, theirs = function.opset_imports.get(domain), owner.opset_imports.get(domain)
        if mine is None or theirs is None or mine == theirs:
            continue
        here, there = find_schema(domain, op_type, mine), find_schema(domain, op_type, theirs)
        if here is None or there is None or here.since_version != there.since_version:
            return True
    return False


def _expanded_sizes(model: Model) -> dict[FunctionKey, int]:
    """Nodes that each function becomes with all its calls inlined.

    Raises:
        ModelError: if functions call each other in a circle.
    """
    sizes: dict[FunctionKey, int] = {}
    open_calls: dict[FunctionKey, None] = {}
    todo = list(model.functions)
    while todo:
        key = todo[-1]
        nodes = list(model.functions[key].graph.walk())
        calls = [call for node in nodes if (call := (node.domain, node.op_type, node.overload)) in model.functions]
        missing = [call for call in dict.fromkeys(calls) if call not in sizes]
        if missing and key not in sizes:
            open_calls[key] = None
            circle = [call for call in missing if call in open_calls]
            if circle:
                raise ModelError(
                    f"function {circle[0][1]!r} calls itself, by way of {key[1]!r}; functions must not recurse"
                )
            todo.extend(missing)
            continue
        sizes[key] = len(nodes) + sum(sizes[call] for call in calls)
        open_calls.pop(key, None)
        todo.pop()
    return sizes
