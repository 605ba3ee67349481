"""Runs passes that look at data on models in text form, and tells how far outputs are from those of the original."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.ir import Model
from graphopt.ir.verifier import verify
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.serde import emit_model, lift_model
from tests.transforms.harness import run

__all__ = ["Floats", "batches", "carried_out", "context", "distance", "noise"]

Floats = npt.NDArray[np.float32]


@functools.cache
def environment() -> Environment:
    """The built-in plugins."""
    return Environment()


def batches(*shape: int, count: int = 4, seed: int = 0, loud: float = 1.0) -> list[dict[str, Floats]]:
    """Inputs ``x`` with channels (axis 1, or the last of two) of different size and mean, that depend on each other."""
    rng = np.random.default_rng(seed)
    axis = 1 if len(shape) > 1 else 0
    spread = [-1 if at == axis else 1 for at in range(len(shape))]
    size = (loud ** rng.normal(size=shape[axis])).reshape(spread)
    mean = rng.normal(size=shape[axis]).reshape(spread)
    mixed = np.eye(shape[axis]) + 0.7
    made = (np.moveaxis(np.moveaxis(rng.normal(size=shape), axis, -1) @ mixed, -1, axis) + mean for _ in range(count))
    return [{"x": (item * size).astype(np.float32)} for item in made]


def context(feeds: Sequence[Mapping[str, Floats]] | None, target: str = "onnxruntime-cpu") -> PassContext:
    """What passes get from the compiler, with data."""
    known = environment()
    source = None if feeds is None else Batches(known, lambda: list(feeds))
    return known.context(known.backend(target), calibration=source)


def carried_out(
    proto: ModelProto, feeds: Sequence[Mapping[str, Floats]] | None, *passes: Pass, target: str = "onnxruntime-cpu"
) -> tuple[Model, list[PassResult]]:
    """The model after passes, verified, and their results."""
    model, ctx = lift_model(proto), context(feeds, target)
    found = []
    for item in passes:
        OnnxTypes().infer_model(model)
        before = model.version
        found.append(item.run(model.graph, ctx))
        assert found[-1].changed == (model.version != before), "an edit was made and not told, or the other way round"
    verify(model)
    return model, found


def distance(proto: ModelProto, model: Model | ModelProto, feeds: Sequence[Mapping[str, Floats]]) -> float:
    """Largest difference of outputs, relative to the largest magnitude of an output."""
    worst = 0.0
    other = emit_model(model) if isinstance(model, Model) else model
    for feed in feeds:
        for expected, found in zip(run(proto, feed), run(other, feed), strict=True):
            gap = np.abs(expected.astype(np.float64) - found.astype(np.float64)).max(initial=0)
            worst = max(worst, float(gap / (np.abs(expected.astype(np.float64)).max(initial=0) + 1e-30)))
    return worst


def noise(proto: ModelProto, model: Model | ModelProto, feeds: Sequence[Mapping[str, Floats]]) -> float:
    """Mean square of the difference of outputs, relative to that of the outputs."""
    other = emit_model(model) if isinstance(model, Model) else model
    error = signal = 0.0
    for feed in feeds:
        for expected, found in zip(run(proto, feed), run(other, feed), strict=True):
            error += float(np.square(expected.astype(np.float64) - found.astype(np.float64)).sum())
            signal += float(np.square(expected.astype(np.float64)).sum())
    return error / signal
