"""Which nodes a run of rules still has to look at, from what was edited.

An :class:`EditLog` hears of all edits of a model. A :class:`Worklist` reads it from where it last stopped, and follows what was touched
upwards as far as a rule at such an operator reaches; so the rules of a pass that runs again look only at what changed since. A
:class:`Journal` keeps both from one run of a pipeline's passes to the next. What it misses is looked at later or never, and can't make
a rule apply where it does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from graphopt.ir import Graph, Listener, Node, Value
from graphopt.ir.model import GraphOwner

__all__ = ["EditLog", "Journal", "Worklist"]

#: A value that more nodes read is everybody's: its readers are looked at, what reads these is not.
_FEW = 64


class EditLog(Listener):
    """The nodes that edits touched, in order.

    Attributes:
        touched: nodes that are other than they were; what reads their outputs may match now.
        freed: nodes with fewer readers than they had.
    """

    __slots__ = ("freed", "touched")

    def __init__(self) -> None:
        self.touched: list[Node] = []
        self.freed: list[Node] = []

    def node_inserted(self, node: Node) -> None:
        """A new node, and those in its subgraphs."""
        self.touched.append(node)
        for graph in node.subgraphs:
            self.freed.extend(graph.walk())

    def node_erased(self, node: Node) -> None:
        """What it read has a reader less; one that is left alone may be the single one that a pattern wants."""
        for value in node.inputs:
            if value is not None:
                if value.producer is not None:
                    self.freed.append(value.producer)
                if len(value._uses) == 2:
                    self.touched.extend([user for user, _position in value._uses if user is not node])

    def input_replaced(self, node: Node, index: int, old: Value | None, new: Value | None) -> None:
        """The reader, and what is left around the value that it read."""
        self.touched.append(node)
        if old is not None:
            if old.producer is not None:
                self.freed.append(old.producer)
            if len(old._uses) == 1:
                self.touched.extend([user for user, _position in old._uses])

    def attributes_changed(self, node: Node) -> None:
        """The node itself."""
        self.touched.append(node)

    def output_replaced(self, old: Value, new: Value) -> None:
        """Both producers; the old one may be free to be rewritten now."""
        if old.producer is not None:
            self.touched.append(old.producer)
        if new.producer is not None:
            self.freed.append(new.producer)

    def value_learned(self, value: Value) -> None:
        """The producer and the readers: these are as far from a root as the value is."""
        if value.producer is not None:
            self.touched.append(value.producer)
        self.touched.extend([user for user, _position in value._uses])

    def mark(self) -> tuple[int, int]:
        """A place to come back to with :meth:`forget_since`."""
        return len(self.touched), len(self.freed)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """Take out what was noted since a mark, of edits that were taken back."""
        del self.touched[mark[0] :], self.freed[mark[1] :]


class Worklist:
    """Nodes of a graph to look at, first in, first out.

    Args:
        graph: all its nodes, those of subgraphs too, are to be looked at.
        reach: by operator, how many nodes along a path decide whether a rule applies there.
        log: what is edited from now on.

    Attributes:
        nodes: how many the graph had.
    """

    __slots__ = ("_farthest", "_log", "_queue", "_reach", "_read", "_waiting", "nodes")

    def __init__(self, graph: Graph, reach: Mapping[str, int], log: EditLog) -> None:
        self._log = log
        self._read = log.mark()
        self._reach = reach
        self.nodes = 0
        self._queue: deque[Node] = deque()
        for node in graph.walk():
            self.nodes += 1
            if node.op in reach:
                self._queue.append(node)
        self._waiting = set(self._queue)
        #: How far rules reach at the operators that there are.
        self._farthest = max((reach[op] for op in {node.op for node in self._queue}), default=0)

    def pop(self) -> Node | None:
        """The next node to look at, ``None`` when there is none."""
        log, read = self._log, self._read
        if len(log.touched) != read[0] or len(log.freed) != read[1]:
            self._follow()
        while self._queue:
            node = self._queue.popleft()
            self._waiting.discard(node)
            if node.graph is not None and node.graph.owner is not None:  # nor inside of a node that is gone
                return node
        return None

    def _follow(self) -> None:
        """Push what was edited meanwhile, and what is above it as far as the rules there reach."""
        touched, freed = self._read
        layer = dict.fromkeys(self._log.touched[touched:])
        others = dict.fromkeys(self._log.freed[freed:])
        for op in {node.op for node in (*layer, *others)}:
            self._farthest = max(self._farthest, self._reach.get(op, 0))
        self._push(others, 0)
        self._read = self._log.mark()
        most, distance = _FEW + len(layer), 0
        while layer:
            self._push(layer, distance)
            distance += 1
            if distance >= self._farthest:
                return
            above: dict[Node, None] = {}
            for node in layer:
                for value in node.outputs:
                    for user, _position in value._uses:
                        above[user] = None
            layer = above
            if len(layer) > most:
                self._push(layer, 0)
                return

    def _push(self, nodes: Iterable[Node], distance: int) -> None:
        """Look at nodes, where a rule reaches farther than to a distance."""
        reach, waiting, queue = self._reach, self._waiting, self._queue
        for node in nodes:
            if reach.get(node.op, 0) > distance and node not in waiting:
                waiting.add(node)
                queue.append(node)


class Journal:
    """Keeps, from one run of some rules on a graph to the next, what they have not looked at.

    Example:
        >>> from graphopt.ir import GraphBuilder
        >>> b = GraphBuilder(opset=17)
        >>> _ = b.output(b.Neg(b.input("x")), "y")
        >>> journal = Journal()
        >>> journal.worklist(b.model.graph, (), {"Neg": 1}).pop().op_type
        'Neg'
        >>> journal.worklist(b.model.graph, (), {"Neg": 1}).pop() is None
        True
        >>> journal.close()
    """

    def __init__(self) -> None:
        self._logs: dict[GraphOwner, EditLog] = {}
        self._lists: dict[object, tuple[dict[str, int], Worklist]] = {}

    def worklist(self, graph: Graph, rules: object, reach: Mapping[str, int]) -> Worklist:
        """What some rules have not looked at since they last ran on a graph: all of it when they never did.

        Args:
            graph: the outermost graph of a model or function.
            rules: stand for themselves; when they can't be hashed nothing is kept.
            reach: as for :class:`Worklist`.
        """
        owner = graph.owner
        assert owner is not None, "a graph is rewritten inside a model or function"
        log = self._logs.get(owner)
        if log is None:
            log = self._logs[owner] = EditLog()
            owner.listeners.append(log)
        try:
            kept = self._lists.get((graph, rules))
        except TypeError:
            return Worklist(graph, reach, log)
        if kept is not None and kept[0] == owner.opset_imports:  # other rules may apply at another opset
            return kept[1]
        made = Worklist(graph, reach, log)
        self._lists[graph, rules] = dict(owner.opset_imports), made
        return made

    def log_of(self, graph: Graph) -> EditLog:
        """What was edited in a graph since a worklist was first asked for."""
        owner = graph.owner
        assert owner is not None, "a graph is rewritten inside a model or function"
        return self._logs[owner]

    def forget(self) -> None:
        """Have everything looked at again, after changes that nobody was told of."""
        self._lists.clear()

    def close(self) -> None:
        """Listen no longer."""
        for owner, log in self._logs.items():
            owner.listeners.remove(log)
        self._logs.clear()
        self._lists.clear()
