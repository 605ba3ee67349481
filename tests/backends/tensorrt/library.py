"""The TensorRT library that tests use, and models as networks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.compiler.environment import Environment
from graphopt.errors import ExecutionError
from graphopt.ir import Model
from graphopt.testing.tensorrt import evaluate

__all__ = ["API", "engine_size", "needs_library", "network_of", "outputs_of"]


def _library():
    from graphopt.backends.tensorrt.api import load

    try:
        return load()
    except ExecutionError:
        return None


API = _library()
needs_library = pytest.mark.skipif(API is None, reason="no TensorRT library: pip install graphopt[tensorrt-rtx]")


def network_of(source: ModelProto | Model | str) -> BuiltNetwork:
    """The network of a model, legalized."""
    environment = Environment()
    model = environment.legalized(environment.lift(source), "tensorrt")
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend)
    return backend.network(model, API)


def outputs_of(built: BuiltNetwork, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """What a network computes."""
    assert API is not None
    return evaluate(API, built.network, feeds, stored=built.stored)


def expected(model: ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """What ONNX Runtime computes, its optimizer off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, dict(feeds)), strict=True))


def engine_size(built: BuiltNetwork, **options: Any) -> int:
    """Bytes of an engine of a network; its inputs have fixed sizes, or profiles are given."""
    from graphopt.backends.tensorrt.building import EngineOptions, build_engine

    return len(build_engine(built, EngineOptions(**options)))


def close(actual: Any, wanted: Any, *, rtol: float = 1e-4) -> bool:
    """Whether numbers are equal up to a share of the largest."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    if actual.shape != wanted.shape:
        return False
    with np.errstate(invalid="ignore"):
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-6)
    return bool(np.allclose(actual, wanted, rtol=rtol, atol=rtol * scale, equal_nan=True))
