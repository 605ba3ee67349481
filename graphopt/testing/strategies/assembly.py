"""Makes a model of a grown graph: how inputs are declared, what is given out, what files have around that, and inputs to run on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from graphopt.errors import ExecutionError
from graphopt.ir import Array
from graphopt.runtime.base import Runner
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.runtime.reference_runner import ReferenceRunner
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.plugin_operators import plugin_operator
from graphopt.testing.strategies.scope import Scope, dtype_of
from graphopt.testing.strategies.traps import may_trap

__all__ = ["Style", "accepted_feeds", "assemble"]

#: Of tensors without elements, ONNX Runtime's give back other shapes than they say or memory that they never wrote, fail,
#: or end the process.
_NOT_OF_NOTHING: Final = (
    "Reduce",
    "Arg",
    "MatMul",
    "Gemm",
    "Softmax",
    "LogSoftmax",
    "Hardmax",
    "Concat",
    "Conv",
    "Resize",
    "Upsample",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "Global",
    "Normalization",
    "Einsum",
    "CumSum",
    "TopK",
    "Unique",
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
)
_SYMBOLS: Final = ("N", "M", "batch", "unk__0", "x0#0", "a b")
_SIZES: Final = (1, 2, 3, 4, 5, 0)
_FEEDS: Final = 3


@dataclass(frozen=True, slots=True)
class Style:
    """What a model may have around its nodes.

    Attributes:
        symbolic: inputs of symbolic or unknown sizes.
        outputs: values that are given out besides those that nobody reads, and in any order.
        overridable: constants that are listed as inputs.
        statements: types of inner values stated in the file.
        keep: values that must be given out.
    """

    symbolic: bool = True
    outputs: bool = True
    overridable: bool = True
    statements: bool = True
    keep: tuple[str, ...] = ()


@dataclass
class _Input:
    """A graph input: the numbers that the graph grew on, and how it is declared."""

    name: str
    array: Array
    dims: list[int | str | None]

    def info(self) -> ValueInfoProto:
        return helper.make_tensor_value_info(self.name, dtype_of(self.array), self.dims)

    def drawn(self, choices: Choices, sizes: Mapping[str, int], *, wild: bool, low: int) -> Array:
        shape: list[int] = []
        for axis, size in enumerate(self.array.shape):
            dim = self.dims[axis]
            if isinstance(dim, str):
                size = sizes[dim]
            elif dim is None and choices.chance(0.4):
                size = max(low, choices.of(_SIZES))
            shape.append(size)
        return draw_array(choices, dtype_of(self.array), shape, wild=wild)


def assemble(
    scope: Scope, style: Style | None = None, *, tags: Sequence[str] = (), sites: Sequence[str] = ()
) -> GeneratedModel | None:
    """The model of a scope, ``None`` when ONNX's checker or ONNX Runtime refuses it as a whole.

    Args:
        scope: of the main graph.
        style: what may stand around the nodes.
        tags: for the result.
        sites: for the result.
    """
    style = style or Style()
    choices, world = scope.choices, scope.world
    inputs = [_Input(name, array, _dims(choices, array, style)) for name, array in world.inputs.items()]
    ir_version = _ir_version(scope)
    overridable = _overridable(scope, style, ir_version)
    outputs = _outputs(scope, style)
    if not outputs:
        return None
    graph = scope.graph("generated", [item.info() for item in [*inputs, *overridable]], outputs)
    if style.overridable and choices.chance(0.1):
        graph.input.insert(0, helper.make_tensor_value_info("unused_input", 1, ["N", 2]))
        inputs.insert(0, _Input("unused_input", np.zeros((1, 2), np.float32), [None, 2]))
    if style.statements:
        _state(scope, graph.value_info)
    model = helper.make_model(
        graph, opset_imports=world.opset_imports, ir_version=ir_version, functions=list(world.functions.values())
    )
    feeds = accepted_feeds(model, _feeds(scope, inputs, overridable if ir_version >= 4 else []))
    if feeds is None:
        return None
    found = frozenset((*tags, *(["wild"] if world.wild else [])))
    return GeneratedModel(model, tuple(feeds), found, tuple(sites), refused=world.refused)


def _ir_version(scope: Scope) -> int:
    choices, world = scope.choices, scope.world
    if world.functions:
        return choices.of((8, 9, 10))
    if world.opset <= 9 and choices.chance(0.25):
        return 3
    return choices.of((8, 10, 7, 9, 6, 5, 4))


def _dims(choices: Choices, array: Array, style: Style) -> list[int | str | None]:
    shape = array.shape
    if not style.symbolic or choices.chance(0.5):
        return list(shape)
    if choices.chance(0.1):
        return [None] * len(shape)
    return [choices.of((size, size, _symbol(choices, size), None)) for size in shape]


def _symbol(choices: Choices, size: int) -> str:
    """A name that stands for one size, so that inputs that share it agree."""
    return _SYMBOLS[size] if choices.chance(0.7) and size < len(_SYMBOLS) else f"s{size}"


def _overridable(scope: Scope, style: Style, ir_version: int) -> list[_Input]:
    """Constants that are listed as inputs: all before IR version 4, some later, where callers may override them."""
    choices = scope.choices
    often = style.overridable and choices.chance(0.2)
    return [
        _Input(name, array, list(array.shape))
        for name, array in scope.initializers.items()
        if ir_version < 4 or (often and choices.chance(0.3))
    ]


def _outputs(scope: Scope, style: Style) -> list[ValueInfoProto]:
    choices = scope.choices
    read = {name for node in scope.nodes for name in node.input}
    computed = [name for name in scope.own if name not in scope.constants]
    leaves = [name for name in computed if name not in read]
    chosen = [*leaves, *style.keep]
    if style.outputs:
        dropped = choices.some(leaves, 0, len(leaves) // 2) if choices.chance(0.3) else []
        chosen = [name for name in chosen if name not in dropped or name in style.keep]
        if choices.chance(0.4):
            chosen += choices.some(computed, 0, 2)
        if choices.chance(0.06):
            chosen += list(scope.world.inputs)[:1]
        if choices.chance(0.06):
            chosen += list(scope.initializers)[:1]
    chosen = list(dict.fromkeys(name for name in chosen if name in scope.arrays))
    chosen = chosen or computed[-1:]
    if style.outputs and choices.chance(0.3):
        chosen = choices.shuffled(chosen)
    return [_declared(scope, name) for name in chosen]


def _declared(scope: Scope, name: str) -> ValueInfoProto:
    """An output's declaration: of a rank, or of names that stand for nothing."""
    array = scope.arrays[name]
    named = scope.choices.chance(0.25)
    dims = [f"d{name}{axis}" if named else None for axis in range(array.ndim)]
    return helper.make_tensor_value_info(name, dtype_of(array), dims)


