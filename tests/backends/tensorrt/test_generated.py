"""Models that are made up: what is said to be supported becomes a network that computes the same, the rest is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.tensorrt_networks import Made, refusal
from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.compiler.environment import Environment
from graphopt.errors import UnsupportedOpError
from graphopt.testing.strategies.bulk import sampled_models
from tests.backends.tensorrt.library import API, close, expected, needs_library, outputs_of

pytestmark = needs_library

SEEDS = range(4)
EACH = 20
#: Engines take longer than networks.
ENGINE_EVERY = 5


def _legal(proto):
    environment = Environment()
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend)
    return environment.legalized(environment.lift(proto), "tensorrt"), backend


def _is_expressible(proto) -> bool:
    """Without text at the edges, and outputs that are no inputs: the library has neither."""
    inputs = {item.name for item in proto.graph.input}
    text = any(
        item.type.tensor_type.elem_type == onnx.TensorProto.STRING for item in (*proto.graph.input, *proto.graph.output)
    )
    return not text and not any(item.name in inputs for item in proto.graph.output)


def _fed(made):
    """Inputs, those that the model itself has numbers for among them."""
    names = {item.name for item in made.proto.graph.input}
    stated = {item.name: numpy_helper.to_array(item) for item in made.proto.graph.initializer if item.name in names}
    return stated | dict(made.feeds[0])


def _right(actual, wanted) -> bool:
    """Doubles are computed as floats, which overflow earlier; where ONNX Runtime gives no number, rounding made it so."""
    wanted = np.asarray(wanted)
    if wanted.dtype.kind == "f" and np.isnan(wanted).any():
        return bool(actual.shape == wanted.shape)
    if wanted.dtype == np.float64:
        with np.errstate(over="ignore"):
            wanted = wanted.astype(np.float32)
    return close(actual, wanted, rtol=2e-2 if wanted.dtype.itemsize == 2 else 1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_supports_says_what_builds(seed):
    lowered = 0
    for place, made in enumerate(sampled_models(EACH, seed=seed)):
        if made.is_wild or not _is_expressible(made.proto):
            continue
        model, backend = _legal(made.proto)
        reasons = [reason for node in model.graph.walk() if (reason := backend.supports(node)) is not None]
        if reasons:
            with pytest.raises(UnsupportedOpError):
                backend.network(model, API)
            continue
        built = backend.network(model, API)
        found = outputs_of(built, _fed(made))
        for name, wanted in expected(made.proto, made.feeds[0]).items():
            assert _right(found[name], wanted), f"seed {seed}, model {place}: {name}"
        if lowered % ENGINE_EVERY == 0:
            assert not refusal(Made(built.builder, built.log, built.network), _fed(made)), f"seed {seed}, model {place}"
        lowered += 1
    assert lowered >= 3
