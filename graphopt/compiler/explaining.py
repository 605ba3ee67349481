"""``--explain RULE[@NODE]``: where a rule was tried, and where and why it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphopt.errors import PipelineError
from graphopt.ir import Model, Node
from graphopt.passes import suggestion
from graphopt.rewriting import NoMatch, Rule, diagnose

__all__ = ["Explainer", "Refusal"]

#: Enough to read; a rule may be tried at each node of a large graph.
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A candidate at which a rule did not apply.

    Attributes:
        rule: the rule.
        node: name of the node, or of its first output.
        op: its operator.
        where: path from the node to the part that did not match, with the name of the value there.
        part: what must be there, as in the pattern.
        reason: why not.
        origins: the nodes of the original model that it stands for.
    """

    rule: str
    node: str
    op: str
    where: str
    part: str
    reason: str
    origins: tuple[str, ...] = ()


class Explainer:
    """Collects where and why a rule did not apply.

    Args:
        wanted: ``RULE`` or ``RULE@NODE``; the node is named by itself, by one of its outputs, or by a node of the original model that it
            stands for.
        rules: patterns of all rules, by name.

    Attributes:
        refusals: what was found, each candidate with its last reason.
        dropped: how many more there were.
        pattern: what the rule looks for.

    Raises:
        PipelineError: if there is no such rule.
    """

    def __init__(self, wanted: str, rules: Mapping[str, str]) -> None:
        self.rule, _, self.node = wanted.partition("@")
        if self.rule not in rules:
            hint = suggestion(self.rule, rules) or ";"
            raise PipelineError(f"unknown rule {self.rule!r}{hint} known rules: graphopt list rules")
        self.pattern = rules[self.rule]
        self._found: dict[Node, Refusal] = {}
        self.dropped = 0

    def __call__(self, rule: Rule, node: Node, reason: NoMatch) -> None:
        """Hear of a candidate."""
        if rule.name != self.rule or (self.node and self.node not in _names(node)):
            return
        if node not in self._found and len(self._found) >= _KEPT:
            self.dropped += 1
            return
        stop = diagnose(rule, node, reason)
        name = node.name or (node.outputs[0].name if node.outputs else "") or node.op
        self._found[node] = Refusal(rule.name, name, node.op, stop.where, stop.part, stop.reason, node.lineage.names())

    @property
    def refusals(self) -> list[Refusal]:
        """What was found, in the order of the graph."""
        return list(self._found.values())

    def hint(self, model: Model, *, applied: int) -> str:
        """Why there is nothing to tell of the node that is asked for, ``""`` when there is or none is asked for.

        Args:
            model: the result.
            applied: how often the rule was applied.
        """
        if not self.node or self._found:
            return ""
        if applied:
            return f"nothing to tell of {self.node!r}: where the rule applied, --remarks=made says"
        for owner in model.owners():
            for node in owner.graph.walk():
                if self.node in _names(node):
                    return f"{self.node!r} is a {node.op}, at which the rule does not begin, or no pass that has the rule ran"
        return f"no node of the result is or comes from {self.node!r}; names of nodes: graphopt inspect, --print-ir-after-change"


def _names(node: Node) -> set[str]:
    names = {node.name, *node.lineage.names()}
    for value in node.outputs:
        names.add(value.name)
        names.update(value.lineage.names())
    return names - {""}
