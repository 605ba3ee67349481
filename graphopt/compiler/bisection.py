"""What a bisection found, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from graphopt.rewriting import TouchedNode
from graphopt.verify.verdict import FailureKind, Verdict

__all__ = ["Bisection", "Blamed", "Measured", "PassPlace"]


@dataclass(frozen=True, slots=True)
class PassPlace:
    """Where in a pipeline a run of a pass stands.

    Attributes:
        run: its number among all runs of passes, from 1.
        runs: how many runs there were in all.
        index: position in the pipeline, from 1; in a group, then the position in the group, and so on inwards.
        rounds: the round of each group around it, from outside in.
        text: name and options of the pass.
    """

    run: int
    runs: int
    index: tuple[int, ...]
    rounds: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        place = ".".join(map(str, self.index))
        rounds = f", round {', '.join(map(str, self.rounds))}" if self.rounds else ""
        return f"{self.text} (at {place} of the pipeline{rounds}; run {self.run} of {self.runs})"


@dataclass(frozen=True, slots=True)
class Measured:
    """How far a result is off, at the worst output.

    Attributes:
        kind: how the result fails, ``None`` when it is right.
        reason: in a line.
        output: the worst output, ``""`` when no numbers were compared; what follows is of this output.
        max_abs: largest absolute difference.
        max_rel: the same over the largest magnitude of the original.
        excess: the difference in units of what is allowed.
        worst: index of the worst element.
        expected: the original there.
        actual: the result there.
    """

    kind: FailureKind | None = None
    reason: str = ""
    output: str = ""
    max_abs: float = 0.0
    max_rel: float = 0.0
    excess: float = 0.0
    worst: tuple[int, ...] | None = None
    expected: str = ""
    actual: str = ""

    @classmethod
    def of(cls, kind: FailureKind | None, reason: str, verdict: Verdict | None) -> Measured:
        """What a verdict says of the worst output."""
        worst = (
            max(verdict.worst, key=lambda item: (item.status == "failed", item.excess), default=None)
            if verdict
            else None
        )
        if worst is None:
            return cls(kind, reason)
        numbers = (worst.max_abs, worst.max_rel, worst.excess)
        return cls(kind, reason, worst.name, *numbers, worst.worst, worst.expected, worst.actual)

    def __str__(self) -> str:
        if self.kind not in (None, "wrong-numbers") or not self.output:
            return self.reason or "right"
        if self.worst is None:
            return f"output {self.output!r}: identical" if self.kind is None else self.reason
        sizes = f"max abs {self.max_abs:.3g}, relative {self.max_rel:.3g}"
        return f"output {self.output!r} at {list(self.worst)}: {self.actual}, expected {self.expected}; {sizes}"


@dataclass(frozen=True, slots=True)
class Blamed:
    """The pass and the rewrite that make a result wrong.

    Attributes:
        kind: how the result fails right after it.
        granularity: ``"rewrite"``, or ``"pass"`` when the pass does not number its edits.
        pass_name: the pass.
        place: where in the pipeline that is.
        plugin: the plugin that the pass comes from, ``""`` when no plugin registered it.
        number: number of the application, ``None`` when it has none.
        rule: the rule; the pass itself when its edits are no rules.
        site: name of the first output of the node at which it was applied, as it was then.
        removed: nodes that it took away.
        added: nodes that it put there.
        changed: nodes that it changed where they stand.
        origins: names of the original nodes that these stand for.
        before: the result right before it.
        after: the result right after it.
        alone: whether the whole pipeline is right without it.
        rule_alone: whether it is right without the rule (or pass) altogether; ``False`` means that something else is wrong, too.
    """

    kind: FailureKind
    granularity: Literal["rewrite", "pass"]
    pass_name: str
    place: PassPlace
    plugin: str
    number: int | None
    rule: str
    site: str
    removed: tuple[TouchedNode, ...] = ()
    added: tuple[TouchedNode, ...] = ()
    changed: tuple[TouchedNode, ...] = ()
    origins: tuple[str, ...] = ()
    before: Measured = field(default_factory=Measured)
    after: Measured = field(default_factory=Measured)
    alone: bool = True
    rule_alone: bool = True

    def __str__(self) -> str:
        owner = f" of plugin {self.plugin!r}" if self.plugin else ""
        what = f"pass {self.pass_name}{owner}"
        if self.granularity == "pass":
            return what
        number = "" if self.number is None else f"#{self.number} "
        return f"{number}{self.rule} at {self.site!r} ({what})"


@dataclass(frozen=True, slots=True)
class Bisection:
    """What a bisection found.

    Attributes:
        status: ``"right"`` when nothing is wrong; ``"found"``; ``"original"`` when the result is wrong before the first pass, so that
            reading, legalizing or writing is at fault.
        pipeline: text of what ran.
        target: the backend.
        whole: the result of the whole pipeline.
        blamed: what makes it wrong.
        applications: how many rewrites the whole pipeline applied.
        passes: how many runs of passes it had.
        runs: how often the pipeline was run, in part or in whole.
        seed: of drawn inputs.
        samples: how many sets of inputs were used.
        reproducer: folder that shows the failure again, ``""`` if none was written.
        command: what to run in that folder.
        notes: what people should know.
        seconds: how long it took; not in :meth:`to_dict`, which is the same on every run.
    """

    status: Literal["right", "found", "original"]
    pipeline: str
    target: str
    whole: Measured
    blamed: Blamed | None = None
    applications: int = 0
    passes: int = 0
    runs: int = 0
    seed: int = 0
    samples: int = 0
    reproducer: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == "right"

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON; the same on every run."""
        found = _plain(asdict(self))
        assert isinstance(found, dict)
        del found["seconds"]
        return found


def _plain(item: object) -> object:
    if isinstance(item, dict):
        return {name: _plain(value) for name, value in item.items()}
    if isinstance(item, tuple | list):
        return [_plain(value) for value in item]
    if isinstance(item, float) and not np.isfinite(item):
        return str(item)  # JSON has no infinity
    return item
