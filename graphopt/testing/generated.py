"""What strategies of models draw: a model, inputs on which it runs, and what is special about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import onnx.printer

from graphopt.ir import Array, Model
from graphopt.serde import lift_model

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["GeneratedModel"]


class Printer(Protocol):
    """What prints falsifying examples."""

    def text(self, text: str) -> None:
        """Print a text."""


@dataclass(frozen=True, eq=False, repr=False)
class GeneratedModel:
    """A model that was made up for a test.

    Attributes:
        proto: the model. It passes ``onnx.checker``, and ONNX Runtime runs it on each of ``feeds``.
        feeds: inputs by name, an array each; several sets, of other sizes where dimensions are symbolic.
        tags: what is special: ``"wild"`` (NaN, infinities, denormals or huge numbers are likely, so only exact rewrites can be judged).
        sites: names of the outputs at which a rule is meant to apply, for :func:`~graphopt.testing.graphs_matching`.
        change: what was changed so that a rule should not apply, or only differently, for :func:`~graphopt.testing.near_misses`.
        refused: how many nodes were tried out and refused by ONNX Runtime before these were found.
    """

    proto: ModelProto
    feeds: tuple[Mapping[str, Array], ...] = ()
    tags: frozenset[str] = frozenset()
    sites: tuple[str, ...] = ()
    change: str = ""
    refused: int = field(default=0, compare=False)

    @property
    def ir(self) -> Model:
        """The model as IR, lifted anew: edits are nobody else's."""
        return lift_model(self.proto)

    @property
    def is_wild(self) -> bool:
        """Whether extreme numbers are likely, so that only bit-exact rewrites can be judged."""
        return "wild" in self.tags

    @property
    def opset(self) -> int:
        """Opset of the default domain."""
        return next((item.version for item in self.proto.opset_import if item.domain in ("", "ai.onnx")), 0)

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Falsifying examples are shown as :func:`repr` shows them: ONNX text."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        lines = [onnx.printer.to_text(self.proto)]
        for index, feeds in enumerate(self.feeds):
            sizes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in feeds.items())
            lines.append(f"feeds[{index}]: {sizes or 'none'}")
        if self.sites:
            lines.append(f"sites: {', '.join(self.sites)}")
        if self.change:
            lines.append(f"change: {self.change}")
        return "\n".join(lines)
