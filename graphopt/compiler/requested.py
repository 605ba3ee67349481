"""What a caller asks for beside a pipeline, as passes in it: sizes of inputs first of all, a newer opset before anything is fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from graphopt.compiler.arguments import expect_type
from graphopt.errors import GraphoptError, PipelineError
from graphopt.ir import Model
from graphopt.passes import Pass, Pipeline
from graphopt.target import Target
from graphopt.transforms.input_sizes import InputSizes, Size
from graphopt.transforms.resolved_sizes import resolve

__all__ = [
    "REQUEST_PASSES",
    "check_requests",
    "check_sizes",
    "is_refusal",
    "stated_sizes",
    "unmet_preference",
    "unmet_sparse",
    "with_requests",
]

#: Passes that do what a caller asks for: what they refuse is no failure to look into.
REQUEST_PASSES: Final = frozenset({"apply-pruning-plan", "raise-opset", "set-input-shapes"})
#: Passes after which the opset is raised, where a pipeline begins with them: they find constants and take away what nobody needs.
_BEFORE_RAISING: Final = frozenset(
    {
        "constants-to-initializers",
        "deduplicate-constants",
        "eliminate-dead-code",
        "inline-functions",
        "set-input-shapes",
    }
)
_OLDEST: Final = 7


def check_requests(
    set_dims: Mapping[str, Size] | None, input_shapes: Mapping[str, Sequence[Size]] | None, opset: int | None
) -> InputSizes:
    """What is stated of sizes; see that it has the right types.

    Raises:
        TypeError: if it has not.
        PipelineError: if the opset can't be raised to.
    """
    for name, given in {"set_dims": set_dims, "input_shapes": input_shapes}.items():
        if given is not None:
            expect_type(name, given, Mapping, "a mapping from name to size, or to sizes")
    for dim, size in (set_dims or {}).items():
        _expect_size(f"size of dimension {dim!r}", size)
    for name, sizes in (input_shapes or {}).items():
        if isinstance(sizes, str):
            raise TypeError(f"shape of input {name!r} is {sizes!r}, expected a list of sizes")
        expect_type(f"shape of input {name!r}", sizes, Sequence, "a list of sizes")
        for size in sizes:
            _expect_size(f"size of input {name!r}", size)
    if opset is not None:
        expect_type("opset", opset, int, "a whole number")
        if opset < _OLDEST:
            raise PipelineError(f"opset is {opset}, expected {_OLDEST} or later; a model is never lowered")
    return InputSizes({name: tuple(sizes) for name, sizes in (input_shapes or {}).items()}, dict(set_dims or {}))


def _expect_size(what: str, size: object) -> None:
    if isinstance(size, bool):
        raise TypeError(f"{what} is {size}, expected a number, a name or a range")
    expect_type(what, size, (int, str), "a number, a name or a range such as '1..512'")


def with_requests(pipeline: Pipeline, sizes: InputSizes, opset: int | None, target: Target) -> Pipeline:
    """A pipeline that also does what is asked for.

    Args:
        pipeline: it.
        sizes: of inputs.
        opset: to raise to, or else what the target prefers, as far as all nodes can be raised.
        target: what the model is for.
    """
    items = list(pipeline.items)
    raising = _raising(opset, target, wanted=bool(items))
    if raising is not None:
        first = next(
            (place for place, item in enumerate(items) if getattr(item, "name", "") not in _BEFORE_RAISING), len(items)
        )
        items.insert(first, raising)
    if sizes:
        from graphopt.transforms.input_shapes import SetInputShapes  # lazily: most runs state nothing

        items.insert(0, SetInputShapes({name: tuple(some) for name, some in sizes.shapes.items()}, dict(sizes.dims)))
    return Pipeline(tuple(items))


def _raising(opset: int | None, target: Target, *, wanted: bool) -> Pass | None:
    if opset is None and (target.preferred_opset is None or not wanted):
        return None
    from graphopt.transforms.opset import RaiseOpset  # lazily, as above

    return RaiseOpset(opset) if opset is not None else RaiseOpset(target.preferred_opset, strict=False)


def stated_sizes(pipeline: Pipeline) -> InputSizes:
    """All that the passes of a pipeline state of the sizes of inputs."""
    shapes: dict[str, tuple[Size, ...]] = {}
    dims: dict[str, Size] = {}
    for item in pipeline.passes():
        if item.name == "set-input-shapes":
            stated = getattr(item, "sizes", None)
            if isinstance(stated, InputSizes):
                shapes |= {name: tuple(sizes) for name, sizes in stated.shapes.items()}
                dims |= stated.dims
    return InputSizes(shapes, dims)


def check_sizes(pipeline: Pipeline, model: Model) -> None:
    """See that sizes fit a model before any work.

    Raises:
        PipelineError: if they don't.
    """
    sizes = stated_sizes(pipeline)
    if sizes:
        resolve(sizes, model)


def unmet_preference(pipeline: Pipeline, model: Model, target: Target) -> list[str]:
    """A note on a model that could not be raised to the opset that its target prefers; none where it was, or nobody tried."""
    opset, wanted = model.opset_imports.get(""), target.preferred_opset
    tried = any(item.name == "raise-opset" and not getattr(item, "strict", True) for item in pipeline.passes())
    if not tried or opset is None or wanted is None or opset >= wanted:
        return []
    return [
        f"the model stays at opset {opset}, target {target.name!r} prefers {wanted}; --opset {wanted} says which node is in the way"
    ]


def unmet_sparse(pipeline: Pipeline, target: Target) -> list[str]:
    """A note on weights that were to be stored as sparse initializers, for a target that is not known to read them."""
    asked = any(item.name == "store-weights" and getattr(item, "form", "") == "sparse" for item in pipeline.passes())
    if not asked or target.sparse_initializers:
        return []
    return [
        f"weights stay dense: target {target.name!r} is not known to read sparse initializers; only compression makes its files smaller"
    ]


def is_refusal(error: Exception) -> bool:
    """Whether a pass could not do what the caller asked for; says so without the passes around it."""
    if not isinstance(error, GraphoptError) or error.pass_name not in REQUEST_PASSES:
        return False
    getattr(error, "__notes__", []).clear()
    return True
