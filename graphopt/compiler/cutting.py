"""Models in parts for two runtimes: the cut, and each region as a model of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphopt.analysis.partitioning import Partition, Region, partition
from graphopt.compiler.environment import Environment
from graphopt.compiler.optimizing import optimize
from graphopt.errors import ModelError
from graphopt.ir import Model, TensorType, clone_model
from graphopt.plugin_manager import PluginManager
from graphopt.verify.reduction.editing import erase

__all__ = ["Cut", "cut", "part_of"]


@dataclass(frozen=True)
class Cut:
    """A model that was cut.

    Attributes:
        model: legalized for the target.
        target: name of the runtime of the first choice.
        partition: its regions.
    """

    model: Model
    target: str
    partition: Partition

    def parts(self) -> list[Model]:
        """Each region as a model, in an order in which they can run; weights are shared, not copied."""
        return [part_of(self.model, region) for region in self.partition.regions]


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
        level: what the model goes through before.
        progress: told what is going on.
        plugins: where backends come from.

    Raises:
        PipelineError: if target or level are unknown.
        ModelError: if the model is broken.
    """
    environment = Environment(plugins)
    backend = environment.backend(target)
    found = optimize(source, target=target, level=level, check=False, progress=progress, plugins=environment.plugins)
    environment.context(backend).types.infer_model(found.model)
    return Cut(found.model, target, partition(found.model.graph, backend.supports))


def part_of(model: Model, region: Region) -> Model:
    """A region as a model: what it reads are inputs, what others read of it are outputs.

    Raises:
        ModelError: if the type of a value on the border is not known.
    """
    for value in (*region.inputs, *region.outputs):
        if not isinstance(value.type, TensorType):
            raise ModelError(
                f"value {value.name!r} between two parts is {value.type}, expected a tensor; cut elsewhere"
            )
    kept = {node.outputs[0].name for node in region.nodes}
    copy = clone_model(model)
    graph = copy.graph
    for place in reversed(range(len(graph.outputs))):
        graph.remove_output(place)
    values = {value.name: value for value in graph.values()}
    for node in [node for node in graph.nodes if node.outputs[0].name not in kept]:
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
