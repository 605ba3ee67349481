"""What became of several models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["FleetModel", "FleetReport", "Status"]

Status = Literal["done", "skipped", "wrong", "failed"]


@dataclass(frozen=True, slots=True)
class FleetModel:
    """What became of a model.

    Attributes:
        source: the model.
        name: of the result, relative to the folder.
        status: ``done`` now, ``skipped`` because it was done before, ``wrong`` for a result that failed its check, ``failed``.
        reason: why it failed, in a line.
        summary: nodes and bytes before and after, the check, what was left out, notes.
        seconds: how long it took.
    """

    source: str
    name: str
    status: Status
    reason: str = ""
    summary: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(slots=True)
class FleetReport:
    """What became of all models.

    Attributes:
        models: in the order they were named.
        folder: where the results are, ``""`` for nowhere.
        pipeline: text of what ran.
        target: name of the backend.
    """

    models: list[FleetModel]
    folder: str
    pipeline: str
    target: str

    def count(self, status: Status) -> int:
        """How many models ended like this."""
        return sum(model.status == status for model in self.models)
