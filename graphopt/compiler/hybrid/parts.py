"""Parts of a model as files: engines where the target builds them, what its backend saves otherwise, ONNX for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from graphopt.analysis.partitioning import Region
from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from graphopt.backends.tensorrt.manifest_contents import manifest_of
from graphopt.compiler.artifacts import DEFAULT_BACKEND
from graphopt.compiler.engines.lowering import lower
from graphopt.compiler.environment import Environment
from graphopt.compiler.hybrid.size_ranges import SizeRanges
from graphopt.compiler.saving import save_for
from graphopt.compiler.sparse_weights import sparse_layers
from graphopt.errors import ExecutionError, GraphoptError, UnsupportedOpError
from graphopt.ir import Model, Node
from graphopt.runtime.hybrid.manifest import HybridPart, digests_of

__all__ = ["PartMaker", "RefusedRegionError"]

_REASON_CHARS: Final = 200


class RefusedRegionError(GraphoptError):
    """A region that was thought to be taken can't be built; the rest of the model may still be cut elsewhere.

    Attributes:
        refused: why, by the name of a value that a node in it gives.
    """

    def __init__(self, region: Region, error: GraphoptError) -> None:
        super().__init__(str(error))
        reason = " ".join(str(error).split())[:_REASON_CHARS]
        at_fault = [node for node in region.nodes if error.node and error.node in _names(node)] or region.nodes
        self.refused = {value.name: reason for node in at_fault for value in node.outputs if value.name}


def _names(node: Node) -> set[str]:
    """Names of values that a node gives, or that nodes inside of it give."""
    inside = (inner for graph in node.subgraphs for inner in graph.walk())
    return {value.name for each in (node, *inside) for value in each.outputs}


@dataclass(frozen=True)
class PartMaker:
    """Makes the files of parts.

    Attributes:
        environment: has the backends.
        target: what takes as much as it can.
        api: the library that builds engines, ``None`` when the target builds none.
        options: how engines are built, sizes apart.
        ranges: sizes that they are built for, by profile.
        sparse: whether zeros of 2:4 weights may be skipped; where there are such weights if ``None``.
        source: where the model came from.
        source_sha256: digest of that file, ``""`` if it was none.
        pipeline: what the model went through.
        precision: of its floats.
        tell: told what is going on.
    """

    environment: Environment
    target: str
    api: Api | None
    options: EngineOptions
    ranges: Sequence[SizeRanges]
    sparse: bool | None
    source: str
    source_sha256: str
    pipeline: str
    precision: str
    tell: Callable[[str], None]

    def make(self, part: Model, region: Region, stem: Path) -> HybridPart:
        """The files of one part, beside each other.

        Args:
            part: the region as a model.
            region: it.
            stem: path of the files, without the end of their names.

        Raises:
            RefusedRegionError: if the target does not build it after all.
            ExecutionError: if a size is not stated, or memory does not suffice.
        """
        if not region.taken:
            return self._saved(DEFAULT_BACKEND, part, region, stem.with_suffix(".onnx"))
        if self.api is None:
            runtime = self.environment.plugins.runtimes.find(self.environment.backend(self.target).name)
            return self._saved(self.target, part, region, stem.with_suffix(str(getattr(runtime, "suffix", ".onnx"))))
        return self._engine(self.api, part, region, stem.with_suffix(".engine"))

    def _saved(self, target: str, part: Model, region: Region, path: Path) -> HybridPart:
        backend = self.environment.backend(target)
        model = self.environment.legalized(part, target)
        self.tell(f"saving {path.name}")
        files = save_for(backend, model, path)
        return _part(backend.name, path, files, region, {})

    def _engine(self, api: Api, part: Model, region: Region, path: Path) -> HybridPart:
        zeros = [] if self.sparse is False else sparse_layers(part.graph)
        options = replace(
            self.options,
            profiles=[ranges.profile(region.inputs) for ranges in self.ranges],
            sizes={},
            sparse=bool(zeros) if self.sparse is None else self.sparse,
        )
        self.tell(f"building {path.name}")
        try:
            built = lower(self.environment, part, api, refittable=options.refittable)
            engine = build_with_layers(built, options, progress=self.tell)
        except (UnsupportedOpError, ExecutionError) as err:
            if "not enough memory" in str(err):  # to leave more of the model to ONNX Runtime would hide that
                raise
            raise RefusedRegionError(region, err) from err
        manifest = manifest_of(
            built,
            engine,
            options,
            source=self.source,
            source_sha256=self.source_sha256,
            pipeline=self.pipeline,
            precision=self.precision,
            sparse=[original for node in zeros for original in node.lineage.names()[:1]] if options.sparse else (),
        )
        with path.open("wb") as file:
            file.write(engine.data)
        beside = path.with_name(f"{path.name}.json")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        told = {name: manifest[name] for name in ("library", "version", "capabilities", "profiles", "layers", "bytes")}
        return _part("tensorrt", path, [path, beside], region, told)


def _part(backend: str, path: Path, files: Sequence[Path], region: Region, told: dict[str, Any]) -> HybridPart:
    inputs, outputs = (tuple(value.name for value in values) for values in (region.inputs, region.outputs))
    return HybridPart(backend, path.name, digests_of(files), inputs, outputs, len(region.nodes), region.flops, told)
