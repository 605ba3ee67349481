"""What an oracle raises when a law is broken, and what it gives back when it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx.printer

from graphopt.runtime.base import Feeds

if TYPE_CHECKING:
    from onnx import ModelProto

    from graphopt.rewriting import Application

__all__ = ["Checked", "LawBroken", "model_text"]

_LINES: Final = 40
_WIDTH: Final = 200
_ELEMENTS: Final = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """A law that holds for a model.

    Attributes:
        law: its name.
        changed: whether the pass changed the model.
        rewrites: what it counted, zeros left out.
        compared: outputs that were compared as numbers; 0 when nothing changed, so that there was nothing to compare.
        skipped: why nothing could be told, ``""`` when it could.
    """

    law: str
    changed: bool = False
    rewrites: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0
    skipped: str = ""


class LawBroken(AssertionError):  # noqa: N818 - test runners show it as a failure, not as an error
    """A pass broke a law.

    Args:
        law: name of the law, such as ``"equivalent"``.
        subject: the pass, as people call it.
        detail: what was found, and what was expected.
        model: the model on which it happened.
        advice: what to do about it.
        feeds: inputs that show it, ``None`` when inputs do not matter.
        after: what the pass made of the model, ``None`` when there is no such thing.
        application: the first rewrite that is wrong, if it is known.
        pipeline: text of the pipeline, ``""`` when it has none.
        target: name of the backend that the passes worked for.
        imports: places of passes and rules that no plugin registers, as ``graphopt replay`` wants them; ``None`` when one has none.
    """

    def __init__(
        self,
        law: str,
        subject: str,
        detail: str,
        *,
        model: ModelProto,
        advice: str,
        feeds: Feeds | None = None,
        after: ModelProto | None = None,
        application: Application | None = None,
        pipeline: str = "",
        target: str = "onnx",
        imports: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(detail)
        self.law = law
        self.subject = subject
        self.detail = detail
        self.model = model
        self.advice = advice
        self.feeds = feeds
        self.after = after
        self.application = application
        self.pipeline = pipeline
        self.target = target
        self.imports = imports

    def __str__(self) -> str:
        lines = [f"{self.subject} breaks the law {self.law!r}: {self.detail}"]
        if self.application is not None:
            lines.append(f"first wrong rewrite: {self.application}")
        lines.append(f"what to do: {self.advice}")
        lines += ["before:", _indented(model_text(self.model))]
        if self.after is not None:
            lines += ["after:", _indented(model_text(self.after))]
        if self.feeds:
            lines.append("inputs:")
            lines += [f"  {name} = {_spell(value)}" for name, value in self.feeds.items()]
        return "\n".join(lines)


def model_text(model: ModelProto, *, lines: int = _LINES) -> str:
    """A model in ONNX text syntax, cut to a length that fits into a message."""
    found = onnx.printer.to_text(model).splitlines()
    cut = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]} ..." for line in found[:lines]]
    return "\n".join([*cut, f"... {len(found) - lines} more lines"] if len(found) > lines else cut)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _spell(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)[:_WIDTH]
    head = f"{value.dtype}{list(value.shape)}"
    numbers = ", ".join(str(item) for item in value.reshape(-1)[:_ELEMENTS])
    more = ", ..." if value.size > _ELEMENTS else ""
    return f"{head} {numbers}{more}"
