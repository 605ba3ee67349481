"""The form in which a target takes models, for checks: what its backend saves runs in its own runtime, not the graph that it was made of.

Models for targets that take ONNX run where the original does. Of a target that nobody brings a runtime for, or whose runtime lacks a
device here, the legalized graph is run as ONNX, which says whether the passes are right and not what the backend makes of it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.compiler.artifacts import find_runtime
from graphopt.compiler.saving import save_for
from graphopt.errors import ExecutionError
from graphopt.ir import Model
from graphopt.numerics import Exact, Numerics, weakest
from graphopt.passes import Lazy

if TYPE_CHECKING:
    from graphopt.compiler.environment import Environment
    from graphopt.verify import RuntimeOpener, Verdict

__all__ = ["TargetForm"]


class TargetForm:
    """How models for a target are run by a check.

    Args:
        environment: has the target's backend and runtime.
        target: name of the backend.
        folder: for what the backend saves.
        as_onnx: whether the legalized graph is run as ONNX though there is a runtime: its own form is made, and checked, later.

    Attributes:
        opener: opens what the backend saves; ``None`` when models run as ONNX.
        note: what makes a check say less than it seems to, ``""`` for nothing.
        travels: whether the opener can be used in a child process.
    """

    def __init__(self, environment: Environment, target: str, folder: str, *, as_onnx: bool = False) -> None:
        self.opener: RuntimeOpener | None = None
        self.note = ""
        self.travels = True
        self._backend = environment.backend(target)
        self._numerics: Numerics = Exact()
        if as_onnx:
            return
        try:
            stated = find_runtime(environment, target)
        except ExecutionError:
            self.note = (
                f"target {target!r} has no runtime: the check ran the model as ONNX, before the target's own form"
            )
            return
        from graphopt.runtime.runtimes import (
            load_runtime,
            why_unavailable,
        )  # lazily: most checks are done with nothing of it

        runtime = load_runtime(target, stated)
        if runtime.suffix == ".onnx":
            return
        reason = why_unavailable(target, stated)
        if reason is not None:
            self.note = f"target {target!r} does not run here ({reason}): the check ran the model as ONNX, before the target's own form"
            return
        from graphopt.verify import RuntimeOpener  # lazily, as above

        self.opener = RuntimeOpener(target, stated)
        self.travels = isinstance(stated, Lazy)
        self._numerics = runtime.numerics
        self._path = os.path.join(folder, f"made{runtime.suffix}")

    def save(self, model: Model) -> str:
        """The path of what the backend makes of a legalized model.

        Raises:
            UnsupportedOpError: if the backend has no form for a node.
        """
        save_for(self._backend, model, Path(self._path), force=True)
        return self._path

    def allowed(self, numerics: Numerics) -> Numerics:
        """What may differ: what the pipeline declares, and what the runtime does to numbers."""
        return weakest((numerics, self._numerics))

    def told(self, verdict: Verdict) -> Verdict:
        """A verdict, not conclusive where ONNX Runtime can't know what the model was legalized into."""
        if not self.note or verdict.failure != "invalid-model" or verdict.samples:
            return verdict
        return replace(verdict, status="inconclusive", failure="", reason=f"{self.note}; {verdict.reason}")