def _state(scope: Scope, infos: Any) -> None:  # noqa: ANN401 - a repeated field of a message has no public type
    """Statements about inner values: right for one size only, as files have them after their inputs were made dynamic."""
    choices = scope.choices
    if not choices.chance(0.35):
        return
    for name in scope.own:
        if name not in scope.initializers and choices.chance(0.4):
            infos.append(scope.info(name, shaped=choices.chance(0.3)))


def _feeds(scope: Scope, inputs: Sequence[_Input], overridable: Sequence[_Input]) -> list[dict[str, Array]]:
    """The inputs that the graph grew on, then others, of other sizes where the declarations leave them open."""
    choices, wild = scope.choices, scope.world.wild
    feeds: list[dict[str, Array]] = [{item.name: item.array for item in inputs}]
    nothing = any(part in node.op_type for node in _with_branches(scope.nodes) for part in _NOT_OF_NOTHING)
    symbols = sorted({dim for item in inputs for dim in item.dims if isinstance(dim, str)})
    for _ in range(_FEEDS):
        sizes = {name: max(int(nothing), choices.of(_SIZES)) for name in symbols}
        drawn = {item.name: item.drawn(choices, sizes, wild=wild, low=int(nothing)) for item in inputs}
        for item in overridable:
            if choices.chance(0.6):
                drawn[item.name] = item.drawn(choices, {}, wild=wild, low=int(nothing))
        feeds.append(drawn)
    return feeds


def _with_branches(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for item in node.attribute:
            yield from _with_branches(item.g.node)


def accepted_feeds(model: ModelProto, feeds: Sequence[dict[str, Array]]) -> list[dict[str, Array]] | None:
    """Inputs on which a model runs, twice with the same result; ``None`` when it is not valid or does not run on the first ones."""
    if may_trap(model, feeds):
        return None
    try:
        onnx.checker.check_model(model)
        runner = _runner(model)
    except (ExecutionError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    kept = [item for item in feeds if _is_steady(runner, item)]
    return kept if kept and kept[0] is feeds[0] else None


def _runner(model: ModelProto) -> Runner:
    """ONNX Runtime; the reference evaluator where operators of plugins are among the nodes."""
    own = {function.domain for function in model.functions}
    foreign = {op for op in _foreign(model.graph) if op.partition("::")[0] not in own}
    kernels = {op: definition.kernel for op in foreign if (definition := plugin_operator(op)) and definition.kernel}
    return ReferenceRunner(model, kernels=kernels) if kernels else OrtRunner(model, threads=1)


def _foreign(graph: GraphProto) -> set[str]:
    """Operators outside of the default domain."""
    found = {f"{node.domain}::{node.op_type}" for node in graph.node if node.domain}
    return found.union(*(_foreign(item.g) for node in graph.node for item in node.attribute if item.HasField("g")))


def _is_steady(runner: Runner, feeds: Mapping[str, Array]) -> bool:
    """Whether the model runs and gives the same twice: some kernels give back memory that they never wrote."""
    try:
        first = runner.run(feeds)
        other_memory = [np.full(size, 7.25) for size in (1, 16, 256)]
        again = runner.run(feeds)
    except ExecutionError:
        return False
    del other_memory
    return all(_same(value, again[name]) for name, value in first.items())


def _same(a: object, b: object) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return True
    if a.dtype == object:
        return a.shape == b.shape and bool((a == b).all())
    return a.shape == b.shape and a.tobytes() == b.tobytes()
