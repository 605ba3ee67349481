"""The core of attention: ``softmax(scale * Q @ K^T + mask) @ V``, found from its last product backwards.

The scale may stand on either factor, on both, or on the scores; masks are added, or chosen by Where; scores may be folded to rank 3 and
back on the way; float16 may be cast to float32 for the softmax alone; a guard against NaN (``Where(IsNaN(p), 0, p)``) may follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from graphopt.ir import DType, Node, Shape, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.fusion.attention.layouts import is_reshape, scalar, scaled

__all__ = ["Core", "Mask", "find_core"]

_MOST_STEPS: Final = 12
#: Scores that are replaced by a number below this have no weight, whatever they were: a float32 sum with it is that number.
_NO_WEIGHT: Final = -1e30


@dataclass(frozen=True, slots=True)
class Mask:
    """What is done to the scores.

    Attributes:
        value: what is added; or truth values that choose between scores and a filler.
        rank: of the scores that it meets.
        filler: the number that stands where scores do not stay, ``None`` for a sum.
        keep: whether scores stay where the truth values are true.
        scores: the shape of these scores.
        reshaped: whether they have another shape than the product of query and key.
        clamp: whether low numbers are raised to one that kernels do not take for the lowest.
    """

    value: Value
    rank: int
    filler: float | None = None
    keep: bool = True
    scores: Shape | None = None
    reshaped: bool = False
    clamp: bool = False


class _Inner(Protocol):
    """Gives producers of values that few read."""

    def __call__(self, value: Value, *, uses: int = 1) -> Node | None:
        """The producer of a value inside the core."""


@dataclass(slots=True)
class Core:
    """What was found.

    Attributes:
        product: the product with the values.
        query: left factor of the scores.
        key: right factor of the scores, transposed.
        value: right factor of the product.
        scale: of the scores, beyond what the factors have.
        masks: what is added to the scores, the last one first.
        guarded: whether NaN of the softmax become 0.
        nodes: all nodes between, the product first.
        softmax: the softmax.
        scores: the product of query and key.
    """

    product: Node
    query: Value
    key: Value
    value: Value
    softmax: Node
    scores: Value
    scale: float = 1.0
    masks: list[Mask] = field(default_factory=list)
    guarded: bool = False
    nodes: list[Node] = field(default_factory=list)


def find_core(product: Node) -> Core | NoMatch:
    """The core that ends in a product.

    Args:
        product: a MatMul.
    """
    weights, values = product.inputs[0], product.inputs[1]
    if weights is None or values is None or weights.producer is None or weights.is_constant:
        return NoMatch("the left factor is no softmax")
    nodes = [product]
    graph = product.graph

    def inner(value: Value, *, uses: int = 1) -> Node | None:
        """The producer of a value that nobody else reads."""
        node = value.producer
        if node is None or node.graph is not graph or value.is_graph_output or value.use_count != uses:
            return None
        return None if node.attributes and node.has_references else node

    softmax, guarded = _softmax(weights, inner, nodes)
    if isinstance(softmax, NoMatch):
        return softmax
    rank = softmax.output.rank
    if rank not in (3, 4) or softmax.int_attr("axis", -1) not in (-1, rank - 1):
        return NoMatch("softmax is over axis %s of rank %s", softmax.attr("axis"), rank)
    scores = softmax.inputs[0]
    if scores is None:
        return NoMatch("softmax has no input")
    chain = _Chain(inner)
    ends = chain.follow(scores, _MOST_STEPS)
    if isinstance(ends, NoMatch):
        return ends
    query, key = ends.inputs[0], ends.inputs[1]
    if query is None or key is None:
        return NoMatch("a factor is absent")
    nodes += chain.nodes
    return Core(product, query, key, values, softmax, ends.output, chain.scale, chain.masks, guarded, nodes)


def _softmax(weights: Value, inner: _Inner, nodes: list[Node]) -> tuple[Node | NoMatch, bool]:
    """The softmax behind foldings and a guard."""
    guarded = False
    value = weights
    for _ in range(5):
        node = inner(value, uses=2 if guarded and nodes[-1].op == "IsNaN" else 1)
        if node is None:
            return NoMatch("the weights have other readers, or are no softmax"), guarded
        nodes.append(node)
        source = node.inputs[0]
        if node.op == "Softmax":
            return node, guarded
        if source is not None and (_narrows(source, value) or (is_reshape(node) and _keeps_ends(source, value))):
            value = source
        elif node.op == "Where" and not guarded:
            tested = None if source is None else inner(source)
            if tested is None or tested.op != "IsNaN" or tested.inputs[0] is not node.inputs[2]:
                return NoMatch("Where is no guard against NaN"), guarded
            if scalar(node.inputs[1], value.rank) != 0.0 or node.inputs[2] is None:
                return NoMatch("the guard does not give 0"), guarded
            nodes.append(tested)
            guarded, value = True, node.inputs[2]
        else:
            break
    return NoMatch("the left factor is no softmax"), guarded


def _narrows(before: Value, after: Value) -> bool:
    """Whether the producer of a value casts float32 to float16."""
    cast = after.producer is not None and after.producer.op == "Cast"
    return cast and before.dtype is DType.FLOAT and after.dtype is DType.FLOAT16


def _keeps_ends(before: Value, after: Value) -> bool:
    """Whether a change of shape keeps the last two axes."""
    a, b = before.shape, after.shape
    return a is not None and b is not None and min(len(a), len(b)) >= 3 and all(map(same_dim, a[-2:], b[-2:]))


class _Chain:
    """What lies between the softmax and the product of query and key."""

    def __init__(self, inner: _Inner) -> None:
        self.inner = inner
        self.scale = 1.0
        self.masks: list[Mask] = []
        self.nodes: list[Node] = []

    def follow(self, value: Value, steps: int) -> Node | NoMatch:
        """The product that a value is made of; on the way scale and masks are collected."""
        node = self.inner(value)
        if node is None or not steps:
            return NoMatch("%r has other readers, or is no score", value.name)
        mark = len(self.nodes)
        self.nodes.append(node)
        if node.op == "MatMul":
            return node if value.rank in (3, 4) else NoMatch("scores have rank %s", value.rank)
        multiple = scaled(value)
        if multiple is not None:
            self.scale *= multiple[1]
            return self.follow(multiple[0], steps - 1)
        source = node.inputs[0] if node.inputs else None
        if node.op == "Cast" and source is not None and source.dtype is DType.FLOAT16 and value.dtype is DType.FLOAT:
            return self.follow(source, steps - 1)
        if is_reshape(node) and source is not None and _keeps_ends(source, value):
            self.masks = [replace(mask, reshaped=True) for mask in self.masks]
            return self.follow(source, steps - 1)
        if node.op not in ("Add", "Where") or self.scale != 1.0:
            return NoMatch("%s between the softmax and the scores", node.op)
        reason: NoMatch = NoMatch("%s adds no mask to scores", node.op)
        for place, mask in _masks(node, value.rank or 0):
            inside = node.inputs[place]
            if inside is None or inside.rank != value.rank:
                continue
            scale = self.scale
            before = list(self.masks)
            self.masks.append(replace(mask, scores=inside.shape))
            found = self.follow(inside, steps - 1)
            if isinstance(found, Node):
                return found
            reason, self.scale = found, scale
            self.masks = before
            del self.nodes[mark + 1 :]
        return reason


def _masks(node: Node, rank: int) -> list[tuple[int, Mask]]:
    """Positions of what may be the scores, each with the mask that it then has."""
    inputs = node.inputs
    if node.op == "Add":
        return [(place, Mask(mask, rank)) for place in (0, 1) if (mask := inputs[1 - place]) is not None]
    found: list[tuple[int, Mask]] = []
    condition = inputs[0]
    for place in (1, 2):
        number = _filler(inputs[3 - place], rank)
        if condition is not None and number is not None and number <= _NO_WEIGHT:
            found.append((place, Mask(condition, rank, number, keep=place == 1)))
    return found


def _filler(value: Value | None, rank: int) -> float | None:
    """A single number, which may be infinite."""
    if value is None or not value.is_constant or value.const is None or value.const.size != 1:
        return None
    return float(value.const.numpy().reshape(())) if len(value.const.shape) <= rank else None
