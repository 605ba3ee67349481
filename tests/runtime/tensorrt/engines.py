"""Engines for a GPU that is none, as files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.building import EngineOptions, build_engine
from graphopt.compiler.environment import Environment
from graphopt.runtime import RunOptions
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime
from graphopt.testing.tensorrt.fake_library import fake_api
from graphopt.testing.tensorrt.host_cuda import HostCuda

__all__ = ["Bench", "write_engine"]

HEAD = '<ir_version: 8, opset_import: ["": 17]> model '


@dataclass
class Bench:
    """A library, a device, and the runtime on them."""

    api: Api
    cuda: Any

    @classmethod
    def new(cls, *, late_shapes: bool = False, **device: Any) -> Bench:
        return cls(fake_api(late_shapes=late_shapes), HostCuda(**device))

    @property
    def runtime(self) -> TensorRtRuntime:
        return TensorRtRuntime(lambda: self.api, lambda: self.cuda)

    def opened(self, text: str, folder: Path, *, optimize: bool = False, **options: Any) -> Any:
        """A runner for a model in ONNX's text syntax."""
        path = write_engine(self.api, text, folder / "model.engine", **options)
        return self.runtime.open(path, RunOptions(optimize=optimize))


def write_engine(
    api: Api,
    text: str,
    path: Path,
    *,
    sizes: Mapping[str, Sequence[int]] | None = None,
    **stated: object,
) -> Path:
    """An engine with its manifest; ``stated`` replaces what that says."""
    environment = Environment()
    model = environment.legalized(environment.lift(onnx.parser.parse_model(HEAD + text)), "tensorrt")
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend)
    built = backend.network(model, api)
    data = build_engine(built, EngineOptions(sizes=sizes or {}))
    path.write_bytes(data)
    manifest = {
        "format": 1,
        "library": api.name,
        "version": api.version,
        "capabilities": [],
        "types": {name: str(dtype) for name, dtype in built.dtypes.items()},
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(manifest | stated))
    return path
