"""Where a pattern stopped matching: a slower matcher for those who ask, so that the one that rewrites need not remember.

It goes the way of the matcher and asks the same patterns, but keeps the path to each part; of several ways (alternatives, commuted
inputs) it reports the one that got furthest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphopt.ir import Node, Value
from graphopt.rewriting.match import Bindings
from graphopt.rewriting.nomatch import NoMatch
from graphopt.rewriting.pattern import OneOf, OpPattern, Pattern, Rest
from graphopt.rewriting.rule import RewriteRule, Rule

__all__ = ["Stop", "diagnose"]

_INPUTS = Rest("inputs that are asked one by one")


@dataclass(frozen=True, slots=True)
class Stop:
    """Where and why a rule did not apply to a node.

    Attributes:
        path: from the root to the part of the pattern, such as ``"BatchNormalization.input[0] -> Conv.input[1]"``; the root's operator when
            the root itself does not match; ``"(body)"`` when the pattern matches and the rule itself says no.
        value: name of the value there, ``""`` where there is none.
        part: the part of the pattern, as text.
        reason: why not.
        depth: how many inputs lie between root and part.
    """

    path: str
    value: str
    part: str
    reason: str
    depth: int = 0

    @property
    def where(self) -> str:
        """Path and value in a line."""
        return f"{self.path} {self.value!r}" if self.value else self.path


def diagnose(rule: Rule, node: Node, reason: NoMatch) -> Stop:
    """Where a rule that did not apply stopped.

    Args:
        rule: the rule.
        node: the root at which it was tried; nothing must have been edited since.
        reason: what the rule said.

    Example:
        >>> from graphopt.ir import GraphBuilder
        >>> from graphopt.rewriting import any_, const, op, rewrite
        >>> @rewrite(op.Relu(op.Add(any_("x"), const("c"))))
        ... def example(m, rw):
        ...     return m["x"]
        >>> b = GraphBuilder(opset=17)
        >>> y = b.output(b.Relu(b.Add(b.input("x"), b.input("c"))), "y")
        >>> print(diagnose(example, y.producer, NoMatch("no")).where)
        Relu.input[0] -> Add.input[1] 'c'
    """
    if not isinstance(rule, RewriteRule):
        return Stop("(body)", "", f"{'|'.join(rule.roots)} ...", str(reason))
    version = node.graph.opset() if node.graph is not None else None
    if version is None or not rule.min_opset <= version <= rule.max_opset:
        return Stop(node.op, "", str(rule.pattern), str(reason))
    stops: list[Stop] = []
    for candidate in rule.checked:
        if node.op not in candidate.ops or candidate.output >= len(node.outputs):
            continue
        stop = _node(candidate, node, Bindings(node), "", 0)
        if stop is None:
            return Stop("(body)", "", str(candidate), str(reason))
        stops.append(stop)
    return _furthest(stops) if stops else Stop(node.op, "", str(rule.pattern), str(reason))


def _furthest(stops: list[Stop]) -> Stop:
    return max(stops, key=lambda stop: stop.depth)  # the first of those that got equally far


def _value(pattern: Pattern, value: Value, found: Bindings, path: str, depth: int) -> Stop | None:
    """Where a pattern stops at a value, ``None`` when it matches; ``found`` has its names then."""
    if isinstance(pattern, OneOf):
        stops: list[Stop] = []
        for choice in pattern.choices:
            mark = found.mark()
            stop = _value(choice, value, found, path, depth)
            if stop is None:
                return None
            found.undo(mark)
            stops.append(stop)
        return _furthest(stops)
    if isinstance(pattern, OpPattern):
        mark = found.mark()
        reason = replace(pattern, inputs=(_INPUTS,), commute=False).match(value, found)
        found.undo(mark)
        if reason is not None:
            return Stop(path, value.name, str(pattern), str(reason), depth)
        assert value.producer is not None, "an operator matched"
        return _node(pattern, value.producer, found, f"{path} -> ", depth)
    reason = pattern.match(value, found)
    return None if reason is None else Stop(path, value.name, str(pattern), str(reason), depth)


def _node(pattern: OpPattern, node: Node, found: Bindings, path: str, depth: int) -> Stop | None:
    """Where the pattern of a node stops at it."""
    reason = replace(pattern, inputs=(_INPUTS,), commute=False).match_node(node, found)
    if reason is not None:
        return Stop(f"{path}{node.op}", "", str(pattern), str(reason), depth)
    stops: list[Stop] = []
    for inputs in (pattern.inputs, pattern.inputs[::-1])[: 1 + pattern.commute]:
        mark = found.mark()
        stop = _inputs(pattern, inputs, node, found, f"{path}{node.op}", depth)
        if stop is None:
            return None
        found.undo(mark)
        stops.append(stop)
    return _furthest(stops)


def _inputs(
    pattern: OpPattern, inputs: tuple[Pattern, ...], node: Node, found: Bindings, path: str, depth: int
) -> Stop | None:
    for index, part in enumerate(inputs):
        value = node.input_at(index)
        place = f"{path}.input[{index}]"
        if value is None:
            if not part.optional:
                return Stop(place, "", str(part), "an input is absent", depth + 1)
            continue
        stop = _value(part, value, found, place, depth + 1)
        if stop is not None:
            return stop
    if pattern.has_tail:
        return None
    for index, extra in enumerate(node.inputs[len(inputs) :], len(inputs)):
        if extra is not None:
            reason = f"{node.op} has a further input {extra.name!r}"
            return Stop(f"{path}.input[{index}]", extra.name, str(pattern), reason, depth + 1)
    return None
