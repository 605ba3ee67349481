"""The pass that fixes, names or bounds the sizes of a model's inputs, as a user states them.

What is stated goes into the types of inputs and outputs; everything else about shapes is inferred again, since what a file says of inner
values was true for the sizes it was made with. Statements: see :mod:`graphopt.transforms.input_sizes`. Exact: the same numbers for inputs
of the stated sizes; others are refused from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

from graphopt.errors import PipelineError
from graphopt.ir import Dim, Graph, Model, OptionalType, SequenceType, SymbolicDim, TensorType, Type
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.serde.origins import GraphOrigin
from graphopt.transforms.input_sizes import InputSizes, Limits, Size
from graphopt.transforms.resolved_sizes import Resolved, resolve

__all__ = ["SetInputShapes", "set_input_shapes"]


@dataclass(frozen=True)
class SetInputShapes(Pass):
    """Fix, name or bound the sizes of a model's inputs. Exact for inputs of the stated sizes; touches no weights; needs no types.

    Attributes:
        shapes: by input, a size for each axis: a number, the name of a dimension, or a range ``"1..512"``.
        dims: by name of a dimension, a number or a range.
    """

    name: ClassVar[str] = "set-input-shapes"
    per_function: ClassVar[bool] = False
    needs_types: ClassVar[bool] = False
    shapes: dict[str, tuple[Size, ...]] = field(default_factory=dict)
    dims: dict[str, Size] = field(default_factory=dict)

    @property
    def sizes(self) -> InputSizes:
        """What is stated."""
        return InputSizes(self.shapes, self.dims)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Put the sizes into the model.

        Raises:
            PipelineError: if a statement does not fit the model or another one.
        """
        if not self.sizes or not ctx.applications.admits(self.name, ""):
            return PassResult(changed=False)
        model = cast(Model, graph.owner)
        resolved = resolve(self.sizes, model)
        changed = _apply(resolved, model)
        if changed or resolved.limits:
            ctx.typed = None
        if resolved.limits:
            _bound(resolved, model)
        if changed:
            ctx.applications.record(self.name, "")
        return PassResult(changed > 0, {"axes": changed} if changed else {})


def set_input_shapes(stated: InputSizes, model: Model) -> Limits:
    """Put stated sizes into a model; what stays dynamic within which limits.

    Args:
        stated: the statements.
        model: edited: types of inputs, and of what is computed from them.

    Raises:
        PipelineError: as :func:`resolve`.
    """
    resolved = resolve(stated, model)
    _apply(resolved, model)
    return resolved.limits


def _apply(resolved: Resolved, model: Model) -> int:
    """Set the types; how many axes of inputs have another size or name than before."""
    changed, same = 0, set()
    for value in model.graph.inputs:
        old = value.type
        if value.name in resolved.ranks and isinstance(old, TensorType):
            value.type = old.with_shape((None,) * resolved.ranks[value.name])
        stated = {axis: dim for (name, axis), dim in resolved.axes.items() if name == value.name and dim is not None}
        value.type = _stated(value.type, resolved, stated)
        differences = _differences(old, value.type)
        changed += differences
        if not differences:
            same.add(value.name)
        _check_default(value.name, None if value.const is None else value.const.shape, value.type)
    if changed:
        _forget_inner(resolved, model)
        for graph in model.graph.walk_graphs():
            _forget_statements(graph, same)
        model.graph.touch()
    return changed


def _forget_inner(resolved: Resolved, model: Model) -> None:
    """Forget what was inferred of sizes that are stated now."""
    for graph in model.graph.walk_graphs():
        for inner in [*graph.outputs, *(item for node in graph.nodes for item in node.outputs)]:
            if inner.producer is not None:
                inner.type = _forgotten(_stated(inner.type, resolved, {}))


def _bound(resolved: Resolved, model: Model) -> None:
    """Let sizes that stay dynamic know their ranges. Their names stay, so that nothing changes in a file."""
    for value in model.graph.inputs:
        axes = {axis: dim for (name, axis), dim in resolved.bounded_axes.items() if name == value.name}
        value.type = _stated(value.type, resolved, axes)
    _forget_inner(resolved, model)


def _forget_statements(graph: Graph, same: set[str]) -> None:
    """Let the file be written with the types that there are now, but for inputs that did not change."""
    origin = graph.origin
    if isinstance(origin, GraphOrigin):
        kept = [item for item in origin.inputs if item[1].name in same]
        graph.origin = replace(origin, inputs=kept, outputs=[], infos=[])


def _check_default(name: str, default: tuple[int, ...] | None, kind: Type | None) -> None:
    """See that the default of an input has the shape that is stated for it."""
    shape = kind.static_shape if isinstance(kind, TensorType) else None
    if default is not None and shape is not None and shape != tuple(default):
        raise PipelineError(
            f"input {name!r} is stated to be {kind}, but its default has shape {list(default)}; leave it out"
        )


def _stated(kind: Type | None, resolved: Resolved, axes: Mapping[int, Dim]) -> Type | None:
    """A type with the sizes that are stated."""
    if isinstance(kind, SequenceType | OptionalType):
        return type(kind)(_stated(kind.element, resolved, {}))
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(tuple(axes.get(axis, _dim(dim, resolved)) for axis, dim in enumerate(kind.shape)))


def _dim(dim: Dim, resolved: Resolved) -> Dim:
    if not isinstance(dim, SymbolicDim):
        return dim
    if dim.name is not None:
        return resolved.sizes.get(dim.name, resolved.bounded.get(dim.name, dim))
    touched = dim.symbols() & (resolved.sizes.keys() | resolved.bounded.keys())
    return None if touched else dim  # found by inference, which finds it again


def _forgotten(kind: Type | None) -> Type | None:
    """A type without the numbers in it, which were those of other inputs."""
    if isinstance(kind, SequenceType | OptionalType):
        return type(kind)(_forgotten(kind.element))
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(tuple(dim if isinstance(dim, SymbolicDim) else None for dim in kind.shape))


def _differences(old: Type | None, new: Type | None) -> int:
    if isinstance(old, TensorType) and isinstance(new, TensorType) and new.shape is not None:
        before = (None,) * len(new.shape) if old.shape is None else old.shape
        return sum(a != b for a, b in zip(before, new.shape, strict=True)) + (old.shape is None)
    return int(old != new)
