"""Generated models: inputs of all kinds, a grown graph, outputs of all kinds, and what files in the wild look like around that."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from graphopt.ir import Array
from tests.generated.numbers import DTYPES, dtype_number, tensor
from tests.generated.scope import Scope, World, tensor_proto
from tests.generated.straight import grow

__all__ = ["Generated", "generate"]

_FAMILIES = ("elementwise", "movement", "shapes", "linear", "control flow", "")
#: Of tensors without elements, ONNX Runtime's give back other shapes than they say or memory that they never wrote, or fail.
_NOT_OF_NOTHING = (
    "Reduce",
    "Arg",
    "MatMul",
    "Gemm",
    "Softmax",
    "LogSoftmax",
    "Concat",
    "Conv",
    "Resize",
    "Upsample",
    "MaxPool",
    "AveragePool",
)
_SYMBOLS = ("N", "M", "batch", "unk__0", "x0#0", "a b")


@dataclass(frozen=True)
class Generated:
    """A model with inputs for it.

    Attributes:
        model: the model.
        feeds: inputs on which it should run, of several sizes.
        wild: whether numbers are extreme, so that only exact rewrites can be judged.
        tried: nodes that were tried out to make it.
    """

    model: ModelProto
    feeds: list[dict[str, Array]]
    wild: bool
    tried: int


@dataclass
class _Input:
    """A graph input: one size for the growth, and how it is declared."""

    name: str
    array: Array
    dims: list[int | str | None] | None

    def info(self) -> ValueInfoProto:
        return helper.make_tensor_value_info(self.name, dtype_number(self.array), self.dims)

    def drawn(self, rng: random.Random, sizes: Mapping[str, int], *, wild: bool, resize: bool, low: int = 0) -> Array:
        shape: list[int] = []
        for axis, size in enumerate(self.array.shape):
            dim = None if self.dims is None else self.dims[axis]
            if isinstance(dim, str):
                size = sizes.get(dim, size)
            elif dim is None and resize:
                size = max(low, rng.choice((0, 1, 1, 2, 3, size)))
            shape.append(size)
        return tensor(rng, dtype_number(self.array), shape, wild=wild)


def generate(seed: int) -> Generated:
    """The model of a seed: the same one every time."""
    rng = random.Random(seed)
    world = World(
        rng,
        opset=rng.choice((7, 8, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 19, 20, 21, 21, 22, 23, 24)),
        wild=rng.random() < 0.5,
    )
    scope = Scope(world)
    inputs = [_input(scope, index) for index in range(rng.randint(1, 3))]
    world.static = all(item.dims is not None and all(isinstance(dim, int) for dim in item.dims) for item in inputs)
    grow(scope, rng.choice((3, 5, 8, 12, 18)), nested=rng.random() < 0.35, favourite=rng.choice(_FAMILIES))
    return _assemble(scope, inputs)


def _input(scope: Scope, index: int) -> _Input:
    rng = scope.world.rng
    (number,) = rng.choices(list(DTYPES), list(DTYPES.values()))
    rank = rng.choice((0, 1, 2, 2, 3, 3, 4, 4, 5))
    shape = tuple(rng.choice((1, 1, 2, 2, 3, 4, 3, 2, 0) if rng.random() < 0.5 else (1, 2, 3)) for _ in range(rank))
    array = tensor(rng, number, shape, wild=scope.world.wild)
    kind = rng.random()
    dims: list[int | str | None] | None
    if kind < 0.4:
        dims = list(shape)
    elif kind < 0.9:
        dims = [rng.choice((size, size, _symbol(rng, size), None)) for size in shape]
    else:
        dims = None if rng.random() < 0.5 else [None] * rank
    name = f"x{index}"
    scope.arrays[name] = array
    return _Input(name, array, dims)


def _symbol(rng: random.Random, size: int) -> str:
    """A name that stands for one size, so that inputs that share it agree."""
    return f"{_SYMBOLS[size % len(_SYMBOLS)]}" if rng.random() < 0.7 else f"s{size}"


def _assemble(scope: Scope, inputs: list[_Input]) -> Generated:
    rng, world = scope.world.rng, scope.world
    ir_version = rng.choice((4, 5, 6, 7, 8, 9, 10)) if not world.functions else rng.choice((8, 9, 10))
    if world.opset <= 9 and not world.functions and rng.random() < 0.3:
        ir_version = 3
    overridable = _overridable(scope, inputs, ir_version)
    outputs = _outputs(scope)
    graph = helper.make_graph(
        scope.nodes,
        "generated",
        [item.info() for item in inputs],
        outputs,
        [tensor_proto(array, name) for name, array in scope.initializers.items()],
    )
    graph.input.extend(item.info() for item in overridable)
    if rng.random() < 0.2:
        graph.input.insert(0, helper.make_tensor_value_info("unused_input", 1, ["N", 2]))
        inputs = [*inputs, _Input("unused_input", np.zeros((1, 2), np.float32), [None, 2])]
    _state(scope, graph.value_info)
    imports = [helper.make_opsetid("", world.opset)]
    if world.functions or rng.random() < 0.1:
        imports.append(helper.make_opsetid("local", 1))
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir_version, functions=world.functions.values())
    return Generated(model, _feeds(scope, inputs, overridable if ir_version >= 4 else []), world.wild, world.tried)


def _overridable(scope: Scope, inputs: list[_Input], ir_version: int) -> list[_Input]:
    """Constants that are listed as inputs: all before IR version 4, some later, where callers may override them."""
    rng = scope.world.rng
    found = []
    often = rng.random() < 0.25
    for name, array in scope.initializers.items():
        if ir_version < 4 or (often and rng.random() < 0.3):
            dims: list[int | str | None] = [
                size if rng.random() < 0.7 or ir_version < 4 else None for size in array.shape
            ]
            found.append(_Input(name, array, dims))
    return found


def _outputs(scope: Scope) -> list[ValueInfoProto]:
    rng = scope.world.rng
    read = {name for node in scope.nodes for name in node.input}
    computed = [name for name in scope.own if name not in scope.initializers]
    leaves = [name for name in computed if name not in read]
    chosen = [name for name in leaves if rng.random() < 0.8] or computed[-1:]
    chosen += [name for name in computed if rng.random() < 0.1]
    if rng.random() < 0.08:
        chosen += [name for name in scope.arrays if name.startswith("x") and name[1:].isdigit()][:1]
    if rng.random() < 0.08:
        chosen += list(scope.initializers)[:1]
    chosen = list(dict.fromkeys(chosen))
    if rng.random() < 0.03:
        chosen += chosen[:1]
    rng.shuffle(chosen)
    return [_declared(scope, name) for name in chosen]


def _declared(scope: Scope, name: str) -> ValueInfoProto:
    """An output's declaration: of no shape, of a rank, of names that stand for nothing."""
    rng = scope.world.rng
    array = scope.arrays[name]
    kind = rng.random()
    dims: list[int | str | None] | None = None
    if kind < 0.3:
        dims = [None] * array.ndim
    elif kind < 0.4:
        dims = [f"d{name}{axis}" for axis in range(array.ndim)]
    return helper.make_tensor_value_info(name, dtype_number(array), dims)


