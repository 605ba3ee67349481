"""Coefficients fitted to measured nodes, and how far off they are on models that were held out.

The relative error of each node counts, weighted again and again so that the sum of the errors themselves becomes least and not that of
their squares: a few odd nodes then change little. Coefficients are never negative; with three of them every set that may be zero
is tried.

Source: E. J. Schlossmacher, "An iterative technique for absolute deviations curve fitting", JASA 68 (1973).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.analysis.cost_model import Coefficients, CostModel, FitQuality

__all__ = ["Measured", "fit_classes", "fit_coefficients", "held_out_quality"]

_ROUNDS: Final = 12
_LEAST_NODES: Final = 4
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """A node that was measured.

    Attributes:
        model: which it is of.
        name: of the class of its operator.
        flops: its operations.
        moved: bytes that it reads and gives.
        seconds: what it took.
    """

    model: str
    name: str
    flops: float
    moved: float
    seconds: float


def fit_coefficients(nodes: Sequence[Measured]) -> Coefficients:
    """The coefficients that suit nodes of one class best.

    Args:
        nodes: at least one.

    Example:
        >>> nodes = [Measured("m", "product", n, 0.0, 1e-6 + n * 1e-9) for n in (1e3, 1e4, 1e5, 1e6)]
        >>> fit_coefficients(nodes)
        Coefficients(call=1e-06, flop=1e-09, byte=0.0, nodes=4, error=0.0)
    """
    times = np.array([node.seconds for node in nodes])
    columns = np.array([[1.0, node.flops, node.moved] for node in nodes])
    scale = np.maximum(columns.max(axis=0), 1.0)
    relative = columns / scale / times[:, None]
    weights = np.ones(len(nodes))
    found = np.zeros(3)
    for _ in range(_ROUNDS):
        found = _least_squares(relative * weights[:, None], weights)
        error = np.abs(relative @ found - 1)
        weights = 1 / np.sqrt(np.maximum(error, 1e-3))
    call, flop, byte = (float(f"{value:.4g}") for value in found / scale)
    result = Coefficients(call, flop, byte)
    errors = np.abs([result.seconds(node.flops, node.moved) / node.seconds - 1 for node in nodes])
    return Coefficients(call, flop, byte, len(nodes), round(float(np.median(errors)), 4))


def _least_squares(a: _Numbers, b: _Numbers) -> _Numbers:
    """The x that is not negative with the least ``|ax - b|``: the best of all sets of columns that may count."""
    best, least = np.zeros(a.shape[1]), float(b @ b)
    for size in range(1, a.shape[1] + 1):
        for chosen in itertools.combinations(range(a.shape[1]), size):
            part = np.linalg.lstsq(a[:, chosen], b, rcond=None)[0]
            if (part < 0).any():
                continue
            rest = float(np.sum((a[:, chosen] @ part - b) ** 2))
            if rest < least * (1 - 1e-9):
                least, best = rest, np.zeros(a.shape[1])
                best[list(chosen)] = part
    return best


def fit_classes(nodes: Iterable[Measured]) -> dict[str, Coefficients]:
    """Coefficients of each class that has nodes enough."""
    groups: dict[str, list[Measured]] = {}
    for node in nodes:
        if node.seconds > 0:
            groups.setdefault(node.name, []).append(node)
    return {name: fit_coefficients(group) for name, group in sorted(groups.items()) if len(group) >= _LEAST_NODES}


def held_out_quality(nodes: Sequence[Measured], models: Sequence[str]) -> FitQuality | None:
    """How far off estimates of each model are when coefficients were fitted to all others; ``None`` without a model.

    Args:
        nodes: all that were measured.
        models: names of those that are held out, one after another.
    """
    pairs: list[tuple[float, float]] = []
    errors: dict[str, float] = {}
    for name in models:
        classes = fit_classes(node for node in nodes if node.model != name)
        own = _pairs([node for node in nodes if node.model == name], classes)
        if own:
            pairs += own
            there, estimated = (sum(column) for column in zip(*own, strict=True))
            errors[name] = round(estimated / there - 1, 4)
    if not pairs:
        return None
    there, estimated = (np.array(column) for column in zip(*pairs, strict=True))
    return FitQuality(
        models=len(errors),
        nodes=len(pairs),
        r2=_r2(there, estimated),
        r2_log=_r2(np.log(there), np.log(np.maximum(estimated, 1e-9))),
        median_error=round(float(np.median(np.abs(estimated / there - 1))), 4),
        model_errors=errors,
    )


def _pairs(nodes: Iterable[Measured], classes: Mapping[str, Coefficients]) -> list[tuple[float, float]]:
    """What nodes took, and what is estimated."""
    model = CostModel("", 1, classes)
    return [
        (node.seconds, model.classes[node.name].seconds(node.flops, node.moved))
        for node in nodes
        if node.seconds > 0 and node.name in classes
    ]


def _r2(there: _Numbers, estimated: _Numbers) -> float:
    spread = float(np.sum((there - there.mean()) ** 2))
    return round(1 - float(np.sum((there - estimated) ** 2)) / spread, 4) if spread else 0.0
