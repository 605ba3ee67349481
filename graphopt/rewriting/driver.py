"""The worklist driver: applies rules until none applies, with work proportional to edits.

Rules are indexed by the operator of their root, so a node is looked at only by rules that could apply to it. After an edit only what
the edit could have made applicable is looked at again: new nodes, users of what was replaced (as far up as the longest pattern
reaches), and producers that lost a user. The order is that of the graph, then first in, first out: the same on every run.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from graphopt.errors import PassError
from graphopt.ir import Graph, Listener, Node, Value
from graphopt.rewriting.applications import Applications
from graphopt.rewriting.learned_types import TypeInference
from graphopt.rewriting.nomatch import NoMatch
from graphopt.rewriting.rewriter import Rewriter
from graphopt.rewriting.rule import InPlace, RewriteRule, Rule

__all__ = ["DriverResult", "RuleIndex", "rewrite_graph"]

logger = logging.getLogger(__name__)

#: A rule that keeps applying is stopped after this many applications for each node the graph had.
_APPLICATIONS_PER_NODE = 64
_MIN_APPLICATIONS = 10_000

#: Called with rule, node and reason for each candidate at which a rule does not apply.
Explain = Callable[[Rule, Node, NoMatch], None]


@lru_cache(maxsize=64)
def _indexed(rules: tuple[Rule, ...]) -> Mapping[str, tuple[Rule, ...]]:
    """The rules that apply at each operator, best first; passes are run several times with the same ones."""
    by_root: defaultdict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        for root in rule.roots:
            by_root[root].append(rule)
    return {root: tuple(sorted(found, key=lambda rule: -rule.benefit)) for root, found in by_root.items()}


class RuleIndex:
    """Rules by the operator of their root, best first.

    Args:
        rules: in order of registration; of equal benefit the earlier one is tried first.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        try:
            self.by_root = dict(_indexed(self.rules))
        except TypeError:  # a rule of somebody's own that can't be hashed
            self.by_root = dict(_indexed.__wrapped__(self.rules))
        self.reach = max((rule.reach for rule in self.rules), default=1)


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


class _Worklist(Listener):
    """Nodes to look at, fed by edits."""

    __slots__ = ("_index", "_queue", "_reach", "_waiting")

    def __init__(self, index: RuleIndex) -> None:
        self._index = index.by_root
        self._reach = index.reach
        self._queue: deque[Node] = deque()
        self._waiting: set[Node] = set()

    def push(self, node: Node) -> None:
        if node.op in self._index and node not in self._waiting:
            self._waiting.add(node)
            self._queue.append(node)

    def fill(self, graph: Graph) -> int:
        """Take in all nodes of a graph; how many it has."""
        nodes, index, queue = 0, self._index, self._queue
        for node in graph.walk():
            nodes += 1
            if node.op in index:
                queue.append(node)
        self._waiting.update(queue)
        return nodes

    def forget_since(self, mark: int) -> None:
        """Take out what was added since the queue was ``mark`` long, by edits that were taken back."""
        while len(self._queue) > mark:
            self._waiting.discard(self._queue.pop())

    def pop(self) -> Node | None:
        while self._queue:
            node = self._queue.popleft()
            self._waiting.discard(node)
            if node.graph is not None:
                return node
        return None

    def _push_upwards(self, node: Node) -> None:
        """The node and the users of its outputs, as far as a pattern can reach."""
        layer = [node]
        for _ in range(self._reach):
            for member in layer:
                self.push(member)
            above: dict[Node, None] = {}
            for member in layer:
                for value in member.outputs:
                    for user, _position in value._uses:
                        above[user] = None
            layer = list(above)
            if len(layer) > 64:  # a value that everybody reads: its direct users only
                for member in layer:
                    self.push(member)
                return

    def _lost_user(self, value: Value) -> None:
        if value.producer is not None:
            self.push(value.producer)
        if len(value._uses) == 1:  # may have become the single use that a pattern wants
            for user, _position in value._uses:
                self._push_upwards(user)

    def type_learned(self, value: Value) -> None:
        if value.producer is not None:
            self._push_upwards(value.producer)
        else:
            for user, _position in value._uses:
                self._push_upwards(user)

    def node_inserted(self, node: Node) -> None:
        self._push_upwards(node)
        for graph in node.subgraphs:
            for inner in graph.walk():
                self.push(inner)

    def node_erased(self, node: Node) -> None:
        for value in node.inputs:
            if value is not None and (value.producer is not None or len(value._uses) == 2):
                if value.producer is not None:
                    self.push(value.producer)
                if len(value._uses) == 2:
                    for user, _position in value._uses:
                        if user is not node:
                            self._push_upwards(user)

    def input_replaced(self, node: Node, index: int, old: Value | None, new: Value | None) -> None:
        self._push_upwards(node)
        if old is not None:
            self._lost_user(old)

    def attributes_changed(self, node: Node) -> None:
        self._push_upwards(node)

    def output_replaced(self, old: Value, new: Value) -> None:
        if old.producer is not None:
            self._push_upwards(old.producer)
        if new.producer is not None:
            self.push(new.producer)


@np.errstate(all="ignore")  # weights may hold anything; rules look at what they make of it, nobody needs a warning
def rewrite_graph(
    graph: Graph,
    index: RuleIndex,
    *,
    inference: TypeInference | None = None,
    applications: Applications | None = None,
    explain: Explain | None = None,
) -> DriverResult:
    """Apply rules everywhere in a graph and its subgraphs, until none applies.

    Args:
        graph: the outermost graph of a model or function.
        index: the rules.
        inference: finds types of new nodes.
        applications: numbers, limits and refuses applications.
        explain: told of each candidate at which a rule did not apply.

    Raises:
        PassError: if a rule fails, edits although it does not apply, or never stops applying.
    """
    applications = Applications() if applications is None else applications
    owner = graph.owner
    assert owner is not None, "a graph is rewritten inside a model or function"
    work = _Worklist(index)
    nodes = work.fill(graph)
    budget = max(_MIN_APPLICATIONS, _APPLICATIONS_PER_NODE * nodes)
    result = DriverResult()
    rewriter = Rewriter(inference)
    owner.listeners.append(work)
    try:
        by_root, limited = index.by_root, applications.limit is not None
        while not (limited and applications.exhausted) and (found := work.pop()) is not None:
            for rule in by_root.get(found.op, ()):
                if _try(rule, found, rewriter, work, applications, explain):
                    result.applied[rule.name] += 1
                    budget -= 1
                    break
            if budget < 0:
                worst, times = result.applied.most_common(1)[0]
                error = PassError(
                    f"rule {worst!r} was applied {times} times in a graph of {nodes} nodes; it undoes itself or another rule"
                )
                error.rule = worst
                raise error
    finally:
        owner.listeners.remove(work)
    result.events = rewriter.events
    return result


def _try(
    rule: Rule, node: Node, rewriter: Rewriter, work: _Worklist, applications: Applications, explain: Explain | None
) -> bool:
    site = node.outputs[0].name if node.outputs else node.name
    if applications.skip and not applications.admits(rule.name, site):
        return False
    if explain is None and type(rule) is RewriteRule and not rule.may_apply(node):
        return False
    mark = len(work._queue)
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
                work.forget_since(mark)
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
    for learned in rewriter.take_learned():
        work.type_learned(learned)
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
