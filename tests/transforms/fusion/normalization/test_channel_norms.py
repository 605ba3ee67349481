"""Instance and group normalization, and what is multiplied with and added to them."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Array
from graphopt.target import KernelTable, Target
from graphopt.transforms.fusion.normalization import FuseNormalization
from tests.transforms.harness import assert_close, assert_untouched, run, transform
from tests.transforms.spelled import spelled

STEP = FuseNormalization()
SHAPE = "2,4,3,5"
AXES = {"axes": np.array([2, 3], np.int64)}
SPELLED = (
    "m = ReduceMean <keepdims: int = 1> (x, axes) d = Sub(x, m) q = Mul(d, d) v = ReduceMean <keepdims: int = 1> (q, axes) "
    "e = Add(v, #0.001) s = Sqrt(e) n = Div(d, s)"
)
W = {
    "w": np.array([1.5, -0.5, 2, 0.25], np.float32).reshape(4, 1, 1),
    "b": np.array([0.5, 1, -1, 0], np.float32).reshape(1, 4, 1, 1),
}
GROUPS: dict[str, Array] = {
    "to": np.array([0, 2, -1], np.int64),
    "ones": np.ones(2, np.float32),
    "zeros": np.zeros(2, np.float32),
}
GROUPED = "r = Reshape(x, to) i = InstanceNormalization <epsilon: float = 0.001> (r, ones, zeros) n = Reshape(i, back)"
BACK = {"back": np.array([2, 4, 3, 5], np.int64)}


def near(proto, ops, target=None):
    outcome = transform(proto, STEP, target=target)
    assert ops == outcome.ops
    feeds = {"x": (np.random.default_rng(0).normal(size=(2, 4, 3, 5)) * 2 + 1).astype(np.float32)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)
    return outcome


@pytest.mark.parametrize("opset", [18, 21])
def test_instance_normalization_with_scale_and_bias(opset):
    proto = spelled(f"{SPELLED} t = Mul(n, w) y = Add(t, b)", SHAPE, opset=opset, initializers={**AXES, **W})
    outcome = near(proto, ["InstanceNormalization"])
    assert {"fuse-instance-norm": 1, "scale-normalization": 1, "add-to-normalization": 1} == outcome.applied


def test_numbers_for_each_element_make_a_layer_normalization():
    scale = {"w": np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)}
    near(spelled(f"{SPELLED} y = Mul(n, w)", SHAPE, initializers={**AXES, **scale}), ["LayerNormalization"])


def test_unknown_channels_stay():
    assert_untouched(spelled(f"{SPELLED} y = Identity(n)", "2,C,3,5", initializers=AXES), STEP)


def test_an_instance_normalization_takes_a_scale_and_a_bias():
    norm = {"s": np.array([1, 2, 3, 4], np.float32), "z": np.array([4, 3, 2, 1], np.float32)}
    body = "n = InstanceNormalization(x, s, z) t = Mul(n, w) y = Add(b, t)"
    near(spelled(body, SHAPE, initializers={**W, **norm}), ["InstanceNormalization"])


@pytest.mark.parametrize("shape", [(3, 1), (1, 1, 1, 5), (2, 1, 1, 1), (1, 1, 4, 1, 1)])
def test_other_shapes_of_scale_stay(shape):
    known = {"s": np.ones(4, np.float32), "z": np.zeros(4, np.float32), "w": np.full(shape, 2, np.float32)}
    out = "1,2,4,3,5" if len(shape) == 5 else SHAPE
    body = "n = InstanceNormalization(x, s, z) y = Mul(n, w)"
    assert {} == transform(spelled(body, SHAPE, initializers=known, outputs=f"float[{out}] y"), STEP).applied


def test_group_normalization():
    proto = spelled(f"{GROUPED} t = Mul(n, w) y = Add(t, b)", SHAPE, initializers={**GROUPS, **BACK, **W})
    outcome = near(proto, ["GroupNormalization"])
    assert {"fuse-group-norm": 1, "scale-normalization": 1, "add-to-normalization": 1} == outcome.applied


def test_group_normalization_of_a_dynamic_batch():
    body = f"{GROUPED.replace('Reshape(i, back)', 'Reshape(i, b2)')} y = Identity(n)"
    proto = spelled(f"b2 = Shape(x) {body}", "N,4,3,5", initializers=GROUPS)
    assert {"fuse-group-norm": 1} == transform(proto, STEP).applied


def test_a_target_without_a_kernel_gets_no_group_normalization():
    proto = spelled(f"{GROUPED} y = Identity(n)", SHAPE, initializers={**GROUPS, **BACK})
    assert {} == transform(proto, STEP, target=Target("onnxruntime", kernels=KernelTable({}))).applied


@pytest.mark.parametrize("opset", [18, 20])
def test_before_opset_21_scales_were_those_of_groups(opset):
    assert_untouched(spelled(f"{GROUPED} y = Identity(n)", SHAPE, opset=opset, initializers={**GROUPS, **BACK}), STEP)


def test_groups_across_the_batch_stay():
    other: dict[str, Array] = {
        "to": np.array([1, 4, -1], np.int64),
        "ones": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.float32),
    }
    assert_untouched(spelled(f"{GROUPED} y = Identity(n)", SHAPE, initializers={**other, **BACK}), STEP)


def test_another_shape_behind_stays():
    back = {"back": np.array([2, 2, 6, 5], np.int64)}
    proto = spelled(f"{GROUPED} y = Identity(n)", SHAPE, initializers={**GROUPS, **back}, outputs="float[2,2,6,5] y")
    assert_untouched(proto, STEP)
