"""The chain of parts against the original: as it is where all parts run here, else each part as ONNX, which shows that the cut is right."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from graphopt.backends.onnx.files import save
from graphopt.compiler.artifacts import DEFAULT_BACKEND, HYBRID, RunnableFile, find_runtime
from graphopt.compiler.cutting import Cut, part_of
from graphopt.compiler.engines.precision import is_comparable
from graphopt.compiler.environment import Environment
from graphopt.numerics import Numerics, weakest
from graphopt.runtime.hybrid.manifest import MANIFEST, HybridManifest, digests_of, write_manifest
from graphopt.runtime.hybrid.runner import HybridRuntime
from graphopt.runtime.isolation import ChildEndedError, shared_worker
from graphopt.runtime.runtimes import load_runtime, why_unavailable
from graphopt.verify import CheckOptions, RuntimeOpener, Verdict, check_equivalence

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds

__all__ = ["check_parts"]


def check_parts(
    found: Cut,
    manifest: HybridManifest,
    folder: Path,
    source: object,
    environment: Environment,
    *,
    inputs: object = None,
    seed: int = 0,
) -> tuple[Verdict | None, str]:
    """The verdict on a folder of parts, and what ran them.

    Args:
        found: where the model was cut.
        manifest: of the folder.
        folder: it.
        source: the original.
        environment: has the runtimes.
        inputs: an ``.npz`` file or arrays by name; drawn when ``None``.
        seed: of drawn ones.

    Returns:
        The verdict, and ``"hybrid"`` when the folder ran as it is, ``"onnxruntime"`` when each part ran as ONNX. No verdict where neither
        can be: the target does not run here, and ONNX Runtime does not compute in the precision of the model.

    Raises:
        ExecutionError: if the original does not run.
    """
    runtimes = {part.backend: find_runtime(environment, part.backend) for part in manifest.parts}
    as_it_is = all(why_unavailable(name, stated) is None for name, stated in runtimes.items())
    if not as_it_is and not is_comparable(manifest.precision):
        return None, ""
    numerics: list[Numerics] = [] if found.report is None else [found.report.numerics]
    with (
        tempfile.TemporaryDirectory(prefix="graphopt-hybrid-", ignore_cleanup_errors=True) as scratch,
        RunnableFile(source, DEFAULT_BACKEND, environment) as original,
    ):
        if as_it_is:
            numerics += [load_runtime(name, stated).numerics for name, stated in runtimes.items()]
        else:
            folder = Path(scratch)
            runtimes = {DEFAULT_BACKEND: find_runtime(environment, DEFAULT_BACKEND)}
            write_manifest(folder, _as_onnx(found, manifest, folder))
        runtime = HybridRuntime(runtimes)
        arguments = (original.path, str(folder / MANIFEST), weakest(numerics), _plain(inputs), seed, runtime)
        try:
            verdict = shared_worker().call(_judge, *arguments) if runtime.travels else _judge(*arguments)
        except ChildEndedError as err:
            verdict = Verdict("failed", f"a part crashes its runtime: {err}", failure="crash")
    return verdict, HYBRID if as_it_is else DEFAULT_BACKEND


def _plain(inputs: object) -> str | Feeds | None:
    """Inputs that can go to another process, which may have started in another folder."""
    return os.path.abspath(inputs) if isinstance(inputs, str | os.PathLike) else cast("Feeds | None", inputs)


def _judge(
    original: str, made: str, numerics: Numerics, inputs: str | Feeds | None, seed: int, runtime: HybridRuntime
) -> Verdict:
    options = CheckOptions(seed=seed)
    opener = RuntimeOpener(HYBRID, runtime, options)
    return check_equivalence(original, made, numerics=numerics, inputs=inputs, options=options, opener=opener)


def _as_onnx(found: Cut, manifest: HybridManifest, folder: Path) -> HybridManifest:
    """The same parts as ONNX models in another folder."""
    parts = []
    for place, (region, part) in enumerate(zip(found.partition.regions, manifest.parts, strict=True)):
        files = save(part_of(found.model, region), folder / f"{place:03}.onnx")
        parts.append(replace(part, backend=DEFAULT_BACKEND, file=files[0].name, files=digests_of(files), built={}))
    return replace(manifest, parts=tuple(parts))
