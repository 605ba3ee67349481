"""Estimates of the time of a node: ``call + flop * operations + byte * bytes moved``, with coefficients for each class of operators.

Coefficients are fitted to what a backend's profiler says on one machine (``graphopt bench --fit``). Those that ship with graphopt are of a
server's processor and one thread: good for telling much from little, not for telling times on another machine. Estimates of single
nodes are off by tens of per cent; the file says by how much.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import msgspec

from graphopt.analysis.cost import NodeCost, cost_of_node
from graphopt.analysis.cost_classes import cost_class
from graphopt.errors import ModelError
from graphopt.ir import Node

__all__ = ["Coefficients", "CostModel", "FitQuality", "read_cost_model", "shipped_cost_model"]

_FORMAT: Final = 1
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class Coefficients:
    """What nodes of a class take.

    Attributes:
        call: seconds of a node that does nothing.
        flop: seconds of an operation.
        byte: seconds of a byte that is read or given.
        nodes: how many nodes this was fitted to.
        error: median relative error on them.
    """

    call: _Seconds
    flop: _Seconds
    byte: _Seconds
    nodes: int = 0
    error: float = 0.0

    def seconds(self, flops: float, moved: float) -> float:
        """What a node takes.

        Example:
            >>> Coefficients(1e-6, 1e-10, 0).seconds(1_000_000, 12)
            0.000101
        """
        return self.call + self.flop * flops + self.byte * moved


@dataclass(frozen=True)
class FitQuality:
    """How far off estimates are on models that were held out of the fit.

    Attributes:
        models: models that were held out, one after another.
        nodes: their nodes.
        r2: part of the variance of node times that is explained; 1 is all, below 0 worse than their mean.
        r2_log: the same of their logarithms, in which small nodes count as much as large ones.
        median_error: median relative error of nodes.
        model_errors: relative error of the sum over each model.
    """

    models: int
    nodes: int
    r2: float
    r2_log: float
    median_error: float
    model_errors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CostModel:
    """Estimates of times in one backend on one machine.

    Attributes:
        backend: name.
        threads: within an operator.
        classes: coefficients by class of operators.
        machine: where they were fitted, and with what.
        quality: how far off they are on other models; ``None`` where that was not measured.
        format: version of this form.
    """

    backend: str
    threads: int
    classes: Mapping[str, Coefficients]
    machine: str = ""
    quality: FitQuality | None = None
    format: int = _FORMAT

    def seconds_of(self, node: Node, sizes: Mapping[str, int] | None = None) -> float | None:
        """What one run of a node takes, without the graphs inside it; ``None`` when its class, or a size, is not known.

        Args:
            node: any node; its values should have types.
            sizes: numbers for symbolic dimensions, by name.
        """
        return self.seconds(cost_class(node), cost_of_node(node, sizes))

    def seconds(self, name: str | None, cost: NodeCost) -> float | None:
        """What a node of a class and cost takes; ``None`` when something about it is not known."""
        if name == "constant":  # made once, when the model is loaded
            return 0.0
        found = None if name is None else self.classes.get(name)
        if found is None:
            return None
        if name == "view":  # it moves nothing, whatever its size
            return found.call
        if not isinstance(cost.flops, int) or not isinstance(cost.bytes, int):
            return None
        return found.seconds(cost.flops, cost.bytes)

    def to_json(self) -> bytes:
        """As a file holds it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_cost_model(path: Path) -> CostModel:
    """Coefficients from a file.

    Raises:
        ModelError: if it can't be read, or holds something else.
    """
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as err:
        raise ModelError(f"coefficients {str(path)!r} can't be read: {err.strerror or err}; check the path") from err


@functools.cache
def shipped_cost_model() -> CostModel:
    """The coefficients that ship with graphopt: the same everywhere, so that what is decided by them is too.

    Example:
        >>> shipped_cost_model().backend
        'onnxruntime'
    """
    file = resources.files("graphopt.analysis") / "coefficients" / "onnxruntime.json"
    return _decoded(file.read_bytes(), str(file))


def _decoded(data: bytes, where: str) -> CostModel:
    try:
        found = msgspec.json.decode(data, type=CostModel)
    except msgspec.MsgspecError as err:
        text = str(err).replace("`", "")
        raise ModelError(
            f"coefficients {where!r} are not what graphopt bench --fit writes: {text[:1].lower()}{text[1:]}; fit them again"
        ) from err
    if found.format != _FORMAT:
        raise ModelError(f"coefficients {where!r} have form {found.format}, expected {_FORMAT}; fit them again")
    return found
