"""``graphopt inspect --cost``: what each node costs, and is estimated to take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from graphopt.analysis.cost_report import estimate_model
from graphopt.cli.terminal import show, write_json
from graphopt.compiler.cost_fitting import known_cost_model
from graphopt.ir import Model, TensorType, symbols_of
from graphopt.report.cost_view import cost_dict, cost_view

__all__ = ["Estimating"]


class Estimating:
    """Shows estimates by one set of coefficients.

    Args:
        coefficients: a file with them; by default those of this machine, or those that ship with graphopt.

    Raises:
        ModelError: if a file holds something else.
    """

    def __init__(self, coefficients: Path | None) -> None:
        self._costs, self._origin = known_cost_model(coefficients)

    def show(self, model: Model, sizes: Mapping[str, int], *, top: int, as_json: bool) -> None:
        """Write a table, or JSON.

        Args:
            model: its values should have types.
            sizes: numbers for dynamic sizes.
            top: how many nodes a table lists.
            as_json: whether to write all of them as JSON instead.
        """
        nodes = estimate_model(model, self._costs, sizes)
        if as_json:
            write_json({"source": model.source, "sizes": dict(sizes)} | cost_dict(nodes, self._costs, self._origin))
        else:
            show(cost_view(nodes, self._costs, self._origin, top=top, unbound=_unbound(model, sizes)))


def _unbound(model: Model, sizes: Mapping[str, int]) -> list[str]:
    """Dynamic sizes of the inputs that have no number."""
    kinds = [value.type for value in model.graph.inputs]
    shapes = [kind.shape for kind in kinds if isinstance(kind, TensorType) and kind.shape is not None]
    return sorted(frozenset().union(*map(symbols_of, shapes)) - sizes.keys())
