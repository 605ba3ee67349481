"""Which nodes compute on integers, and why the others don't."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.errors import CalibrationError, PipelineError
from graphopt.serde import lift_model
from graphopt.transforms.quantization.layers import Selection
from graphopt.transforms.quantization.static import AssignQuantization, plan_static
from tests.transforms.harness import model
from tests.transforms.quantization.static.quantizing import assigned, context, forms, quantized_model

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4, 3, 3)).astype(np.float32)
V = RNG.normal(size=(4, 4)).astype(np.float32)
B = RNG.normal(size=4).astype(np.float32)
PICTURE = "float[1,4,6,6] x"
CONV = "Conv<pads = [1, 1, 1, 1]>"


def picture(body, opset=17, outputs="float[*] y", inputs=PICTURE, **constants):
    return model(body, inputs, outputs, opset=opset, initializers={"w": W, "v": V, "b": B, **constants})


def reason(proto, layer, **options):
    lifted = lift_model(proto)
    ctx = context(None)
    ctx.types.infer_model(lifted)
    scheme = AssignQuantization(**options).scheme(ctx, lifted.graph.opset())
    plan = plan_static(lifted.graph, scheme, Selection(options.get("include", ()), options.get("exclude", ())))
    return next(item.reason for item in plan.decisions if item.layer == layer)


# -- layers -------------------------------------------------------------------------------------------------------------------


def test_an_activation_that_integers_imply_is_part_of_its_layer():
    proto = picture(
        f"a = {CONV}(x, w, b) c = Relu(a) d = {CONV}(c, w) y = Clip(d, low, high)",
        low=np.float32(0),
        high=np.float32(6),
    )
    assert {"a": "static", "c": "absorbed", "d": "static", "y": "absorbed"} == forms(proto)
    lifted, _ctx = assigned(proto)
    values: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    assert values["a"].quantization is None, "only the result of the layer is stored"
    assert 0 == int(values["c"].quantization.zero_point.numpy())
    high = 255 * np.float32(values["y"].quantization.scale.numpy())
    assert high <= 6, "no integer stands for more than the Clip lets through"


@pytest.mark.parametrize("activation", ["LeakyRelu(a)", "HardSigmoid(a)", "Tanh(a)"])
def test_other_activations_read_what_the_layer_has_stored(activation):
    proto = picture(f"a = {CONV}(x, w) y = {activation}")
    assert {"a": "static", "y": "float"} == forms(proto)


def test_a_relu_of_a_value_with_another_user_is_no_part_of_the_layer():
    proto = picture(f"a = {CONV}(x, w) c = Relu(a) d = {CONV}(a, w) y = Add(c, d)")
    found = forms(proto)
    assert "float" == found["c"]
    assert "static" == found["a"] == found["d"]


def test_a_clip_above_zero_is_no_part_of_the_layer():
    """Zero must be exact, and it would be outside."""
    proto = picture(f"a = {CONV}(x, w) y = Clip(a, low, high)", low=np.float32(1), high=np.float32(6))
    assert {"a": "static", "y": "float"} == forms(proto)


def test_symmetric_integers_imply_no_relu():
    proto = picture(f"a = {CONV}(x, w) y = Relu(a)")
    assert "float" == forms(proto, AssignQuantization(activation="int8", symmetric=True))["y"]
    assert "absorbed" == forms(proto, AssignQuantization(activation="int8"))["y"], "its smallest integer is zero"
    assert "absorbed" == forms(proto, target="tensorrt")["y"], "TensorRT fuses it whatever the integers are"


def test_a_product_gives_floats_to_who_wants_floats():
    proto = picture("a = MatMul(x, v) c = Tanh(a) d = MatMul(c, v) y = MatMul(d, v)", inputs="float[3,4] x")
    assert {"a": "static", "c": "float", "d": "static", "y": "static"} == forms(proto)
    lifted, _ctx = assigned(proto)
    stored = {value.name for value in lifted.graph.values() if value.quantization is not None}
    assert {"x", "c", "d", "v"} == stored, "d is read as integers only, a as floats only"


@pytest.mark.parametrize(("shape", "stored"), [("2,3,4", True), ("n,4", True), ("n,3,4", False)])
def test_the_bias_of_a_product_is_stored_where_it_becomes_part_of_it(shape, stored):
    proto = picture("a = MatMul(x, v) y = Add(b, a)", inputs=f"float[{shape}] x")
    assert {"a": "static", "y": "absorbed"} == forms(proto)
    lifted, _ctx = assigned(proto)
    bias = next(value for value in lifted.graph.initializers() if value.name == "b")
    assert stored == (bias.quantization is not None)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = Conv(x, x)", "its weights are not constant"),
        ("i = Identity(w) y = Conv(x, i)", "its weights are not constant"),
        ("y = Conv(p, w)", "its input is constant"),
        ("y = Gemm<alpha = 2.0>(m, v)", "it scales its product"),
        ("y = Gemm<transA = 1>(m, v)", "it transposes its input"),
        ("y = Gemm(m, v, m)", "its bias is not constant"),
        ("y = Conv(x, n)", "its weights are not all finite"),
        ("y = ConvTranspose(x, w)", "onnxruntime-x64 has no integer kernel for ConvTranspose"),
    ],
)
def test_layers_that_stay_say_why(body, why):
    constants = {"p": np.ones((1, 4, 6, 6), np.float32), "n": np.full((4, 4, 1, 1), np.nan, np.float32)}
    proto = picture(body, inputs=f"{PICTURE}, float[4,4] m", outputs="float[*] y", **constants)
    assert why == reason(proto, "y")


def test_old_models_stay():
    proto = picture("y = Conv(x, w)", opset=9)
    assert "opset 9 has no QuantizeLinear; raise the opset first" == reason(proto, "y")
    lifted, _ctx = assigned(proto)
    assert all(value.quantization is None for value in lifted.graph.values())


def test_weights_have_one_scale_before_there_was_an_axis():
    lifted, _ctx = assigned(picture("y = Conv(x, w)", opset=12))
    how: Any = next(value.quantization for value in lifted.graph.initializers() if value.name == "w")
    assert (None, ()) == (how.axis, how.scale.shape)


@pytest.mark.parametrize(
    ("body", "axis", "count"),
    [
        ("y = Conv(x, w)", 0, 4),
        ("y = Conv<group = 4>(x, d)", 0, 4),
        ("y = Gemm(m, v)", 1, 4),
        ("y = Gemm<transB = 1>(m, v)", 0, 4),
        ("y = MatMul(m, v)", 1, 4),
        ("y = MatMul(m, t)", None, 1),
    ],
)
def test_weights_have_a_scale_for_each_output_channel(body, axis, count):
    constants = {
        "d": RNG.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "t": RNG.normal(size=(2, 4, 4)).astype(np.float32),
    }
    lifted, _ctx = assigned(picture(body, inputs=f"{PICTURE}, float[4,4] m", **constants))
    how = next(v.quantization for v in lifted.graph.initializers() if v.quantization is not None)
    assert (axis, count) == (how.axis, how.scale.size)


def test_options_of_the_pass():
    proto = picture("y = Conv(x, w)")
    lifted, _ctx = assigned(
        proto, AssignQuantization(activation="int8", weight="int8", per_channel=False, reduce_range=True)
    )
    values: dict[str, Any] = {value.name: value.quantization for value in lifted.graph.values()}
    assert {"int8"} == {str(values[name].dtype) for name in ("x", "w", "y")}
    assert np.float32(np.abs(W).max() / 63) == pytest.approx(float(values["w"].scale.numpy()))
    with pytest.raises(PipelineError, match="activation is 'int3', expected one of int8"):
        AssignQuantization(activation="int3")


# -- between layers -----------------------------------------------------------------------------------------------------------


def test_what_stands_between_layers_follows():
    proto = picture(
        f"a = {CONV}(x, w) c = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a) d = {CONV}(c, w) e = Add(c, d) "
        "f = GlobalAveragePool(e) g = Flatten(f) y = Gemm(g, v)"
    )
    assert {"static"} == set(forms(proto).values())
    lifted, _ctx = assigned(proto)
    values: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    assert values["a"].quantization is values["c"].quantization, "MaxPool moves integers"
    assert values["f"].quantization is values["g"].quantization
    assert values["d"].quantization is not values["c"].quantization
    assert values["y"].quantization is None, "the result is read as floats"


def test_operators_between_floats_stay():
    proto = picture("a = Add(x, x) c = Sigmoid(a) d = Mul(a, c) e = MaxPool<kernel_shape = [2, 2]>(d) y = Neg(e)")
    assert {"float"} == set(forms(proto).values())
    assert "nothing around it is on integers" == reason(proto, "a")


def test_a_gate_between_layers_follows_and_one_at_the_end_does_not():
    gate = "s = Sigmoid(a) m = Mul(a, s) "
    assert {"static"} == set(forms(picture(f"a = {CONV}(x, w) {gate} y = {CONV}(m, w)")).values())
    assert "float" == forms(picture(f"a = {CONV}(x, w) y = Sigmoid(a)"))["y"]


def test_what_waits_for_each_other_follows():
    """The gate is read by the branch that it gates, whose pooled form makes another gate."""
    body = (
        f"a = {CONV}(x, w) h = HardSigmoid(a) m = Mul(a, h) g = GlobalAveragePool(m) e = Conv(g, k) s = Sigmoid(e) "
        f"n = Mul(m, s) y = {CONV}(n, w)"
    )
    assert {"static"} == set(forms(picture(body, k=RNG.normal(size=(4, 4, 1, 1)).astype(np.float32))).values())


def test_nothing_holds_itself_up():
    """A residual stream of floats stays one, though all who read it might be on integers."""
    body = "a = MatMul(x, v) s = Add(a, x) c = MatMul(s, v) t = Add(c, s) r = Reshape(t, all) y = Sigmoid(r)"
    proto = picture(body, inputs="float[3,4] x", all=np.array([-1]))
    assert {"a": "static", "c": "static", "s": "float", "t": "float", "r": "float", "y": "float"} == forms(proto)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = BatchNormalization(x, b, b, b, i)", "its parameters are not constant"),
        ("y = BatchNormalization(x, b, b, b, z)", "its parameters are not finite"),
        ("f = Flatten(x) y = BatchNormalization(f, b, b, b, b)", "what it reads is no float picture of known rank"),
    ],
)
def test_normalizations_that_stay_say_why(body, why):
    proto = picture(f"i = Identity(b) {body}", z=np.full(4, -1.0, np.float32))
    assert why == reason(proto, "y")


def test_a_layer_with_a_float_branch():
    """The sum is on integers where a layer reads it, as one conversion is less than two."""
    body = f"a = {CONV}(x, w) t = Tanh(x) s = Add(a, t) "
    assert "static" == forms(picture(f"{body} y = {CONV}(s, w)"))["s"]
    assert "float" == forms(picture(f"{body} y = Neg(s)"))["s"]


def test_moves_before_a_layer_are_on_integers():
    proto = picture("h = Neg(x) t = Transpose<perm = [1, 0]>(h) y = MatMul(t, v)", inputs="float[4,3] x")
    assert {"h": "float", "t": "static", "y": "static"} == forms(proto)


def test_parts_that_only_a_concat_reads_share_its_scale():
    body = f"a = {CONV}(x, w) c = {CONV}(x, w) d = {CONV}(x, w) e = Concat<axis = 1>(a, c) f = {CONV}(e, k) g = Add(c, f) y = {CONV}(g, w)"
    lifted, _ctx = assigned(
        picture(body, k=RNG.normal(size=(4, 8, 3, 3)).astype(np.float32), outputs="float[*] y, float[*] d")
    )
    values: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    assert values["a"].quantization is values["e"].quantization
    assert values["c"].quantization is not values["e"].quantization, "c is read elsewhere, too"


def test_a_part_that_saturates_shares_no_scale_with_one_that_does_not():
    """Else its Relu would not be implied any more."""
    body = f"a = {CONV}(x, w) r = Relu(a) c = {CONV}(x, w) e = Concat<axis = 1>(r, c) y = {CONV}(e, k)"
    lifted, _ctx = assigned(picture(body, k=RNG.normal(size=(4, 8, 3, 3)).astype(np.float32)))
    values: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    assert 0 == int(values["r"].quantization.zero_point.numpy())
    assert 0 < int(values["e"].quantization.zero_point.numpy())


def test_names_choose_layers_and_others_follow():
    proto = picture(f"a = {CONV}(x, w) m = MaxPool<kernel_shape = [2, 2]>(a) c = {CONV}(m, w) y = {CONV}(c, w)")
    assert {"a": "static", "m": "static", "c": "static", "y": "float"} == forms(
        proto, AssignQuantization(exclude=("y",))
    )
    assert {"a": "float", "m": "static", "c": "static", "y": "float"} == forms(
        proto, AssignQuantization(include=("c",))
    )
    assert {"float"} == set(forms(proto, AssignQuantization(exclude=("op:Conv",))).values())
    assert "left out as asked" == reason(proto, "a", exclude=("a",))
    assert "float" == forms(proto, AssignQuantization(ops=("Conv",)))["m"]


# -- constants ----------------------------------------------------------------------------------------------------------------


def test_weights_of_two_layers_are_stored_once_unless_they_are_stored_in_two_ways():
    body = "a = Gemm(x, v) c = Gemm(x, v) y = Sum(a, c{})"
    once = quantized_model(picture(body.format(""), inputs="float[3,4] x"))
    assert 1 == sum(item.data_type == 3 and len(item.dims) == 2 for item in once.graph.initializer)
    twice = quantized_model(picture("d = Gemm<transB = 1>(x, v) " + body.format(", d"), inputs="float[3,4] x"))
    assert 2 == sum(item.data_type == 3 and len(item.dims) == 2 for item in twice.graph.initializer)


def test_constant_nodes_are_weights_too():
    proto = picture("k = Constant<value = float[4,1] {1.0, 2.0, 3.0, 4.0}>() y = MatMul(x, k)", inputs="float[3,4] x")
    after = quantized_model(proto)
    assert "Constant" not in [node.op_type for node in after.graph.node]


def test_a_constant_that_others_read_as_floats_stays_beside_the_integers():
    proto = picture("a = MatMul(x, v) c = Tanh(v) y = Add(a, c)", inputs="float[4,4] x")
    after = quantized_model(proto)
    assert {"v", "v_quantized"} <= {item.name for item in after.graph.initializer}


# -- data ---------------------------------------------------------------------------------------------------------------------


def test_something_to_quantize_and_no_data_is_an_error():
    lifted = lift_model(picture("y = Conv(x, w)"))
    ctx = context(None)
    ctx.types.infer_model(lifted)
    with pytest.raises(CalibrationError, match="assign-quantization: there is no calibration data for 2 tensors"):
        AssignQuantization().run(lifted.graph, ctx)


def test_nothing_to_quantize_needs_no_data():
    lifted = lift_model(picture("y = Neg(x)"))
    assert not AssignQuantization().run(lifted.graph, context(None)).changed


def test_a_target_without_integers_is_an_error():
    with pytest.raises(PipelineError, match="target 'onnxruntime-cuda' has no integer kernels"):
        AssignQuantization().run(lift_model(picture("y = Neg(x)")).graph, context(None, "onnxruntime-cuda"))


def test_layers_whose_tensors_were_always_empty_stay():
    proto = picture("a = MatMul(x, v) d = MatMul(e, v) y = Concat<axis = 0>(a, d)", inputs="float[3,4] x, float[n,4] e")
    lifted, _ctx = assigned(proto, feeds=[{"x": np.ones((3, 4), np.float32), "e": np.ones((0, 4), np.float32)}])
    values: dict[str, Any] = {value.name: value for value in lifted.graph.values()}
    assert values["x"].quantization is not None
    assert values["e"].quantization is None


def test_a_tensor_that_is_always_zero_gets_a_scale():
    lifted, _ctx = assigned(picture("y = Conv(x, w)"), feeds=[{"x": np.zeros((1, 4, 6, 6), np.float32)}])
    how: Any = next(iter(lifted.graph.inputs)).quantization
    assert 1.0 == float(how.scale.numpy())
