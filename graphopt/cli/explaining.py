"""``--explain RULE[@NODE]``: where a rule was tried and why it did not apply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphopt.errors import PipelineError
from graphopt.ir import Node
from graphopt.passes import suggestion
from graphopt.rewriting import NoMatch, Rule

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
        reason: why not.
    """

    rule: str
    node: str
    op: str
    reason: str


class Explainer:
    """Collects why a rule did not apply.

    Args:
        wanted: ``RULE`` or ``RULE@NODE``; the node is named by itself or by one of its outputs.
        rules: names of all rules.

    Attributes:
        refusals: what was found, each candidate with its last reason.
        dropped: how many more there were.

    Raises:
        PipelineError: if there is no such rule.
    """

    def __init__(self, wanted: str, rules: Iterable[str]) -> None:
        self.rule, _, self.node = wanted.partition("@")
        known = set(rules)
        if self.rule not in known:
            hint = suggestion(self.rule, known) or ";"
            raise PipelineError(f"unknown rule {self.rule!r}{hint} known rules: graphopt list rules")
        self._found: dict[Node, Refusal] = {}
        self.dropped = 0

    def __call__(self, rule: Rule, node: Node, reason: NoMatch) -> None:
        """Hear of a candidate."""
        if rule.name != self.rule or (self.node and self.node not in _names(node)):
            return
        if node not in self._found and len(self._found) >= _KEPT:
            self.dropped += 1
            return
        self._found[node] = Refusal(rule.name, _names(node)[0], node.op, str(reason))

    @property
    def refusals(self) -> list[Refusal]:
        """What was found, in the order of the graph."""
        return list(self._found.values())


def _names(node: Node) -> list[str]:
    names = [node.name, *(value.name for value in node.outputs)]
    return [name for name in names if name] or [node.op]
