"""Floats change their type: what is cast, what is not, and the numbers that come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import onnx.checker
import pytest
from onnx import ModelProto, TensorProto

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.backends.onnxruntime.targets import CPU
from graphopt.ir import Array, DType, Model
from graphopt.passes import Observer, PassContext, Range
from graphopt.serde import emit_model, lift_model
from graphopt.testing.strategies.bulk import sampled_models
from graphopt.transforms.quantization.float16 import ConvertToBfloat16, ConvertToFloat16, ConvertToFloat32
from graphopt.transforms.quantization.weight_only import PackMatmulNbits, QuantizeWeights
from tests.transforms.harness import Outcome, assert_untouched, model, run, transform
from tests.transforms.quantization.numeric import normal, results, sqnr

HALF = ConvertToFloat16()
WIDE = ConvertToFloat32()


def types_of(outcome: Outcome) -> dict[str, DType | None]:
    """Element types of what nodes give, by name."""
    return {value.name: value.dtype for node in outcome.ir.graph.nodes for value in node.outputs}


def halves(outcome: Outcome) -> list[str]:
    """Operators that give float16, casts left out."""
    return [node.op for node in outcome.ir.graph.nodes if node.op != "Cast" and node.output.dtype is DType.FLOAT16]


BLOCK = (
    "a = MatMul(x, w) b = Add(a, c) d = Relu(b) e = MatMul(d, v) f = Softmax(e) g = Add(e, f) "
    "h = ReduceMean<axes = [-1]>(g) y = Sub(g, h)"
)
CONSTANTS = {"w": normal(8, 16), "c": normal(16, seed=1), "v": normal(16, 8, seed=2)}


@pytest.mark.parametrize("opset", [7, 11, 13, 17])
def test_a_block_is_cast_at_its_ends_only(opset):
    proto = model(BLOCK, "float[3,8] x", initializers=CONSTANTS, opset=opset)
    outcome = transform(proto, HALF)
    assert 2 == outcome.ops.count("Cast") == outcome.applied["casts"]
    assert ("Cast", "Cast") == (outcome.ops[0], outcome.ops[-1])
    assert {"nodes": 8, "casts": 2, "constants": 3} == outcome.applied
    x = normal(3, 8, seed=3)
    (expected,), (found,) = results(proto, {"x": x}), results(outcome.after, {"x": x})
    assert sqnr(expected, found) > 55
    assert 3 == sum(item.data_type == TensorProto.FLOAT16 for item in outcome.after.graph.initializer)


def test_and_back():
    """Casts go, and what float16 lost of weights stays lost."""
    proto = model(BLOCK, "float[3,8] x", initializers=CONSTANTS, opset=17)
    there = transform(proto, HALF).after
    back = transform(there, WIDE)
    assert [node.op_type for node in proto.graph.node] == [op for op in back.ops if op != "Cast"]
    assert back.ops.count("Cast") <= 1
    x = normal(3, 8, seed=3)
    assert sqnr(results(proto, {"x": x})[0], results(back.after, {"x": x})[0]) > 55
    assert not any(item.data_type == TensorProto.FLOAT16 for item in back.after.graph.initializer)


def test_the_interface_may_change_too():
    proto = model(BLOCK, "float[3,8] x", initializers=CONSTANTS, opset=17)
    ir = _converted(proto, ConvertToFloat16(interface=True))
    assert "Cast" not in [node.op_type for node in ir.graph.node]
    assert {TensorProto.FLOAT16} == {value.type.tensor_type.elem_type for value in (*ir.graph.input, *ir.graph.output)}
    x = normal(3, 8, seed=3)
    (expected,) = results(proto, {"x": x})
    assert sqnr(expected, results(ir, {"x": x.astype(np.float16)})[0]) > 50
    wide = _converted(ir, ConvertToFloat32(interface=True))
    assert "Cast" not in [node.op_type for node in wide.graph.node]
    assert sqnr(expected, results(wide, {"x": x})[0]) > 55


def _converted(proto: ModelProto, step: ConvertToFloat16 | ConvertToFloat32) -> ModelProto:
    """What becomes of a model whose interface changes, after a second run that changes nothing."""
    ir, types = lift_model(proto), OnnxTypes()
    types.infer_model(ir)
    assert step.run(ir.graph, PassContext(types=types)).changed
    assert not step.run(ir.graph, PassContext(types=types)).changed
    found = emit_model(ir, lineage=False)
    onnx.checker.check_model(found, full_check=True)
    return found


def test_a_value_is_cast_once_for_all():
    """For readers that want float32, in branches too."""
    branches = "then_branch = t () => (float[3,4] p) { p = CumSum(a, z) }, else_branch = e () => (float[3,4] q) { q = Add(a, a) }"
    proto = model(
        f"a = MatMul(x, w) b = CumSum(a, z) d = CumSum(a, o) e = If (c) <{branches}> f = Add(b, d) y = Add(e, f)",
        "float[3,8] x, bool c",
        "float[3,4] y",
        initializers={"w": normal(8, 4), "z": np.array(0), "o": np.array(1)},
    )
    outcome = transform(proto, HALF)
    casts = [node for graph in outcome.ir.graph.walk_graphs() for node in graph.nodes if node.op == "Cast"]
    assert Counter(
        {(value.name, DType(node.int_attr("to"))): 1 for node in casts for value in node.inputs if value}
    ) == Counter((value.name, DType(node.int_attr("to"))) for node in casts for value in node.inputs if value)
    x = normal(3, 8, seed=3)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 55


def test_bodies_are_changed_inside():
    body = (
        "l (int64 i, bool k, float[3,8] s) => (bool g, float[3,8] n) { g = Identity(k) m = MatMul(s, w) n = Relu(m) }"
    )
    proto = model(
        f"y = Loop (t, k, x) <body = {body}>",
        "float[3,8] x, int64 t, bool k",
        "float[3,8] y",
        initializers={"w": normal(8, 8, size=0.3)},
    )
    outcome = transform(proto, HALF)
    (loop,) = [node for node in outcome.ir.graph.nodes if node.op == "Loop"]
    inner = {node.op: node.output.dtype for node in loop.subgraphs[0].nodes if node.op != "Cast"}
    assert (DType.FLOAT16, DType.FLOAT16) == (inner["MatMul"], inner["Relu"])
    feeds = {"x": normal(3, 8, seed=3), "t": np.array(3), "k": np.array(True)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 50


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("a = MatMul(x, w) y = CumSum(a, z)", {"CumSum"}),
        ("a = MatMul(x, w) v, i = TopK(a, k) y = Identity(v)", {"TopK", "Identity"}),
        ("a = MatMul(x, w) b = Mul(a, big) y = MatMul(b, q)", {"Mul"}),
        ("a = MatMul(x, w) b = Mul(a, a) c = ReduceMean<keepdims = 1>(b) d = Add(c, e) s = Sqrt(d) f = Div(a, s) y = MatMul(f, q)",
         {"Mul", "ReduceMean", "Add", "Sqrt", "Div"}),
        ("a = MatMul(x, w) b = ReduceSum(a) c = Mul(a, b) y = MatMul(c, q)", set()),
    ],
)  # fmt: skip
def test_islands(body, kept):
    constants: dict[str, Array | np.generic] = {
        "w": normal(8, 4), "q": normal(4, 4, seed=1), "z": np.array(0), "k": np.array([2]),
        "big": np.float32(70000), "e": np.float32(1e-12),
    }  # fmt: skip
    used = {name: array for name, array in constants.items() if f"{name})" in body}
    proto = model(body, "float[3,8] x", initializers=used, opset=13)
    outcome = transform(proto, HALF)
    found = {node.op for node in outcome.ir.graph.nodes if node.op != "Cast" and node.output.dtype is DType.FLOAT}
    assert kept == found
    x = normal(3, 8, seed=3) * np.float32(1e-3 if "Sqrt" in body else 1)
    assert sqnr(results(proto, {"x": x})[0], results(outcome.after, {"x": x})[0]) > 45


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (ConvertToFloat16(exclude=("op:MatMul",)), 2),
        (ConvertToFloat16(include=("op:Add",)), 2),
        (ConvertToFloat16(product_depth=8), 1),
        (ConvertToFloat16(product_depth=4), 2),
        (HALF, 0),
    ],
)
def test_layers_may_be_kept(step, kept):
    proto = model("a = MatMul(x, w) b = Add(a, c) y = MatMul(b, v)", "float[3,8] x", initializers=CONSTANTS)
    types = types_of(transform(proto, step))
    assert kept == sum(types.get(name) is DType.FLOAT for name in ("a", "y") if name in types) - (kept == 0)


@pytest.mark.parametrize(("size", "kept"), [(2048, False), (2049, True)])
def test_deep_sums_stay(size, kept):
    proto = model(
        "a = Relu(x) b = MatMul(a, w) s = ReduceSum(b) y = Mul(b, s)",
        f"float[1,{size}] x",
        initializers={"w": np.eye(size, 8, dtype=np.float32)},
    )
    small = transform(proto, ConvertToFloat16(depth=8))
    assert "ReduceSum" in halves(small)
    assert "ReduceSum" not in halves(transform(proto, ConvertToFloat16(depth=7)))
    wide = model("a = MatMul(x, w) s = ReduceSum(a) y = Mul(a, s)", "float[1,4] x", initializers={"w": normal(4, size)})
    assert kept == ("ReduceSum" not in halves(transform(wide, HALF)))


def test_positions_stay_and_masks_do_not():
    """Angles of positions are computed in float32; a mask of huge numbers is made of those that float16 has."""
    body = (
        "p = Cast<to = 1>(i) u = Unsqueeze(p, one) a = MatMul(u, f) s = Sin(a) c = Cos(a) q = MatMul(x, w) r = Mul(q, s) t = Mul(q, c) "
        "m = Cast<to = 1>(k) n = Sub(l, m) h = Mul(n, huge) g = Add(r, t) j = Add(g, h) y = Softmax(j)"
    )
    constants: dict[str, Array | np.generic] = {
        "one": np.array([1]),
        "f": np.array([[1.0, 0.1, 0.01, 0.001]], np.float32),
        "w": normal(8, 4),
        "l": np.float32(1),
        "huge": np.float32(np.finfo(np.float32).min),
    }
    proto = model(body, "int64[5] i, int64[4] k, float[5,8] x", initializers=constants)
    outcome = transform(proto, HALF)
    kept = {node.op for node in outcome.ir.graph.nodes if node.op != "Cast" and node.output.dtype is DType.FLOAT}
    assert {"Unsqueeze", "MatMul", "Sin", "Cos", "Sub"} == kept
    feeds: dict[str, Array] = {
        "i": np.array([0, 1, 2047, 3001, 4095]),
        "k": np.array([1, 0, 1, 0]),
        "x": normal(5, 8, seed=3),
    }
    (expected,), (found,) = results(proto, feeds), results(outcome.after, feeds)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    feeds["k"] = np.zeros(4, np.int64)
    assert np.isfinite(results(outcome.after, feeds)[0]).all()


def test_typed_attributes():
    """What ConstantOfShape makes, by default too, and what Cast makes of small integers."""
    body = (
        "n = Shape(x) o = ConstantOfShape<value = float[1] {0.5}>(n) e = ConstantOfShape(n) i = EyeLike<dtype = 1>(x) f = Cast<to = 1>(b) "
        "a = Add(x, o) c = MatMul(a, w) j = Add(c, i) d = Add(j, e) g = Add(d, f) h = MatMul(g, w) y = Relu(h)"
    )
    proto = model(body, "float[4,4] x, uint8[4,4] b", initializers={"w": normal(4, 4)}, opset=17)
    outcome = transform(proto, HALF)
    assert 2 == halves(outcome).count("ConstantOfShape")
    assert "EyeLike" not in halves(outcome), "hardly any runtime has it for halves"
    assert DType.FLOAT16 is types_of(outcome)["f"]
    feeds: dict[str, Array] = {"x": normal(4, 4), "b": np.arange(16, dtype=np.uint8).reshape(4, 4)}
    assert sqnr(results(proto, feeds)[0], results(outcome.after, feeds)[0]) > 55


def test_inputs_that_a_schema_types_by_itself():
    """Scales of Resize and statistics of LayerNormalization are float32 whatever the rest is."""
    body = 'a = Conv(x, k) b = Resize<mode = "nearest">(a, , s) y = Conv(b, k)'
    proto = model(
        body, "float[1,2,4,4] x", initializers={"k": normal(2, 2, 1, 1), "s": np.array([1, 1, 2, 2], np.float32)}
    )
    outcome = transform(proto, HALF)
    assert ["Conv", "Conv"] == halves(outcome)
    body = "a = MatMul(x, w) n, m, i = LayerNormalization(a, g) b = Mul(n, m) y = Mul(b, i)"
    proto = model(body, "float[3,8] x", initializers={"w": normal(8, 8), "g": normal(8, seed=1)})
    outcome = transform(proto, HALF)
    types = types_of(outcome)
    assert (DType.FLOAT16, DType.FLOAT, DType.FLOAT) == (types["n"], types["m"], types["i"])
    x = normal(3, 8, seed=3)
    assert sqnr(results(proto, {"x": x})[0], results(outcome.after, {"x": x})[0]) > 50


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("y = Add(x, x)", "int64[3] x"),
        ("y = MatMul(x, x)", "double[3,3] x"),
        ("y = MatMul(x, x)", "float16[3,3] x"),
        ("a = Relu(x) y = Neg(a)", "float[3,3] x"),  # so little work that casts are no gain
        ("q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)", "float[3,3] x"),
        ("q = QuantizeLinear(x, s) d = DequantizeLinear(q, s) a = Relu(d) e = QuantizeLinear(a, s) y = DequantizeLinear(e, s)",
         "float[3,3] x, float s"),
    ],
)  # fmt: skip
def test_left_alone(body, inputs):
    kind = {"int64": "int64[*] y", "double": "double[*] y", "float16": "float16[*] y"}.get(
        inputs.partition("[")[0], "float[*] y"
    )
    assert_untouched(model(body, inputs, kind), HALF)


def test_functions_keep_their_types():
    function = '<domain: "f", opset_import: ["": 21]> Twice (a) => (b) { b = Add(a, a) }'
    proto = model(
        "a = MatMul(x, w) b = f.Twice(a) y = MatMul(b, w)",
        "float[3,4] x",
        initializers={"w": normal(4, 4)},
        imports=', "f" : 1',
        functions=function,
    )
    outcome = transform(proto, HALF)
    assert ["MatMul", "MatMul"] == halves(outcome)
    x = normal(3, 4, seed=3)
    assert sqnr(results(proto, {"x": x})[0], results(outcome.after, {"x": x})[0]) > 50


def test_outputs_keep_their_names_and_types():
    """Also one that is read inside too, is given out twice over, or is an input or a constant."""
    proto = model(
        "a = MatMul(x, w) y = Relu(a) b = MatMul(y, v)",
        "float[3,8] x",
        "float[3,16] y, float[3,8] b, float[3,8] x, float[8,16] w",
        initializers=CONSTANTS,
    )
    outcome = transform(proto, HALF)
    x = normal(3, 8, seed=3)
    for expected, found in zip(results(proto, {"x": x}), results(outcome.after, {"x": x}), strict=True):
        assert sqnr(expected, found) > 50


def test_bfloat16_has_no_limit_but_few_digits():
    """Numbers that float16 does not hold do not matter; before opset 13 no operator takes it."""
    body = "a = MatMul(x, w) b = Mul(a, big) y = MatMul(b, q)"
    constants: dict[str, Array | np.generic] = {"w": normal(8, 4), "q": normal(4, 4, seed=1), "big": np.float32(1e30)}
    outcome = transform(model(body, "float[3,8] x", initializers=constants, opset=17), ConvertToBfloat16())
    assert ["Cast", "MatMul", "Mul", "MatMul", "Cast"] == outcome.ops
    assert [DType.BFLOAT16] * 4 + [DType.FLOAT] == [node.output.dtype for node in outcome.ir.graph.nodes]
    found = {item.data_type for item in outcome.after.graph.initializer}
    assert {TensorProto.BFLOAT16} == found
    (big,) = [item for item in outcome.ir.graph.initializers() if item.const is not None and item.const.size == 1]
    assert big.const is not None
    assert np.asarray(1e30).astype(ml_dtypes.bfloat16) == big.const.numpy()
    assert_untouched(model(body, "float[3,8] x", initializers=constants, opset=12), ConvertToBfloat16())


@pytest.mark.parametrize("step", [HALF, ConvertToBfloat16(), WIDE], ids=lambda step: step.name)
def test_models_of_all_kinds_stay_valid_and_run(step):
    """Whatever they compute; inputs and outputs are what they were."""
    changed = 0
    for drawn in sampled_models(40, seed=3):
        outcome = transform(drawn.proto, step)
        changed += bool(outcome.applied)
        if step.goal is DType.BFLOAT16:
            continue  # ONNX Runtime has hardly any kernels for it
        for feeds in drawn.feeds[:1]:
            with np.errstate(all="ignore"):
                before, after = run(drawn.proto, feeds), run(outcome.after, feeds)
            assert [(item.dtype, item.shape) for item in before] == [(item.dtype, item.shape) for item in after]
    assert changed >= (3 if step is WIDE else 10)


def test_targets_must_have_kernels_for_bfloat16():
    """ONNX Runtime on processors has none for products, so nothing changes there."""
    proto = model("y = MatMul(x, w)", "float[3,8] x", initializers={"w": normal(8, 4)}, opset=17)
    assert {} == transform(proto, ConvertToBfloat16(), target=CPU).applied
    assert {"nodes": 1, "casts": 2, "constants": 1} == transform(proto, ConvertToBfloat16()).applied


def test_stored_weights_are_dequantized_to_halves():
    """Their scales change, and the packed form takes them too."""
    proto = model(
        "a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)",
        "float[3,32] x",
        initializers={"w": normal(32, 16), "v": normal(16, 4)},
    )
    stored = transform(proto, QuantizeWeights()).after
    outcome = transform(stored, HALF)
    assert Counter(["DequantizeLinear", "DequantizeLinear", "MatMul", "Relu", "MatMul"]) == Counter(halves(outcome))
    packed = transform(outcome.after, PackMatmulNbits(accuracy_level=0), target=CPU)
    assert 2 == packed.applied["pack-product"]
    x = normal(3, 32, seed=3)
    for after in (outcome.after, packed.after):
        assert sqnr(results(stored, {"x": x})[0], results(after, {"x": x})[0]) > 45


@dataclass
class Known:
    """Ranges that somebody wrote down."""

    found: Mapping[str, Range]

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        return 0

    def ranges(self, model: Model, names: Sequence[str]) -> Mapping[str, Range]:
        return {name: self.found[name] for name in names if name in self.found}

    def forget(self, name: str) -> None:
        pass


@pytest.mark.parametrize(("most", "kept"), [(30000.0, []), (40000.0, ["a", "b"])])
def test_wide_activations_stay(most, kept):
    """Those whose range is known, and what reads them."""
    proto = model(
        "a = MatMul(x, w) b = MatMul(a, v) c = MatMul(b, w) y = Relu(c)",
        "float[3,8] x",
        initializers={"w": normal(8, 4), "v": normal(4, 8)},
    )
    ir, types = lift_model(proto), OnnxTypes()
    types.infer_model(ir)
    HALF.run(ir.graph, PassContext(types=types, calibration=Known({"a": Range(-most, 1.0)})))
    wide = [
        value.name
        for node in ir.graph.nodes
        for value in node.outputs
        if node.op == "MatMul" and value.dtype is DType.FLOAT
    ]
    assert kept == wide


def test_reasons_for_reports():
    ir, types = (
        lift_model(
            model(
                "a = MatMul(x, w) y = CumSum(a, z)", "float[3,8] x", initializers={"w": normal(8, 4), "z": np.array(0)}
            )
        ),
        OnnxTypes(),
    )
    types.infer_model(ir)
    kept = HALF.kept(ir.graph, PassContext(types=types))
    assert {"CumSum": "CumSum counts"} == {node.op: str(reason) for node, reason in kept.items()}
