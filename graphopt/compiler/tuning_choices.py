"""What ``tune`` tries: levels, a level without one pass, settings of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from graphopt.compiler.executors import usable_cores
from graphopt.passes import SessionSettings

__all__ = ["ORIGINAL", "Candidate", "Choice", "default_threads", "levels", "sessions", "without_passes"]

Choice = Literal["original", "level", "pass", "session", "together", "confirm"]

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
_MOST_PASSES: Final = 8


@dataclass(frozen=True)
class Candidate:
    """A model and how it is run.

    Attributes:
        name: what is different, for people.
        choice: what kind of difference that is.
        level: how the model is made.
        disabled: passes that are left out.
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


def without_passes(incumbent: Candidate, did: Mapping[str, int]) -> list[Candidate]:
    """The model without one of the passes that did something, those that did most first.

    Args:
        incumbent: the model with all of them.
        did: rewrites by pass.
    """
    names = sorted((name for name in did if name not in _HOUSEKEEPING), key=lambda name: -did[name])
    return [
        replace(incumbent, name=f"{incumbent.level} without {name}", choice="pass", disabled=(name,))
        for name in names[:_MOST_PASSES]
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
