"""The work on one model of a fleet: optimize and save it, here or wherever an executor runs it. All of it travels."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from graphopt.builtin_plugin import BUILTIN, builtin_plugins
from graphopt.compiler.fleets.manifest import digest_of_file
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import Optimized, OptimizeReport
from graphopt.passes import installed_versions
from graphopt.passes.record import pass_totals
from graphopt.plugin_manager import PluginManager

__all__ = ["FleetJob", "JobResult", "run_job", "versions_of"]

#: What decides what a result is. The system does not.
_PACKAGES: Final = ("graphopt", "onnx", "onnxruntime")


@dataclass(frozen=True)
class FleetJob:
    """What is to be done with a model.

    Attributes:
        source: its path, where the job runs.
        data: the model itself, where that is another machine.
        output: where the result goes, ``None`` for nowhere.
        name: name of the result's file, for a job that sends it back.
        pipeline: text of what to run.
        target: name of a backend.
        check: whether the result is compared with the original.
        guard: whether fused kernels of ONNX Runtime are counted.
        seed: of all random numbers.
        inputs: for the check, path of an ``.npz`` file; drawn when ``None``.
        inputs_data: the file itself, where that is another machine.
        disabled: passes and rules to leave out.
        external_data: whether weights go to a file beside the model, ``None`` lets the size decide.
        force: whether files that are there may be replaced.
        blocked: plugins that are not to be used.
    """

    source: str
    pipeline: str
    target: str
    data: bytes | None = None
    output: str | None = None
    name: str = ""
    check: bool = True
    guard: bool = True
    seed: int = 0
    inputs: str | None = None
    inputs_data: bytes | None = None
    disabled: tuple[str, ...] = ()
    external_data: bool | None = None
    force: bool = False
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobResult:
    """What came of it.

    Attributes:
        summary: what the report said.
        files: digest of each file that was written, by name.
        sent: content of each file, where they are to be written elsewhere.
        seconds: how long it took.
        passes: by pass that changed something, what it counted by rule.
        versions: of what it was made with.
    """

    summary: dict[str, object]
    files: dict[str, str] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    passes: dict[str, dict[str, int]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def versions_of(plugins: PluginManager) -> dict[str, str]:
    """Versions that decide what a result is: of graphopt, of what it works with, of plugins."""
    found = installed_versions(_PACKAGES)
    packages = {str(row["name"]): str(row["package"]) for row in plugins.describe("plugins")}
    return {name: found[name] for name in _PACKAGES if name in found} | {
        f"plugin {name}": package for name, package in packages.items() if name != BUILTIN
    }


def run_job(job: FleetJob) -> JobResult:
    """Optimize a model and save it.

    Raises:
        GraphoptError: as :func:`graphopt.optimize` and :meth:`Optimized.save` do.
    """
    start = time.perf_counter()
    plugins = builtin_plugins(job.blocked)
    with tempfile.TemporaryDirectory(prefix="graphopt-job-") as folder:
        inputs = job.inputs
        if job.inputs_data is not None:
            inputs = os.path.join(folder, "inputs.npz")
            Path(inputs).write_bytes(job.inputs_data)
        result = optimize(
            job.source if job.data is None else job.data,
            pipeline=job.pipeline,
            target=job.target,
            check=job.check,
            guard=job.guard,
            inputs=inputs,
            seed=job.seed,
            disabled=job.disabled,
            plugins=plugins,
        )
        files, sent = _saved(job, result, Path(folder))
    did = {record.name: dict(record.stats) for record in pass_totals(result.report.passes) if record.changed}
    return JobResult(_summary(result.report), files, sent, time.perf_counter() - start, did, versions_of(plugins))


def _saved(job: FleetJob, result: Optimized, folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Digests of the files, and their content if it is to be sent."""
    if job.output is None and not job.name:
        return {}, {}
    place = folder / job.name if job.output is None else Path(job.output)
    paths = result.save(place, external_data=job.external_data, force=job.force)
    digests = {path.name: digest_of_file(path) for path in paths}
    return digests, {path.name: path.read_bytes() for path in paths} if job.output is None else {}


def _summary(report: OptimizeReport) -> dict[str, object]:
    return {
        "nodes_before": report.nodes_before,
        "nodes_after": report.nodes_after,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "check": "not asked for" if report.verdict is None else report.verdict.summary,
        "skipped": list(report.skipped),
        "notes": list(report.notes),
    }
