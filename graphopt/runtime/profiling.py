"""What a profile of a model says: where its time goes, by kernel, by operator and by pattern, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

__all__ = ["Advice", "Group", "Kernel", "Profile", "Span", "group_by"]


@dataclass(frozen=True, slots=True)
class Advice:
    """A rewrite that would change what takes the time.

    Attributes:
        rule: the rule.
        pass_name: the pass that has it.
        level: the lowest level at which it would be applied.
    """

    rule: str
    pass_name: str
    level: str

    def __str__(self) -> str:
        return f"{self.rule} ({self.pass_name}, {self.level})"


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the runtime ran, by node of the graph that it made of the model.

    Attributes:
        name: what the runtime calls the node.
        op: its operator there, with its domain unless that is the default one.
        seconds: the median over the runs, without what ran inside it.
        share: of the time of all kernels.
        calls: how often it ran in one run.
        pattern: what kind of work it is.
        nodes: nodes of the model that it stands for; for what the runtime put in, those for whose sake it is there.
        ops: their operators.
        origins: nodes of the original model that these were made of, where the model says so.
        shape: type and shape of its first output.
        advice: rewrites that would change these nodes.
    """

    name: str
    op: str
    seconds: float
    share: float
    calls: float
    pattern: str
    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    shape: str = ""
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A kernel in one run: of the timeline.

    Attributes:
        kernel: place of the kernel among those of the profile.
        start: seconds since the run began.
        seconds: how long it ran, with what ran inside it.
        depth: how many others it ran inside of.
    """

    kernel: int
    start: float
    seconds: float
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Kernels that have something in common.

    Attributes:
        name: what that is.
        seconds: of all of them.
        share: of the time of all kernels.
        kernels: how many.
        advice: rewrites that would change some of them, those for most time first.
        remark: what to know when no rewrite would.
    """

    name: str
    seconds: float
    share: float
    kernels: int
    advice: tuple[Advice, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a model goes.

    Attributes:
        model: its path.
        backend: what ran it.
        threads: within an operator.
        runs: that count.
        wall_seconds: the median run as its caller sees it, without the profiler.
        profiled_seconds: the same under the profiler, which takes time for each kernel.
        kernel_seconds: of all kernels together.
        kernels: the longest first.
        by_op: kernels by operator, the longest first.
        by_pattern: kernels by kind of work, the longest first.
        timeline: one run, that in which the kernels took the median.
        notes: what to know about the numbers.
    """

    model: str
    backend: str
    threads: int
    runs: int
    wall_seconds: float
    profiled_seconds: float
    kernel_seconds: float
    kernels: tuple[Kernel, ...]
    by_op: tuple[Group, ...]
    by_pattern: tuple[Group, ...]
    timeline: tuple[Span, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def layout_share(self) -> float:
        """Share of what only moves or converts data."""
        return sum(
            group.share for group in self.by_pattern if group.name in ("layout change", "cast", "reshape and copy")
        )


def group_by(
    kernels: Iterable[Kernel], key: Callable[[Kernel], str], remark: Callable[[str], str] = lambda name: ""
) -> tuple[Group, ...]:
    """Kernels grouped, the longest group first.

    Args:
        kernels: of one profile.
        key: what a kernel is grouped by.
        remark: what to know about a group, by its name.
    """
    groups: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        groups.setdefault(key(kernel), []).append(kernel)
    found = []
    for name, members in groups.items():
        weights: dict[Advice, float] = {}
        for member in members:
            for advice in member.advice:
                weights[advice] = weights.get(advice, 0.0) + member.seconds
        advice_first = tuple(sorted(weights, key=lambda item: (-weights[item], item.rule)))
        seconds, share = sum(item.seconds for item in members), sum(item.share for item in members)
        found.append(Group(name, seconds, share, len(members), advice_first, "" if advice_first else remark(name)))
    return tuple(sorted(found, key=lambda group: (-group.seconds, group.name)))
