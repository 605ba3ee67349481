"""What is different between two models, from Python."""

from __future__ import annotations

from graphopt.analysis.model_diff import ModelDiff, diff_models
from graphopt.compiler.environment import Environment
from graphopt.compiler.result import Optimized
from graphopt.ir import Model
from graphopt.plugin_manager import PluginManager

__all__ = ["diff"]


def diff(a: object, b: object, *, numbers: bool = False, plugins: PluginManager | None = None) -> ModelDiff:
    """What is different between two models: nodes that are in one of them only, were fused or changed; weights; interface.

    Nodes are matched by lineage where graphopt made ``b`` from ``a``, else by names and structure, so results of other tools and renamed
    models can be compared too. Nothing is run.

    Args:
        a: the model to start from: path, bytes, ``ModelProto``, IR, :class:`Optimized`, or what a plugin's frontend accepts.
        b: the other one.
        numbers: whether it is measured how far large weights differ too, which reads them.
        plugins: where frontends come from.

    Raises:
        ModelError: if a model is broken.

    Example:
        >>> import graphopt
        >>> from graphopt.data import digits_model
        >>> found = diff(digits_model(), graphopt.optimize(digits_model(), check=False))
        >>> [len(group.before) for group in found.groups], len(found.removed), len(found.added)
        ([3, 2, 2, 2], 11, 0)
    """
    environment = Environment(plugins)
    one, other = (
        item.model if isinstance(item, Optimized) else item if isinstance(item, Model) else environment.lift(item)
        for item in (a, b)
    )
    return diff_models(one, other, numbers=numbers)
