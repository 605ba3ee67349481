"""What ``tune`` tries: levels, a level without one fusion, settings of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from graphopt.compiler.executors import usable_cores
from graphopt.passes import SessionSettings

__all__ = ["ORIGINAL", "Candidate", "Choice", "default_threads", "fusions", "levels", "sessions", "without_fusions"]

Choice = Literal["original", "level", "fusion", "session", "together", "confirm"]

#: Level of the model as it was.
ORIGINAL: Final = "O0"
_LEVELS: Final = ("O1", "O2", "O3")
#: Passes that only tidy up, or without which others find nothing; no runtime is faster without them.
_HOUSEKEEPING: Final = frozenset(
    {
        "canonicalize",
        "canonicalize-algebra",
        "constants-to-initializers",
        "deduplicate-constants",
        "eliminate-common-subexpressions",
        "eliminate-dead-code",
        "fold-constants",
        "fold-shapes",
        "hoist-loop-invariants",
        "inline-functions",
        "remove-unused-functions",
        "remove-unused-opsets",
        "share-shape-values",
        "simplify-if",
        "simplify-loop",
    }
)
_MOST_FUSIONS: Final = 8


@dataclass(frozen=True)
class Candidate:
    """A model and how it is run.

    Attributes:
        name: what is different, for people.
        choice: what kind of difference that is.
        level: how the model is made.
        disabled: passes and rules that are left out.
        settings: of ONNX Runtime.
        change: what of the settings is different.
    """

    name: str
    choice: Choice
    level: str = ORIGINAL
    disabled: tuple[str, ...] = ()
    settings: SessionSettings = field(default_factory=SessionSettings)
    change: SessionSettings = field(default_factory=SessionSettings)

    @property
    def title(self) -> str:
        """All of it in words."""
        model = "the original" if self.level == ORIGINAL else self.level
        left_out = f" without {', '.join(self.disabled)}" if self.disabled else ""
        return f"{model}{left_out}, {self.settings}"

    @property
    def model(self) -> tuple[str, tuple[str, ...]]:
        """What decides the model."""
        return self.level, self.disabled


def default_threads() -> list[int]:
    """Numbers of threads that are tried when nobody says: one, all cores, and half of them where there are many.

    Example:
        >>> default_threads()[0]
        1
    """
    cores = usable_cores()
    return sorted({1, cores} | ({cores // 2} if cores > 3 else set()))


def levels(incumbent: Candidate) -> list[Candidate]:
    """Each level."""
    return [replace(incumbent, name=level, choice="level", level=level) for level in _LEVELS]


def fusions(did: Mapping[str, Mapping[str, int]], rules: Container[str]) -> dict[str, int]:
    """What can be left out by itself: of a pass several rules of which were applied each of these, else the pass; with how often.

    Args:
        did: by pass that changed something, what it counted.
        rules: names of rules; passes count other things too.

    Example:
        >>> did = {"fuse-pad": {"fuse-pad-conv": 3, "fuse-pad-pool": 1}, "fold-constants": {"folded": 9}}
        >>> fusions(did, {"fuse-pad-conv", "fuse-pad-pool"})
        {'fuse-pad-conv': 3, 'fuse-pad-pool': 1}
    """
    found: dict[str, int] = {}
    for name, counts in did.items():
        if name in _HOUSEKEEPING:
            continue
        own = {rule: count for rule, count in counts.items() if count and rule in rules}
        found |= own if len(own) > 1 else {name: sum(counts.values())}
    return found


def without_fusions(incumbent: Candidate, did: Mapping[str, int]) -> list[Candidate]:
    """The model without one of its fusions, those that were applied most first.

    Args:
        incumbent: the model with all of them.
        did: rewrites by pass or rule.
    """
    names = sorted(did, key=lambda name: -did[name])
    return [
        replace(incumbent, name=f"{incumbent.level} without {name}", choice="fusion", disabled=(name,))
        for name in names[:_MOST_FUSIONS]
    ]


def sessions(incumbent: Candidate, threads: Sequence[int]) -> list[Candidate]:
    """Each setting of ONNX Runtime changed by itself."""
    changes = [
        *(SessionSettings(threads=count) for count in threads if count != incumbent.settings.threads),
        SessionSettings(spinning=False),
        SessionSettings(optimization="extended"),
        SessionSettings(optimization="basic"),
        SessionSettings(execution="parallel", inter_threads=2),
        SessionSettings(memory_pattern=False),
        SessionSettings(arena=False),
        SessionSettings(prepacking=False),
    ]
    return [
        replace(
            incumbent, name=str(change), choice="session", settings=incumbent.settings.merged(change), change=change
        )
        for change in changes
    ]
