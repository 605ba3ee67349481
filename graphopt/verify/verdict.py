"""What a check found, for people in a line and for machines as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from graphopt.runtime.base import Feeds
from graphopt.verify.comparator import MEASURED_ONLY, Difference

__all__ = ["FAILURE_KINDS", "FailureKind", "SampleVerdict", "Verdict"]

#: Ways in which an optimized model fails: other numbers; a model that is not valid, does not load or does not run; an exception while it
#: was made; the end of the process that runs it.
FailureKind = Literal["wrong-numbers", "invalid-model", "exception", "crash"]
FAILURE_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)


@dataclass(frozen=True, slots=True)
class SampleVerdict:
    """What one set of inputs showed.

    Attributes:
        kind: what numbers: ``normal``, ``uniform``, ``zeros``, ``large``, ``overrides`` or ``user``.
        sizes: sizes of the dynamic axes by symbol.
        outputs: one for each tensor in the outputs.
        error: why the optimized model did not run, empty if it did.
        crashed: whether the runtime crashed then.
    """

    kind: str
    sizes: Mapping[str, int]
    outputs: tuple[Difference, ...] = ()
    error: str = ""
    crashed: bool = False

    @property
    def failed(self) -> bool:
        """Whether the optimized model did not run, or an output is wrong."""
        return bool(self.error) or any(output.status == "failed" for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an optimized model computes what the original computes.

    Attributes:
        status: ``ok``, ``failed``, or ``inconclusive`` when nothing could be told, which is not ok.
        reason: in a line; empty when all is well.
        numerics: what was allowed.
        samples: what each set of inputs showed.
        notes: what makes the verdict weaker than it looks, one text each.
        interface: how inputs and outputs differ, one text each; any of them means ``failed``.
        runtime: what ran the models.
        seconds: how long it took.
        failing_feeds: the inputs that showed a failure, for a reproducer.
        failure: of which kind a failure is, ``""`` when there is none.
    """

    status: Literal["ok", "failed", "inconclusive"]
    reason: str = ""
    numerics: str = "exact"
    samples: tuple[SampleVerdict, ...] = ()
    notes: tuple[str, ...] = ()
    interface: tuple[str, ...] = ()
    runtime: str = "ONNX Runtime"
    seconds: float = 0.0
    failing_feeds: Feeds | None = field(default=None, compare=False, repr=False)
    failure: FailureKind | Literal[""] = ""

    @property
    def ok(self) -> bool:
        """Whether the optimized model was shown to be right."""
        return self.status == "ok"

    @property
    def worst(self) -> tuple[Difference, ...]:
        """For each output the comparison that came out worst, in the order of the model."""
        found: dict[str, Difference] = {}
        for sample in self.samples:
            for output in sample.outputs:
                known = found.get(output.name)
                if known is None or _badness(output) > _badness(known):
                    found[output.name] = output
        return tuple(found.values())

    @property
    def bit_exact(self) -> bool:
        """Whether every output that was compared has the same bits."""
        return self.ok and all(output.identical for sample in self.samples for output in sample.outputs)

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        many = f"{len(self.samples)} set{'s' if len(self.samples) != 1 else ''} of inputs"
        if self.status != "ok":
            return f"{self.status}: {self.reason}"
        random = [output.name for output in self.worst if output.status == "skipped"]
        if random:
            many += f"; random, so compared by type only: {', '.join(random)}"
        weak = f"; {'; '.join(self.notes)}" if self.notes else ""
        if all(output.identical or output.status == "skipped" for output in self.worst):
            return f"ok: same bits on {many}{weak}"
        certain = [output for sample in self.samples for output in sample.outputs if output.status == "ok"]
        worst = max(certain or self.worst, key=_badness)
        note = f" ({worst.note})" if worst.note else ""
        if any(output.note.endswith(MEASURED_ONLY) for output in certain):
            same = "same interface and types"
        else:
            same = "same numbers"
        return f"ok: {same} on {many}, largest relative difference {worst.max_rel:.2g} in output {worst.name!r}{note}{weak}"

    def to_json(self) -> dict[str, object]:
        """The verdict as what ``json.dumps`` takes."""
        return {
            "status": self.status,
            "reason": self.reason,
            "failure": self.failure,
            "summary": self.summary,
            "numerics": self.numerics,
            "runtime": self.runtime,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "interface": list(self.interface),
            "samples": [
                {
                    "kind": sample.kind,
                    "sizes": dict(sample.sizes),
                    "error": sample.error,
                    "outputs": [_plain(output) for output in sample.outputs],
                }
                for sample in self.samples
            ],
        }


def _badness(output: Difference) -> tuple[int, float, float]:
    return ("ok", "skipped", "unstable", "failed").index(output.status), output.excess, output.max_rel


def _plain(output: Difference) -> dict[str, object]:
    found: dict[str, object] = asdict(output)
    for key, value in found.items():
        if isinstance(value, float) and not np.isfinite(value):
            found[key] = str(value)  # JSON has no infinity
        elif isinstance(value, tuple):
            found[key] = list(value)
    return found
