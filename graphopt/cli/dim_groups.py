"""``graphopt inspect --dim-groups``: which channels, heads and hidden units can only be removed together."""

from __future__ import annotations

import logging

from graphopt.analysis.dim_groups import find_dim_groups
from graphopt.cli.terminal import show, write_json
from graphopt.compiler import Environment
from graphopt.errors import GraphoptError
from graphopt.ir import Model
from graphopt.report.dim_groups_view import dim_groups_dict, dim_groups_view

__all__ = ["show_dim_groups"]

logger = logging.getLogger(__name__)


def show_dim_groups(model: Model, environment: Environment, *, as_json: bool) -> None:
    """Write a table, or JSON, about a model as passes see it after ``O1``: shapes that it computes would freeze what they are made of.

    Args:
        model: it is changed.
        environment: plugins, whose operators are followed too.
        as_json: whether to write JSON.
    """
    context = environment.context(environment.backend("onnx"))
    try:
        environment.run_pipeline(model, environment.pipeline(None, "O1"), context)
    except GraphoptError as err:
        logger.warning("shapes that the model computes stay as they are: %s", err)
    context.types.infer_model(model)
    found = find_dim_groups(model.graph, context.dim_roles)
    if as_json:
        write_json({"source": model.source} | dim_groups_dict(found))
    else:
        show(dim_groups_view(found))
