"""What an input must look like for a model to accept it and do something with it, found by following it to where it is used.

A value is followed through operators that only move, copy or convert its elements, and its axes through those that keep them. Where it
arrives tells: a Gather says how large indices may be, a convolution how many channels there are, a Loop that this is a trip count.
All of it is advice; whether inputs are right is for the original model to say, by running on them.

Handles models of any size: each input is followed for a bounded number of steps.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from graphopt.ir import Constant, DType, Graph, Model, Node, TensorType, Type, Value
from graphopt.transforms.input_sizes import Limits
from graphopt.verify.following import Followed, Use
from graphopt.verify.uses import USES

__all__ = ["InputHint", "ModelHints", "Role", "model_hints"]

#: What the elements of an input mean. ``any``: numbers that nothing is known about.
Role = Literal[
    "any",
    "index",
    "mask",
    "count",
    "size",
    "axes",
    "zero",
    "far",
    "position",
    "target_shape",
    "scale",
    "positive",
    "unit",
]

_STEPS: Final = 400
#: Where sizes are read, or joined to what is read.
_SHAPE_PLACES: Final = {"Reshape": slice(1, 2), "Expand": slice(1, 2), "Concat": slice(None), "Unsqueeze": slice(1)}
_LONGEST_SHAPE: Final = 8
_LARGEST_SIZE: Final = 4096
_MOST_BAKED: Final = 8
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"}
)


@dataclass(frozen=True, slots=True)
class InputHint:
    """Advice on one input.

    Attributes:
        name: of the input.
        type: as the model declares it.
        role: what its elements mean.
        low: smallest element that makes sense, ``None`` when nothing is known.
        high: largest one.
        landmarks: numbers that it is compared with.
        texts: strings that the model knows.
        axes: sizes that an axis must have, by axis; several when uses disagree.
        least: smallest size that an axis may have, by axis.
        default: what it is when nobody feeds it.
    """

    name: str
    type: Type | None
    role: Role = "any"
    low: int | None = None
    high: int | None = None
    landmarks: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    least: Mapping[int, int] = field(default_factory=dict)
    default: Constant | None = None


@dataclass(frozen=True, slots=True)
class ModelHints:
    """Advice on the inputs of a model.

    Attributes:
        inputs: one for each input that must be fed, then one for each that has a default.
        narrowest: coarsest floating-point type that the model computes in, ``None`` when there is none.
        random: whether an operator draws random numbers.
        constant_bytes: size of its constants.
        baked: sizes that the model reshapes to, the most frequent first: a model that was traced with one size may run with no other.
        limits: smallest and largest size by dimension, where a user states them; an axis without a name is called ``input.axis``.
    """

    inputs: tuple[InputHint, ...]
    narrowest: DType | None = None
    random: bool = False
    constant_bytes: int = 0
    baked: tuple[int, ...] = ()
    limits: Limits = field(default_factory=dict)

    def of(self, name: str) -> InputHint | None:
        """The advice on one input."""
        return next((hint for hint in self.inputs if hint.name == name), None)


def model_hints(model: Model) -> ModelHints:
    """Advice on the inputs of a model, which is not changed. Take it before passes edit the model.

    Example:
        >>> import numpy as np
        >>> from graphopt.ir import GraphBuilder
        >>> b = GraphBuilder()
        >>> ids = b.input("ids", DType.INT64, ["batch", "seq"])
        >>> b.output(b.Gather(np.zeros((30, 4), np.float32), ids), "y")
        Value(%y: None)
        >>> hint, = model_hints(b.build()).inputs
        >>> hint.role, hint.low, hint.high
        ('index', 0, 29)
    """
    required: list[InputHint] = []
    optional: list[InputHint] = []
    for value in model.graph.inputs:
        if value.is_constant:
            continue
        hint = _follow(model, value)
        if value.const is None:
            required.append(hint)
        else:
            optional.append(replace(hint, default=value.const))
    narrowest, random = _survey(model)
    return ModelHints((*required, *optional), narrowest, random, model.constant_bytes, _baked_sizes(model))


def _follow(model: Model, start: Value) -> InputHint:
    rank = start.rank
    use = Use()
    todo = deque([Followed(start, tuple(range(rank)) if rank is not None else None, same_elements=True)])
    seen = {start}
    steps = 0
    while todo and steps < _STEPS:
        steps += 1
        here = todo.popleft()
        for node, position in here.value.uses:
            if node.has_references:  # how it uses the value is up to each call of the function
                continue
            handle = USES.get(node.op)
            found = (
                list(handle(node, position, here, use)) if handle is not None else _enter(model, node, position, here)
            )
            for following in found:
                if following.value not in seen:
                    seen.add(following.value)
                    todo.append(following)
    return InputHint(
        start.name,
        start.type,
        use.role,
        use.low,
        use.high,
        tuple(use.landmarks),
        tuple(use.texts),
        {axis: tuple(sizes) for axis, sizes in use.axes.items()},
        dict(use.least),
    )


def _enter(model: Model, node: Node, position: int, here: Followed) -> list[Followed]:
    """Into the body of a function."""
    function = model.function_of(node.domain, node.op_type, node.overload)
    if function is None or position >= len(function.graph.inputs):
        return []
    return [replace(here, value=function.graph.inputs[position])]


def _survey(model: Model) -> tuple[DType | None, bool]:
    """The coarsest floating-point type, and whether anything is random."""
    found: set[DType] = set()
    random = False
    for graph in model.graphs():
        found.update(_declared(graph))
        for node in graph.nodes:
            op_type = node.op_type
            if op_type in _RANDOM:
                random = random or op_type != "Dropout" or node.input_at(2) is not None
            elif op_type == "Cast" and not node.has_references:
                found.add(DType(node.int_attr("to", 0)))
    floats = [dtype for dtype in found if dtype.is_float and dtype.bits >= 16]
    return min(floats, key=_digits, default=None), random


def _baked_sizes(model: Model) -> tuple[int, ...]:
    """Sizes in constant targets of Reshape and Expand, and in what such targets are joined of."""
    found: Counter[int] = Counter()
    for graph in model.graphs():
        for node in graph.nodes:
            for value in node.inputs[_SHAPE_PLACES[node.op]] if node.op in _SHAPE_PLACES else ():
                constant = _constant_of(value)
                if constant is not None and constant.dtype is DType.INT64 and constant.size <= _LONGEST_SHAPE:
                    found.update(
                        int(size) for size in constant.numpy().reshape(-1).tolist() if 1 < size <= _LARGEST_SIZE
                    )
    return tuple(size for size, _count in found.most_common(_MOST_BAKED))


def _constant_of(value: Value | None) -> Constant | None:
    if value is None or value.is_constant:
        return None if value is None else value.const
    if value.producer is not None and value.producer.op == "Constant":
        stated = value.producer.attrs.get("value")
        return stated if isinstance(stated, Constant) else None
    return None


def _declared(graph: Graph) -> set[DType]:
    values = (*graph.inputs, *graph.outputs, *graph.initializers())
    return {value.type.dtype for value in values if isinstance(value.type, TensorType)}


def _digits(dtype: DType) -> int:
    return {DType.BFLOAT16: 7, DType.FLOAT16: 10, DType.FLOAT: 23}.get(dtype, 52)
