"""What optimizing gives: the model, ways to save it, and a report."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.compiler.saving import save_for
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Model
from graphopt.numerics import Exact, Numerics
from graphopt.passes import PassRecord

if TYPE_CHECKING:
    from onnx import ModelProto

    from graphopt.backends.base import Backend
    from graphopt.compiler.kernel_families import Fusibility
    from graphopt.verify import Verdict

__all__ = ["OptimizeReport", "Optimized", "count_ops", "plain_number", "plain_numbers"]


def count_ops(model: Model) -> Counter[str]:
    """How often each operator stands in a model, subgraphs and functions included."""
    return Counter(node.op for owner in model.owners() for node in owner.graph.walk())


def plain_number(value: float | None) -> object:
    """A number as JSON can have it: one that is not finite is text."""
    return value if value is None or math.isfinite(value) else str(value)


def plain_numbers(values: Mapping[str, float]) -> dict[str, object]:
    """Numbers by name, as JSON can have them.

    Example:
        >>> plain_numbers({"top1": 98.5, "sqnr": float("inf")})
        {'top1': 98.5, 'sqnr': 'inf'}
    """
    return {name: plain_number(value) for name, value in values.items()}


@dataclass(slots=True)
class OptimizeReport:
    """What happened to a model.

    Attributes:
        source: where it came from.
        level: the level asked for, ``""`` when a pipeline was given.
        target: the backend.
        pipeline: text of what ran.
        numerics: what that declares to do to numbers.
        ops_before: operators and how often each stood in the model.
        ops_after: the same afterwards.
        bytes_before: bytes of all constants.
        bytes_after: the same afterwards.
        passes: what each pass did.
        seconds: time by phase.
        verdict: of the check, ``None`` when it was not asked for.
        skipped: rewrites that were left out because the check failed with them.
        notes: what people should know.
        reproducer: folder that shows a failure again, ``""`` if none was written.
        fusibility: ONNX Runtime's fused kernels before and after, ``None`` where nobody counted them.
    """

    source: str
    level: str
    target: str
    pipeline: str
    numerics: Numerics = field(default_factory=Exact)
    ops_before: Counter[str] = field(default_factory=Counter)
    ops_after: Counter[str] = field(default_factory=Counter)
    bytes_before: int = 0
    bytes_after: int = 0
    passes: list[PassRecord] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reproducer: str = ""
    fusibility: Fusibility | None = None

    @property
    def nodes_before(self) -> int:
        """Nodes of the original, subgraphs and functions included."""
        return self.ops_before.total()

    @property
    def nodes_after(self) -> int:
        """Nodes of the result."""
        return self.ops_after.total()

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "level": self.level,
            "target": self.target,
            "pipeline": self.pipeline,
            "numerics": str(self.numerics),
            "nodes_before": self.nodes_before,
            "nodes_after": self.nodes_after,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "ops_before": dict(self.ops_before),
            "ops_after": dict(self.ops_after),
            "passes": [record.to_dict() for record in self.passes],
            "seconds": {name: round(spent, 6) for name, spent in self.seconds.items()},
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "reproducer": self.reproducer,
            "fusibility": None if self.fusibility is None else self.fusibility.to_dict(),
        }


class Optimized:
    """An optimized model.

    Attributes:
        model: its IR, legalized for the target. Edits of it are not checked.
        report: what happened to it.

    Example:
        >>> import graphopt
        >>> from graphopt.data import digits_model
        >>> result = graphopt.optimize(digits_model(), check=False)
        >>> len(result.model.graph.nodes) == len(result.proto.graph.node) == result.report.nodes_after
        True
    """

    def __init__(self, model: Model, report: OptimizeReport, backend: Backend) -> None:
        self.model = model
        self.report = report
        self._backend = backend
        self._proto: ModelProto | None = None

    @property
    def proto(self) -> ModelProto:
        """The whole model as a message, weights included.

        Raises:
            UnsupportedOpError: if the target's models are not ONNX.
        """
        if self._proto is None:
            artifact = self._backend.emit(self.model)
            if artifact.proto is None:
                raise UnsupportedOpError(f"target {self._backend.name!r} emits {artifact.kind}, not an ONNX message")
            self._proto = artifact.proto
        return self._proto

    def save(
        self, path: str | os.PathLike[str], *, external_data: bool | None = None, force: bool = False
    ) -> list[Path]:
        """Write the model in the form of its target; it appears whole or not at all. Weights are streamed, not gathered.

        Args:
            path: the model file.
            external_data: whether weights go to a file beside it, where the target's format has that; ``None`` lets the size decide.
            force: whether files that are there may be replaced.

        Returns:
            The files written.

        Raises:
            OutputError: if the files exist, or cannot be written.
            UnsupportedOpError: if the target has no form for a node.
        """
        return save_for(self._backend, self.model, Path(path), external_data=external_data, force=force)
