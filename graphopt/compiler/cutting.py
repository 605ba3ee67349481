"""Models in parts for two runtimes: the cut, and each region as a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from graphopt.analysis.partitioning import Partition, Region, partition
from graphopt.compiler.artifacts import builds_engines
from graphopt.compiler.environment import Environment
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import Optimized, OptimizeReport
from graphopt.errors import ModelError
from graphopt.ir import DType, Model, Node, SymbolicDim, TensorType, Value, clone_model
from graphopt.plugin_manager import PluginManager
from graphopt.verify.reduction.editing import erase

__all__ = ["Cut", "cut", "cut_optimized", "named_sizes", "part_of"]

_MOST_AXES: Final = 8
#: Element types that stay inside of an engine, or that it does not have.
_INNER_TYPES: Final = frozenset(
    dtype for dtype in DType if dtype.bits < 8 or dtype.name.startswith(("COMPLEX", "FLOAT8"))
)


@dataclass(frozen=True)
class Cut:
    """A model that was cut.

    Attributes:
        model: legalized for the target.
        target: name of the runtime of the first choice.
        partition: its regions.
        report: of the optimization before, if there was one.
    """

    model: Model
    target: str
    partition: Partition
    report: OptimizeReport | None = field(default=None, repr=False)

    def parts(self) -> list[Model]:
        """Each region as a model, in an order in which they can run; weights are shared, not copied."""
        return [part_of(self.model, region) for region in self.partition.regions]

    def again(self, environment: Environment, refused: Mapping[str, str]) -> Cut:
        """The cut when more nodes are not taken.

        Args:
            environment: has the backend.
            refused: why not, by the name of a value that a node gives.
        """
        return Cut(self.model, self.target, _partition(self.model, self.target, environment, refused), self.report)


def cut(
    source: object,
    *,
    target: str = "tensorrt",
    level: str = "O2",
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Cut:
    """Where a model would be cut between the runtime of a target and ONNX Runtime.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts.
        target: what takes as much as it can.
        level: what the model goes through before, a level or the text of a pipeline.
        progress: told what is going on.
        plugins: where backends come from.

    Raises:
        PipelineError: if target or level are unknown.
        ModelError: if the model is broken.
    """
    environment = Environment(plugins)
    found = optimize(
        source,
        target=target,
        pipeline=level,
        input_shapes=named_sizes(environment.lift(source), target, environment),
        check=False,
        progress=progress,
        plugins=environment.plugins,
    )
    return cut_optimized(found, target, environment)


def cut_optimized(found: Optimized, target: str, environment: Environment) -> Cut:
    """Where a model would be cut that was optimized for a target, with :func:`named_sizes` as the shapes of its inputs."""
    environment.context(environment.backend(target)).types.infer_model(found.model)
    return Cut(found.model, target, _partition(found.model, target, environment, {}), found.report)


def named_sizes(model: Model, target: str, environment: Environment) -> dict[str, tuple[int | str, ...]]:
    """Shapes of inputs with a name for each size that has none: what depends on them is then known by these names.

    Args:
        model: it; not changed.
        target: of the cut; only for engines sizes matter.
        environment: has the backend.
    """
    if not builds_engines(environment, target):
        return {}
    taken = {name for value in model.graph.inputs if isinstance(value.type, TensorType) for name in _symbols(value)}
    found: dict[str, tuple[int | str, ...]] = {}
    for value in model.graph.inputs:
        kind = value.type
        if value.is_constant or not isinstance(kind, TensorType) or kind.shape is None or None not in kind.shape:
            continue
        names = [size if isinstance(size, int) else str(size) for size in kind.shape]
        for axis, size in enumerate(kind.shape):
            if size is None:
                name = f"size_{len(found)}_{axis}"
                while name in taken:
                    name += "_"
                names[axis] = name
        found[value.name] = tuple(names)
    return found


def _symbols(value: Value) -> frozenset[str]:
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return frozenset().union(*(size.symbols() for size in shape or () if isinstance(size, SymbolicDim)))


def _partition(model: Model, target: str, environment: Environment, refused: Mapping[str, str]) -> Partition:
    supports = environment.backend(target).supports
    known = None
    if builds_engines(environment, target):
        known = frozenset().union(*(_symbols(value) for value in model.graph.inputs))

    def reason_against(node: Node) -> str | None:
        told = (refused[value.name] for value in node.outputs if value.name in refused)
        return next(told, None) or supports(node)

    return partition(model.graph, reason_against, border=lambda value: _why_not_handed(value, known))


def _why_not_handed(value: Value, known: frozenset[str] | None) -> str | None:
    """Why an engine can't be handed a value.

    Args:
        value: it.
        known: names of sizes that are stated when an engine is built; ``None`` when sizes do not matter.
    """
    kind = value.type
    if not isinstance(kind, TensorType):
        return f"it reads {value.name!r}, which is {kind or 'of no known type'} and no tensor"
    if known is None:
        return None
    if kind.dtype in _INNER_TYPES:
        return f"it reads {value.name!r} of {kind.dtype}, which an engine can't be handed"
    if kind.shape is None or len(kind.shape) > _MOST_AXES:
        return f"it reads {value.name!r}, which has an unknown number of axes, or more than {_MOST_AXES}"
    if None in kind.shape or not _symbols(value) <= known:
        return f"it reads {value.name!r} of {kind}, whose size depends on data"
    return None


def part_of(model: Model, region: Region) -> Model:
    """A region as a model: what it reads are inputs, what others read of it are outputs.

    Raises:
        ModelError: if the type of a value on the border is not known.
    """
    for value in (*region.inputs, *region.outputs):
        if value.type is None:
            raise ModelError(f"value {value.name!r} between two parts has no known type; cut elsewhere")
    kept = {value.name for node in region.nodes for value in node.outputs if value.name}
    copy = clone_model(model)
    graph = copy.graph
    for place in reversed(range(len(graph.outputs))):
        graph.remove_output(place)
    values = {value.name: value for value in graph.values()}
    for node in [node for node in graph.nodes if not any(value.name in kept for value in node.outputs)]:
        erase(graph, node)
    for old in region.inputs:
        value = values[old.name]
        value.type = old.type
        if not value.is_input:
            graph.add_input(value)
    for old in region.outputs:
        graph.add_output(values[old.name])
    wanted = {value.name for value in region.inputs}
    for value in list(graph.inputs):
        if value.name not in wanted and not value.is_used:
            if graph.has_initializer(value):
                graph.remove_initializer(value)
            graph.remove_input(value)
    for value in graph.initializers():
        if not value.is_used and not value.is_graph_output:
            graph.remove_initializer(value)
    return copy