def _state(scope: Scope, infos: object) -> None:
    """Statements about inner values: right for one size only, as files have them after their inputs were made dynamic."""
    rng = scope.world.rng
    if rng.random() < 0.6:
        return
    for name in scope.own:
        if name not in scope.initializers and rng.random() < 0.4:
            infos.append(scope.info(name, shaped=rng.random() < 0.3))  # type: ignore[attr-defined]


def _feeds(scope: Scope, inputs: list[_Input], overridable: list[_Input]) -> list[dict[str, Array]]:
    rng, wild = scope.world.rng, scope.world.wild
    first = {item.name: item.array for item in inputs}
    feeds = [first]
    reduces = any(node.op_type.startswith(_NOT_OF_NOTHING) for node in scope.nodes)
    for attempt in range(4):
        sizes = {name: rng.choice((0, 1, 1, 2, 3, 4, 5)) for name in (*_SYMBOLS, *[f"s{size}" for size in range(6)])}
        resize = attempt > 0
        if reduces:
            sizes = {name: size or 1 for name, size in sizes.items()}
        drawn = {
            item.name: item.drawn(
                rng,
                sizes if resize else {},
                wild=wild and not (reduces and item.array.dtype == np.int64),
                resize=resize,
                low=int(reduces),
            )
            for item in inputs
        }
        for item in overridable:
            if rng.random() < 0.6:
                drawn[item.name] = item.drawn(rng, {}, wild=wild, resize=resize and rng.random() < 0.5)
        feeds.append(drawn)
    return feeds
