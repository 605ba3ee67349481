"""A number for each rewrite that is applied, so that a search can stop after the N-th, or leave one out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["EVERYWHERE", "Application", "Applications", "Site"]

#: What was applied (rule or pass) and where (name of the first output it replaced): stable from run to run.
Site = tuple[str, str]
#: Stands for all sites of a rule.
EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Application:
    """One rewrite that was applied.

    Attributes:
        number: counts from 1 over a whole pipeline.
        pass_name: the pass.
        rule: the rule, or the pass itself.
        site: name of the first output of the root.
    """

    number: int
    pass_name: str
    rule: str
    site: str

    def __str__(self) -> str:
        return f"#{self.number} {self.rule} at {self.site!r} (pass {self.pass_name})"


class Applications:
    """Admits rewrites, numbers them, and remembers them.

    Args:
        limit: the last number that is admitted, ``None`` for all.
        skip: sites that are refused; :data:`EVERYWHERE` as the place refuses a rule altogether.

    Attributes:
        log: what was applied, in order.
        pass_name: the pass that is running.
        heard: told of each application when its edits are done, ``None`` when nobody asks.
    """

    def __init__(self, limit: int | None = None, skip: Iterable[Site] = ()) -> None:
        self.limit = limit
        self.skip = frozenset(skip)
        self.log: list[Application] = []
        self.pass_name = ""
        self.heard: Callable[[Application], None] | None = None

    @property
    def count(self) -> int:
        """How many were admitted."""
        return len(self.log)

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and len(self.log) >= self.limit

    def admits(self, rule: str, site: str) -> bool:
        """Whether a rewrite may be applied now."""
        if self.exhausted:
            return False
        return not self.skip or not ((rule, site) in self.skip or (rule, EVERYWHERE) in self.skip)

    def record(self, rule: str, site: str) -> None:
        """Note that a rewrite was applied."""
        made = Application(len(self.log) + 1, self.pass_name, rule, site)
        self.log.append(made)
        if self.heard is not None:
            self.heard(made)
