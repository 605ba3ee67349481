"""What tests of passes share: a model in text form goes through a pass, and both forms are run without ONNX Runtime's optimizer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import onnx
import onnx.checker
import onnx.parser
import onnxruntime as ort
from hypothesis import settings
from onnx import ModelProto

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Array, Model
from graphopt.passes import Pass, PassContext
from graphopt.serde import emit_model, lift_model
from graphopt.target import Target

__all__ = [
    "PROPERTY",
    "Outcome",
    "assert_close",
    "assert_exact",
    "assert_near",
    "assert_same_bits",
    "assert_untouched",
    "feeds_for",
    "model",
    "run",
    "transform",
]

#: Property tests see the same examples on each run, set GRAPHOPT_EXAMPLES for more of them.
_EXAMPLES = os.environ.get("GRAPHOPT_EXAMPLES")
PROPERTY = settings(deadline=None, derandomize=_EXAMPLES is None, max_examples=int(_EXAMPLES or 80))
#: Numbers that rewrites get wrong most often.
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 0.5, -2.5, 1e-45, 3e38, -3e38, 65504.0, 7.0)
_IR_VERSIONS = ((10, 4), (11, 5), (12, 6), (15, 7), (19, 8), (21, 9), (10_000, 10))


def model(
    body: str,
    inputs: str = "float[2,3] x",
    outputs: str = "float[*] y",
    *,
    opset: int = 21,
    initializers: Mapping[str, Array | np.generic] | None = None,
    ir_version: int | None = None,
    imports: str = "",
    functions: str = "",
) -> ModelProto:
    """A model of nodes in ONNX text syntax, with constants by name in ``initializers``.

    ``[*]`` stands for an unknown rank; an output of unknown rank gets the rank that inference finds.
    """
    newest = next(version for limit, version in _IR_VERSIONS if opset < limit)
    text = (
        f'<ir_version: {newest if ir_version is None else ir_version}, opset_import: ["" : {opset}{imports}]> '
        f"main ({inputs.replace('[*]', '')}) => ({outputs.replace('[*]', '')}) {{ {body} }} {functions}"
    )
    proto = onnx.parser.parse_model(text)
    for info, kept in ((proto.graph.input, inputs), (proto.graph.output, outputs)):
        for value in info:
            if f"[*] {value.name}" in kept:
                value.type.tensor_type.ClearField("shape")
    for name, array in (initializers or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    inferred = onnx.shape_inference.infer_shapes(proto).graph.output
    for stated, found in zip(proto.graph.output, inferred, strict=True):
        if not stated.type.tensor_type.HasField("shape") and found.type.tensor_type.HasField("shape"):
            for _ in found.type.tensor_type.shape.dim:
                stated.type.tensor_type.shape.dim.add()
            if not found.type.tensor_type.shape.dim:
                stated.type.tensor_type.shape.SetInParent()
    return proto


@dataclass(frozen=True)
class Outcome:
    """What a pass did to a model.

    Attributes:
        before: the model as it was.
        after: the emitted result.
        ir: the result.
        applied: rewrites by rule, or what the pass counts.
        ops: operators of the main graph, in order.
    """

    before: ModelProto
    after: ModelProto
    ir: Model
    applied: dict[str, int]
    ops: list[str] = field(default_factory=list)


def transform(proto: ModelProto, step: Pass, *, target: Target | None = None) -> Outcome:
    """Lift, infer types, run the pass twice (the second run must change nothing), emit, and check the result's form."""
    ir = lift_model(proto)
    types = OnnxTypes()
    types.infer_model(ir)
    ctx = PassContext(types=types, target=target or Target("onnx"))
    applied: Counter[str] = Counter()
    for owner in ir.owners():
        result = step.run(owner.graph, ctx)
        assert result.changed == bool(sum(result.stats.values())), "changed must say what the counts say"
        applied.update(result.stats)
    for owner in ir.owners():
        again = step.run(owner.graph, ctx)
        assert not again.changed, f"a second run changed {again.stats}"
    after = emit_model(ir, lineage=False)
    if all(value.type.tensor_type.HasField("shape") for value in [*proto.graph.input, *proto.graph.output]):
        onnx.checker.check_model(after)
    assert [(v.name, v.type) for v in proto.graph.output] == [(v.name, v.type) for v in after.graph.output]
    assert [v.name for v in proto.graph.input if v.name not in {i.name for i in proto.graph.initializer}] == [
        v.name for v in after.graph.input if v.name not in {i.name for i in after.graph.initializer}
    ]
    return Outcome(proto, after, ir, {k: n for k, n in applied.items() if n}, [node.op for node in ir.graph.nodes])


