"""Folders that show a failure again, as the compiler writes them: with the plugins and options that it knows of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from graphopt.backends.onnx.files import save
from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Compilation
from graphopt.compiler.judging import Outcome
from graphopt.compiler.request import CheckRequest
from graphopt.ir import Model
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Application
from graphopt.verify.reproducer import Reproducer, write_reproducer
from graphopt.verify.reproducer_record import NotedPlugin

__all__ = ["noted_plugins", "write_failure"]


def noted_plugins(plugins: PluginManager) -> list[NotedPlugin]:
    """The plugins in use, as a reproducer notes them."""
    return [
        NotedPlugin(info.name, info.package, info.api_version if isinstance(info.api_version, int) else None)
        for info in plugins.plugins
        if info.status == "loaded"
    ]


def write_failure(
    folder: str | os.PathLike[str],
    work: Compilation,
    checker: Checker,
    request: CheckRequest,
    outcome: Outcome,
    application: Application | None,
    *,
    result: Model | None = None,
    rtol: float | None = None,
    disabled: Sequence[str] = (),
) -> Reproducer:
    """Write what shows a failure again.

    Args:
        folder: see :func:`graphopt.verify.write_reproducer`.
        work: what failed.
        checker: has a file with the original.
        request: inputs and seed.
        outcome: how it failed.
        application: the rewrite at fault, if it is known.
        result: the wrong model, if there is one.
        rtol: difference that is allowed, ``None`` for what the passes declare.
        disabled: passes and rules that are left out.

    Raises:
        OutputError: if the folder cannot be written.
    """
    optimized: Path | None = None
    if result is not None:
        optimized = Path(checker.result)
        try:
            save(result, optimized, force=True)
        except Exception:  # noqa: BLE001 - a wrong model may be one that can't be written; the folder shows that again
            optimized = None
    return write_reproducer(
        folder,
        original=checker.original,
        optimized=optimized,
        verdict=outcome.verdict,
        pipeline=work.pipeline.to_text(),
        application=application,
        kind=outcome.kind or "",
        reason=outcome.reason,
        target=work.target,
        seed=request.seed,
        samples=request.samples,
        rtol=rtol,
        disabled=disabled,
        plugins=noted_plugins(work.environment.plugins),
    )
