"""Quantizes models in text form by the two passes, and runs them with and without ONNX Runtime's optimizer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.ir import Array, Model, verify
from graphopt.passes import Pass, PassContext
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.quantization.static import AssignQuantization, InsertQdq

__all__ = ["assigned", "context", "feeds_of", "forms", "quantized_model", "run_optimized"]

CPU = "onnxruntime-cpu"


@functools.cache
def environment() -> Environment:
    """The built-in plugins."""
    return Environment()


def context(feeds: Sequence[Mapping[str, Array]] | None, target: str = CPU) -> PassContext:
    """What passes get from the compiler, with data."""
    known = environment()
    source = None if feeds is None else Batches(known, lambda: list(feeds))
    return known.context(known.backend(target), calibration=source)


def feeds_of(
    proto: ModelProto, count: int = 3, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> list[dict[str, Array]]:
    """Normal numbers for float inputs, places for integer ones."""
    rng = np.random.default_rng(seed)
    known = {item.name for item in proto.graph.initializer}
    found = []
    for _ in range(count):
        feed: dict[str, Array] = {}
        for info in proto.graph.input:
            tensor = info.type.tensor_type
            if info.name in known:
                continue
            shape = [d.dim_value or (sizes or {}).get(d.dim_param, 2) for d in tensor.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            feed[info.name] = rng.normal(size=shape).astype(dtype) if dtype.kind == "f" else np.ones(shape, dtype)
        found.append(feed)
    return found


def assigned(
    proto: ModelProto,
    step: Pass | None = None,
    *,
    target: str = CPU,
    feeds: Sequence[Mapping[str, Array]] | None = None,
) -> tuple[Model, PassContext]:
    """The model with its notes; a second run of the pass changes nothing."""
    model = lift_model(proto)
    ctx = context(feeds_of(proto) if feeds is None else feeds, target)
    ctx.types.infer_model(model)
    step = step or AssignQuantization()
    result = step.run(model.graph, ctx)
    assert result.changed == bool(sum(result.stats.values()))
    assert not step.run(model.graph, ctx).changed, "a second run finds all as it is"
    verify(model)
    return model, ctx


def quantized_model(
    proto: ModelProto,
    step: Pass | None = None,
    *,
    target: str = CPU,
    feeds: Sequence[Mapping[str, Array]] | None = None,
) -> ModelProto:
    """The model with Q/DQ pairs, checked; a second run changes nothing, and neither does another quantization."""
    model, ctx = assigned(proto, step, target=target, feeds=feeds)
    InsertQdq().run(model.graph, ctx)
    verify(model)
    assert not InsertQdq().run(model.graph, ctx).changed
    ctx.types.infer_model(model)
    assert not AssignQuantization().run(model.graph, ctx).changed, "what is quantized is left alone"
    after = emit_model(model, lineage=False)
    onnx.checker.check_model(after, full_check=True)
    assert [v.name for v in proto.graph.output] == [v.name for v in after.graph.output]
    return after


def forms(proto: ModelProto, step: AssignQuantization | None = None, *, target: str = CPU) -> dict[str, str]:
    """The form that is planned for each node, by name."""
    from graphopt.transforms.quantization.layers import Selection
    from graphopt.transforms.quantization.static import plan_static

    model = lift_model(proto)
    ctx = context(None, target)
    ctx.types.infer_model(model)
    step = step or AssignQuantization()
    plan = plan_static(model.graph, step.scheme(ctx, model.graph.opset()), Selection(step.include, step.exclude))
    return {item.layer: item.form for item in plan.decisions}


def run_optimized(proto: ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs by ONNX Runtime with all its optimizations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))