def run(proto: ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs by ONNX Runtime with its optimizer off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {item.name for item in session.get_inputs()}
    return list(session.run(None, {name: array for name, array in feeds.items() if name in given}))


def feeds_for(proto: ModelProto, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Array]:
    """Random inputs with special numbers among them; ``sizes`` gives symbolic dims, 2 is used for others."""
    rng = np.random.default_rng(seed)
    known = {item.name for item in proto.graph.initializer}
    feeds: dict[str, Array] = {}
    for info in proto.graph.input:
        if info.name in known:
            continue
        tensor = info.type.tensor_type
        shape = [
            d.dim_value if d.HasField("dim_value") else (sizes or {}).get(d.dim_param, 2) for d in tensor.shape.dim
        ]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[info.name] = _numbers(rng, shape, dtype)
    return feeds


def _numbers(rng: np.random.Generator, shape: list[int], dtype: np.dtype[np.generic]) -> Array:
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        info = np.iinfo(str(dtype))
        numbers: Array = rng.integers(info.min, info.max, shape, dtype=np.dtype(str(dtype)), endpoint=True)
        flat = numbers.reshape(-1)
        flat[: min(4, flat.size)] = np.array([info.min, info.max, 0, 1], dtype)[: flat.size]
        return flat.reshape(shape)
    numbers = rng.normal(0, 3, shape)
    flat = numbers.reshape(-1)
    places = rng.permutation(flat.size)[: len(SPECIAL)]
    flat[places] = rng.permutation(SPECIAL)[: places.size]
    with np.errstate(over="ignore"):
        return flat.reshape(shape).astype(dtype)


def assert_same_bits(expected: list[Array], actual: list[Array]) -> None:
    """The same types, shapes and bits; a NaN equals any NaN."""
    assert len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype.kind in "fV" or a.dtype == ml_dtypes.bfloat16:
            wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
            same = (wide_a == wide_b) & (np.signbit(wide_a) == np.signbit(wide_b))
            assert (same | (np.isnan(wide_a) & np.isnan(wide_b))).all(), (a, b)
        else:
            assert (a == b).all(), (a, b)


def assert_close(expected: list[Array], actual: list[Array], rtol: float) -> None:
    """Differences of at most ``rtol`` of the largest magnitude of each output."""
    assert len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        assert np.isfinite(wide_a).all(), "the feeds make the original overflow"
        np.testing.assert_allclose(wide_b, wide_a, rtol=0, atol=rtol * max(1e-30, float(np.abs(wide_a).max(initial=0))))


def assert_exact(
    proto: ModelProto,
    step: Pass,
    ops: list[str],
    applied: Mapping[str, int],
    *,
    sizes: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Outcome:
    """The pass leaves exactly ``ops``, by exactly these rewrites, and the outputs keep every bit."""
    outcome = transform(proto, step)
    assert (ops, dict(applied)) == (outcome.ops, outcome.applied)
    feeds = feeds_for(proto, sizes, seed)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    return outcome


def assert_near(
    proto: ModelProto,
    step: Pass,
    ops: list[str],
    applied: Mapping[str, int],
    *,
    rtol: float = 1e-5,
    sizes: Mapping[str, int] | None = None,
) -> Outcome:
    """The pass leaves exactly ``ops``, by exactly these rewrites; outputs on random normal numbers agree to ``rtol``."""
    outcome = transform(proto, step)
    assert (ops, dict(applied)) == (outcome.ops, outcome.applied)
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in feeds_for(proto, sizes).items()}
    assert_close(run(proto, feeds), run(outcome.after, feeds), rtol)
    return outcome


def assert_untouched(proto: ModelProto, step: Pass) -> None:
    """The pass finds nothing to do."""
    before = [node.op_type for node in proto.graph.node]
    outcome = transform(proto, step)
    assert ({}, before) == (outcome.applied, [op.rpartition("::")[2] for op in outcome.ops])
