"""The worklist driver: applies rules until none applies, with work proportional to edits.

Rules are indexed by the operator of their root, so a node is looked at only by rules that could apply to it. After an edit only what
the edit could have made applicable is looked at again: new nodes, users of what was replaced (as far up as the longest pattern
reaches), and producers that lost a user. The order is that of the graph, then first in, first out: the same on every run.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from graphopt.errors import PassError
from graphopt.ir import Graph, Node, Value
from graphopt.rewriting.applications import Applications
from graphopt.rewriting.learned_types import TypeInference
from graphopt.rewriting.nomatch import NoMatch
from graphopt.rewriting.rewriter import Rewriter
from graphopt.rewriting.rule import InPlace, RewriteRule, Rule
from graphopt.rewriting.worklist import EditLog, Journal

__all__ = ["DriverResult", "RuleIndex", "rewrite_graph"]

logger = logging.getLogger(__name__)

#: A rule that keeps applying is stopped after this many applications for each node the graph had.
_APPLICATIONS_PER_NODE = 64
_MIN_APPLICATIONS = 10_000

#: Called with rule, node and reason for each candidate at which a rule does not apply.
Explain = Callable[[Rule, Node, NoMatch], None]


@lru_cache(maxsize=64)
def _indexed(rules: tuple[Rule, ...]) -> tuple[Mapping[str, tuple[Rule, ...]], Mapping[str, int]]:
    """The rules that apply at each operator, best first, and how far they reach; passes are run several times with the same ones."""
    by_root: defaultdict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        for root in rule.roots:
            by_root[root].append(rule)
    best_first = {root: tuple(sorted(found, key=lambda rule: -rule.benefit)) for root, found in by_root.items()}
    return best_first, {root: max(rule.reach for rule in found) for root, found in by_root.items()}


class RuleIndex:
    """Rules by the operator of their root, best first.

    Args:
        rules: in order of registration; of equal benefit the earlier one is tried first.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        try:
            self.by_root, self.reach = _indexed(self.rules)
        except TypeError:  # a rule of somebody's own that can't be hashed
            self.by_root, self.reach = _indexed.__wrapped__(self.rules)


@dataclass(slots=True)
class DriverResult:
    """What a run of the driver did.

    Attributes:
        applied: applications by rule name.
        events: edits by kind.
    """

    applied: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def changed(self) -> bool:
        """Whether anything was applied."""
        return bool(self.applied)


@np.errstate(all="ignore")  # weights may hold anything; rules look at what they make of it, nobody needs a warning
def rewrite_graph(
    graph: Graph,
    index: RuleIndex,
    *,
    inference: TypeInference | None = None,
    applications: Applications | None = None,
    explain: Explain | None = None,
    journal: Journal | None = None,
) -> DriverResult:
    """Apply rules everywhere in a graph and its subgraphs, until none applies.

    Args:
        graph: the outermost graph of a model or function.
        index: the rules.
        inference: finds types of new nodes.
        applications: numbers, limits and refuses applications.
        explain: told of each candidate at which a rule did not apply.
        journal: keeps what these rules have seen of the graph, so that they look only at what changed since they last ran on it.

    Raises:
        PassError: if a rule fails, edits although it does not apply, or never stops applying.
    """
    applications = Applications() if applications is None else applications
    kept = Journal() if journal is None or explain is not None else journal
    work, log = kept.worklist(graph, index.rules, index.reach), kept.log_of(graph)
    budget = max(_MIN_APPLICATIONS, _APPLICATIONS_PER_NODE * work.nodes)
    result = DriverResult()
    rewriter = Rewriter(inference)
    try:
        by_root, limited = index.by_root, applications.limit is not None
        while not (limited and applications.exhausted) and (found := work.pop()) is not None:
            for rule in by_root.get(found.op, ()):
                if _try(rule, found, rewriter, log, applications, explain):
                    result.applied[rule.name] += 1
                    budget -= 1
                    break
            if budget < 0:
                worst, times = result.applied.most_common(1)[0]
                error = PassError(
                    f"rule {worst!r} was applied {times} times in a graph of {work.nodes} nodes; it undoes itself or another rule"
                )
                error.rule = worst
                raise error
    finally:
        if kept is not journal:
            kept.close()
    result.events = rewriter.events
    return result


def _try(
    rule: Rule, node: Node, rewriter: Rewriter, log: EditLog, applications: Applications, explain: Explain | None
) -> bool:
    site = node.outputs[0].name if node.outputs else node.name
    if applications.skip and not applications.admits(rule.name, site):
        return False
    if explain is None and type(rule) is RewriteRule and not rule.may_apply(node):
        return False
    mark = log.mark()
    rewriter.start(node)
    try:
        answer = rule.apply(node, rewriter)
        if type(answer) is NoMatch and not rewriter.edited and explain is None:
            return False  # what most candidates end with
        if isinstance(answer, Value) and len(node.outputs) > 1:
            answer = _for_first_output(node, answer)
        if isinstance(answer, NoMatch):
            if rewriter.edited:
                _take_back(rule, node, answer, rewriter)
                log.forget_since(mark)
            if explain is not None:
                explain(rule, node, answer)
            return False
        if isinstance(answer, InPlace):
            rewriter.settle()
        else:
            replacements: Sequence[Value | None] = [answer] if isinstance(answer, Value) else list(answer)
            _check_replacements(rule, node, replacements)
            rewriter.finish(node, replacements)
    except PassError as err:
        err.rule, err.node = rule.name, site
        raise
    except Exception as err:
        what = f"{type(err).__name__}: {err}"
        error = PassError(f"rule {rule.name!r} failed at node {node.name!r} ({node.op}): {what}")
        error.rule, error.node = rule.name, site
        raise error from err
    rewriter.note_learned()
    applications.record(rule.name, site)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s applied at %s", rule.name, site)
    return True


def _take_back(rule: Rule, node: Node, answer: NoMatch, rewriter: Rewriter) -> None:
    """Undo what a rule made before it gave up."""
    if rewriter.committed:
        raise PassError(
            f"rule {rule.name!r} edited the graph at node {node.name!r} ({node.op}) and then said that it does not apply: {answer}"
        )
    rewriter.abandon()


def _for_first_output(node: Node, value: Value) -> Sequence[Value | None] | NoMatch:
    """One value stands for the first output; that is right only while nobody reads the others."""
    for other in node.outputs[1:]:
        if other.is_used:
            return NoMatch("output %r of %s is used too", other.name, node.op)
    return [value, *[None] * (len(node.outputs) - 1)]


def _check_replacements(rule: Rule, node: Node, replacements: Sequence[Value | None]) -> None:
    """Every output that somebody reads needs a replacement."""
    if len(replacements) != len(node.outputs):
        found, expected = len(replacements), len(node.outputs)
        raise PassError(f"rule {rule.name!r}: gives {found} values for the {expected} outputs of {node.op}")
    for index, value in enumerate(node.outputs):
        if value.is_used and replacements[index] is None:
            where = f"node {node.name!r} ({node.op})"
            raise PassError(
                f"rule {rule.name!r}: gives nothing for output {index} ({value.name!r}) of {where}, which is used"
            )
