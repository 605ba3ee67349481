"""How ONNX Runtime is to run a model, as data: ``graphopt tune`` finds it, a TOML file holds it, sessions are made with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import msgspec

__all__ = ["SessionSettings"]

_Count = Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True)
class SessionSettings:
    """Settings of a session of ONNX Runtime; ``None`` leaves one as it is by default.

    Attributes:
        threads: within an operator.
        inter_threads: operators that may run at the same time, with ``execution = "parallel"``.
        optimization: how much ONNX Runtime's own graph optimizer may do.
        execution: whether operators run one after another, or branches at the same time.
        arena: whether memory is kept for later runs.
        memory_pattern: whether memory for a whole run is planned from the one before.
        spinning: whether threads that wait keep a core busy, which wakes them sooner.
        prepacking: whether weights are kept in the layout of the kernels.

    Example:
        >>> settings = SessionSettings(threads=2, spinning=False)
        >>> settings.to_dict()
        {'threads': 2, 'spinning': False}
        >>> str(settings.merged(SessionSettings(threads=1)))
        'threads=1, spinning=false'
    """

    threads: _Count | None = None
    inter_threads: _Count | None = None
    optimization: Literal["none", "basic", "extended", "all"] | None = None
    execution: Literal["sequential", "parallel"] | None = None
    arena: bool | None = None
    memory_pattern: bool | None = None
    spinning: bool | None = None
    prepacking: bool | None = None

    def to_dict(self) -> dict[str, int | str | bool]:
        """The settings that are stated, in order."""
        stated = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in stated.items() if value is not None}

    def merged(self, other: SessionSettings) -> SessionSettings:
        """These, with what the others state on top."""
        changes: Mapping[str, object] = other.to_dict()
        return replace(self, **changes)  # type: ignore[arg-type]  # names and values of the same class

    def __str__(self) -> str:
        spelled = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in self.to_dict().items()
        }
        return ", ".join(f"{name}={value}" for name, value in spelled.items()) or "defaults"
