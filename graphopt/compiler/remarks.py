"""Rewrites that were made and those that were missed, as a compiler remarks on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphopt.ir import Node
from graphopt.rewriting import Edit, EditTrace, NoMatch, Rule

__all__ = ["MissedRewrite", "Remarks"]

_EXAMPLES = 3
_PLACES = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]")


@dataclass(frozen=True, slots=True)
class MissedRewrite:
    """Nodes at which a rule was tried and did not apply, all for one reason.

    Attributes:
        rule: the rule.
        reason: why not, with ``...`` for what differs from node to node.
        count: how many nodes.
        examples: some of them, each with its own reason.
    """

    rule: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...]


class Remarks:
    """Collects what happens in a run of a pipeline; in a later run it begins anew.

    Give it to :func:`graphopt.optimize`, and read it afterwards.

    Example:
        >>> from graphopt.compiler import optimize
        >>> from graphopt.data import digits_model
        >>> remarks = Remarks()
        >>> _ = optimize(digits_model(), pipeline="canonicalize,fuse-conv-batch-norm", remarks=remarks, check=False)
        >>> remarks.made[-1].application.rule
        'fold-batch-norm'
    """

    def __init__(self) -> None:
        self._trace = EditTrace()
        self._refused: dict[tuple[str, Node], NoMatch] = {}

    def trace(self) -> EditTrace:
        """What hears of the edits of the run that begins now."""
        self._trace = EditTrace()
        self._refused = {}
        return self._trace

    def __call__(self, rule: Rule, node: Node, reason: NoMatch) -> None:
        """Hear of a candidate at which a rule did not apply; its last reason counts."""
        self._refused[rule.name, node] = reason

    @property
    def made(self) -> list[Edit]:
        """What was applied, in order."""
        return self._trace.edits

    @property
    def missed(self) -> list[MissedRewrite]:
        """What was not applied at nodes that are still there, by rule and reason, the most frequent first."""
        groups: dict[tuple[str, str], list[tuple[Node, NoMatch]]] = {}
        for (rule, node), reason in self._refused.items():
            if node.graph is not None:
                groups.setdefault((rule, _PLACES.sub("...", reason.reason)), []).append((node, reason))
        found = [
            MissedRewrite(rule, text, len(nodes), tuple((_name(node), str(why)) for node, why in nodes[:_EXAMPLES]))
            for (rule, text), nodes in groups.items()
        ]
        return sorted(found, key=lambda item: (-item.count, item.rule, item.reason))

    def to_dict(self, kind: str = "all") -> dict[str, object]:
        """Plain values, for JSON.

        Args:
            kind: ``"made"``, ``"missed"`` or ``"all"``.
        """
        found: dict[str, object] = {}
        if kind in ("made", "all"):
            found["made"] = [_made(edit) for edit in self.made]
        if kind in ("missed", "all"):
            found["missed"] = [
                {
                    "rule": item.rule,
                    "reason": item.reason,
                    "count": item.count,
                    "examples": [{"node": node, "reason": reason} for node, reason in item.examples],
                }
                for item in self.missed
            ]
        return found


def _made(edit: Edit) -> dict[str, object]:
    application = edit.application
    return {
        "number": application.number,
        "pass": application.pass_name,
        "rule": application.rule,
        "site": application.site,
        "removed": list(edit.removed),
        "added": list(edit.added),
        "changed": list(edit.changed),
        "origins": list(edit.origins),
    }


def _name(node: Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else "") or node.op
