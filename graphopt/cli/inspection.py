"""``graphopt inspect``: what a model is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from graphopt.analysis.op_flops import bound_shape
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, CoefficientsFile, ModelPath, NoPlugin, Sizes, UsageError, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler import Environment
from graphopt.errors import GraphoptError
from graphopt.ir import Model, SymbolicDim, TensorType, Type, clone_model
from graphopt.passes import PruningPlan
from graphopt.report.model_summary import summarize
from graphopt.report.model_view import summary_view

__all__ = ["inspect"]

logger = logging.getLogger(__name__)

_ROUNDS = 4


def inspect(
    model: ModelPath,
    sizes: Sizes = None,
    all_ops: Annotated[bool, typer.Option("--all-ops", help="List all operators, not only the most frequent.")] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Show what each node costs and is estimated to take, instead.")
    ] = False,
    coefficients: CoefficientsFile = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Nodes that --cost lists.")] = 20,
    dim_groups: Annotated[
        bool,
        typer.Option("--dim-groups", help="Show which channels, heads and hidden units go together, instead."),
    ] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model is: interface, operators, weights, cost."""
    if model.suffix == ".json":
        _show_document(model, as_json=as_json)
        return
    if model.is_dir():
        _show_folder(model, as_json=as_json)
        return
    if model.suffix in (".engine", ".plan"):
        from graphopt.compiler.engines.inspection import inspect_engine  # lazily: most inspect models
        from graphopt.report.engine_view import engine_dict, engine_view

        found = inspect_engine(model)
        if as_json:
            write_json(engine_dict(found))
        else:
            show(engine_view(found))
        return
    bound = parse_sizes(sizes)
    if coefficients is not None and not cost:
        raise UsageError("--coefficients is for --cost; add it, or leave it out")
    if cost and dim_groups:
        raise UsageError("--cost and --dim-groups show two different things; leave one out")
    estimating = None
    if cost:
        from graphopt.cli.costs import Estimating  # lazily: a summary does without

        estimating = Estimating(coefficients)
    environment = Environment(builtin_plugins(no_plugin or ()))
    with progress(f"reading {model}", wanted=not as_json) as tell:
        lifted = environment.lift(model)
        tell("types")
        if dim_groups:
            from graphopt.cli.dim_groups import show_dim_groups  # lazily: a summary does without

            show_dim_groups(lifted, environment, as_json=as_json)
            return
        infer_types(lifted, bound, environment)
        tell("cost")
        summary = summarize(lifted, sizes=bound) if estimating is None else None
    if estimating is not None:
        estimating.show(lifted, bound, top=top, as_json=as_json)
    elif as_json:
        write_json(summary)
    elif summary is not None:
        show(summary_view(summary, all_ops=all_ops))


def infer_types(model: Model, sizes: Mapping[str, int], environment: Environment) -> None:
    """Set the types of values as they are when the inputs have certain sizes.

    Exporters compute shapes in the graph, where inference does not follow; what it leaves open is looked up in a copy in which they were
    folded. Where all that knows less than the file states, the file is believed: nothing is decided by it here. Sizes without a name
    that means something are unknown.
    """
    folded = clone_model(model)
    stated = _types(model)
    interface = [(value, value.type) for value in model.graph.inputs]
    for value in (*model.graph.inputs, *folded.graph.inputs):
        value.type = _bound(value.type, sizes)
    if sizes:
        model.graph.origin = folded.graph.origin = (
            None  # else inference would be shown the inputs as the file states them
        )
    context = environment.context(environment.backend("onnx"))
    context.types.infer_model(model)
    try:
        for _ in range(_ROUNDS):  # what one round folds, inference sees before the next
            if not environment.run_pipeline(folded, environment.pipeline(None, "O1"), context).changed:
                break
            context.types.infer_model(folded)
    except GraphoptError as err:
        logger.warning("shapes that the model computes stay unknown: %s", err)
    found = _types(folded)
    for graph in model.graphs():
        for node in graph.nodes:
            for value in node.outputs:
                known = _more_certain(_named(value.type), _named(found.get(value.name)))
                value.type = _more_certain(known, _named(_bound(stated.get(value.name), sizes)))
    for value, kind in interface:
        value.type = kind


def _types(model: Model) -> dict[str, Type | None]:
    return {value.name: value.type for graph in model.graphs() for node in graph.nodes for value in node.outputs}


def _bound(kind: Type | None, sizes: Mapping[str, int]) -> Type | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(bound_shape(kind.shape, dict(sizes)))


def _named(kind: Type | None) -> Type | None:
    """The type with sizes that have a generated name made unknown: the name means nothing to people."""
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(
        tuple(None if isinstance(dim, SymbolicDim) and dim.is_generated else dim for dim in kind.shape)
    )


def _more_certain(one: Type | None, other: Type | None) -> Type | None:
    """The first of two types, unless a size of it is unknown and the second is a tensor type with sizes."""
    vague = not isinstance(one, TensorType) or one.shape is None or None in one.shape
    return other if vague and isinstance(other, TensorType) and other.shape is not None else one


def _show_document(path: Path, *, as_json: bool) -> None:
    """Write what a JSON file of graphopt's holds: a pruning plan, or a calibration table."""
    if PruningPlan.is_in(path):
        from graphopt.report.plan_view import plan_dict, plan_view  # lazily: most inspect models

        plan = PruningPlan.load(path)
        if as_json:
            write_json(plan_dict(plan))
        else:
            show(plan_view(plan))
        return
    from graphopt.cli.calibration import show_table  # lazily, as above

    show_table(path, as_json=as_json)


def _show_folder(folder: Path, *, as_json: bool) -> None:
    """What a folder of parts says of itself."""
    import msgspec  # lazily, as the next ones: most inspect models

    from graphopt.report.hybrid_view import manifest_view
    from graphopt.runtime.hybrid.manifest import read_manifest

    found = read_manifest(folder)
    if as_json:
        write_json(msgspec.to_builtins(found))
    else:
        show(manifest_view(found))
