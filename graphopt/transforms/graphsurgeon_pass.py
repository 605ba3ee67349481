"""Passes made of onnx-graphsurgeon scripts: any function ``gs.Graph -> gs.Graph`` becomes a pass.

The model goes through graphsurgeon as a whole, weights included, so this is for scripts that exist, not for new passes: lineage ends
there, and what ``gs.Graph`` can't hold is refused. A function that changes nothing leaves the model untouched.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from graphopt.errors import PassError
from graphopt.ir import Graph, Model, Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.serde.graphsurgeon import from_graphsurgeon as lift
from graphopt.serde.graphsurgeon import is_graphsurgeon, to_graphsurgeon

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    #: Edits a graph in place (and may return nothing) or gives another one.
    Script = Callable[[gs.Graph], gs.Graph | None]

__all__ = ["GraphSurgeonPass", "from_graphsurgeon"]


@dataclass(frozen=True)
class GraphSurgeonPass(Pass):
    """Runs a function of onnx-graphsurgeon on the model; made by :func:`from_graphsurgeon`."""

    per_function: ClassVar[bool] = False
    needs_types: ClassVar[bool] = False

    @staticmethod
    @abc.abstractmethod
    def script(graph: gs.Graph) -> gs.Graph | None:
        """The function."""

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Convert the model, run the function, and take over what it made.

        Raises:
            PassError: if the function gives back something else than a graph.
            ModelError: if graphsurgeon can't hold the model, or can't export the result.
        """
        import onnx_graphsurgeon as gs  # lazily: only this pass needs it

        model = cast(Model, graph.owner)
        before = to_graphsurgeon(model)
        unchanged = gs.export_onnx(before, do_type_check=False)
        found = self.script(before)
        result = before if found is None else found
        if not is_graphsurgeon(result):
            raise PassError(
                f"pass {self.name!r}: its function gives a {type(result).__name__}, expected a gs.Graph or None"
            )
        made = lift(result, like=model)
        if unchanged == gs.export_onnx(result, do_type_check=False):
            return PassResult(changed=False)
        _take_over(model, made)
        return PassResult(changed=True, stats={"nodes": len(graph.nodes)})


def from_graphsurgeon(function: Script, *, name: str = "", numerics: Numerics | None = None) -> type[GraphSurgeonPass]:
    """A pass class that runs a function of onnx-graphsurgeon.

    Args:
        function: takes a ``gs.Graph``; gives one back, or edits it and gives ``None``.
        name: kebab-case name of the pass, that of the function by default.
        numerics: what the function does to numbers, ``Exact()`` by default: it is then held to the same bits.

    Example:
        >>> def tidy(graph):
        ...     return graph.cleanup().toposort()
        >>> from_graphsurgeon(tidy)().name
        'tidy'
    """
    title = name or getattr(function, "__name__", "graphsurgeon").strip("_").replace("_", "-")
    members = {
        "__doc__": (function.__doc__ or f"Runs the graphsurgeon function {title!r}.").strip(),
        "__module__": getattr(function, "__module__", __name__),
        "name": title,
        "numerics": numerics or Exact(),
        "script": staticmethod(function),
    }
    return dataclass(frozen=True)(
        type("".join(part.title() for part in title.split("-")), (GraphSurgeonPass,), members)
    )


def _take_over(model: Model, made: Model) -> None:
    """Let a model have the contents of another one; it stays the same object, and so does its graph."""
    _empty(model.graph)
    graph, new = model.graph, made.graph
    outputs, initializers, inputs = list(new.outputs), new.initializers(), list(new.inputs)
    for index in reversed(range(len(outputs))):
        new.remove_output(index)
    for value in inputs:
        graph.add_input(value)
    for value in initializers:
        graph.add_initializer(value)
    end = graph.append(Node("Identity"))
    for node in new.nodes:
        graph.move_before(end, node)
    graph.erase(end)
    for value in outputs:
        graph.add_output(value)
    graph.name, graph.doc, graph.metadata, graph.origin = new.name, new.doc, new.metadata, new.origin
    model.opset_imports.clear()
    model.opset_imports.update(made.opset_imports)
    model.functions.clear()
    model.functions.update(made.functions)
    model.names, model.origin = made.names, made.origin
    model.producer_name, model.producer_version = made.producer_name, made.producer_version


def _empty(graph: Graph) -> None:
    for index in reversed(range(len(graph.outputs))):
        graph.remove_output(index)
    for node in reversed(graph.nodes):
        graph.erase(node)
    for value in graph.initializers():
        graph.remove_initializer(value)
    for value in list[Value](graph.inputs):
        graph.remove_input(value)
