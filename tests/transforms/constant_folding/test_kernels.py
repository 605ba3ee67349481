"""Each numpy kernel gives what ONNX Runtime gives, or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from graphopt.serde import lift_model
from graphopt.transforms.constant_folding.kernels import KERNELS, run_kernel
from tests.onnx_suite import run_with_ort
from tests.transforms.whole_graph import same_bits

Array = npt.NDArray[Any]
FAST = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
INTEGERS = (np.int64, np.int32)
ELEMENTS = (np.float32, np.int64, np.bool_, np.uint8, object)
LIMIT = 1 << 12


def one_node(
    op: str, inputs: Sequence[Array | None], opset: int, outputs: int, attributes: dict[str, Any]
) -> onnx.ModelProto:
    names = ["" if item is None else f"i{index}" for index, item in enumerate(inputs)]
    node = helper.make_node(op, names, [f"o{index}" for index in range(outputs)], **attributes)
    given = [
        helper.make_tensor_value_info(name, _onnx_type(item), list(item.shape))
        for name, item in zip(names, inputs, strict=True)
        if item is not None
    ]
    graph = helper.make_graph([node], "g", given, [onnx.ValueInfoProto(name=name) for name in node.output])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def _onnx_type(array: Array) -> int:
    return onnx.TensorProto.STRING if array.dtype == object else helper.np_dtype_to_tensor_dtype(array.dtype)


def check(
    op: str,
    inputs: Sequence[Array | None],
    *,
    opset: int = 17,
    outputs: int = 1,
    must: bool = False,
    floats: bool = False,
    **attributes: Any,
) -> Sequence[Array] | None:
    """Compare a kernel with ONNX Runtime; its results, ``None`` when it refuses."""
    proto = one_node(op, inputs, opset, outputs, attributes)
    node = next(iter(lift_model(proto).graph.nodes))
    found = run_kernel(node, list(inputs), LIMIT, floats=floats)
    assert not must or found is not None
    if found is not None:
        feeds = {f"i{index}": item for index, item in enumerate(inputs) if item is not None}
        expected = run_with_ort(proto, feeds, optimize=False)
        assert len(expected) <= len(found)
        for mine, theirs in zip(found, expected, strict=False):
            assert same_bits(mine, theirs), (mine, theirs)
    return found


def elements(dtype: Any, count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if dtype is object:
        return np.array([f"s{int(i)}" for i in rng.integers(0, 9, count)], object)
    if dtype is np.float32:
        special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], np.float32)
        return np.where(rng.random(count) < 0.3, rng.choice(special, count), rng.normal(size=count)).astype(np.float32)
    if dtype is np.bool_:
        return rng.random(count) < 0.5
    info = np.iinfo(dtype)
    wide = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    near = rng.integers(0 if info.min == 0 else -4, 5, count).astype(dtype)
    return np.where(rng.random(count) < 0.3, wide, near).astype(dtype)


def tensor(dtype: Any, shape: Sequence[int], seed: int = 0) -> Array:
    return elements(dtype, int(np.prod(shape, dtype=int)), seed).reshape(shape)


shapes = st.lists(st.integers(0, 4), max_size=4)
seeds = st.integers(0, 1 << 16)


def test_all_kernels_are_tested():
    assert set(KERNELS) == {
        name for names in (BINARY, COMPARE, LOGIC, VARIADIC, UNARY, REDUCE, MOVED) for name in names
    }


BINARY = ("Add", "Sub", "Mul", "Div", "Mod")
COMPARE = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
LOGIC = ("And", "Or", "Xor", "Not")
VARIADIC = ("Max", "Min")
UNARY = ("Abs", "Neg", "Cast", "Range")
REDUCE = ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum")
MOVED = (
    "Concat", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "NonZero", "Reshape", "Shape", "Size", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip


@FAST
@given(st.sampled_from(BINARY + COMPARE), st.sampled_from(INTEGERS), shapes, seeds, st.integers(0, 1))
def test_integer_arithmetic(op, dtype, shape, seed, fmod):
    a, b = tensor(dtype, shape, seed), tensor(dtype, shape[1:], seed + 1)
    attributes = {"fmod": fmod} if op == "Mod" else {}
    refusable = op in ("Div", "Mod") and (not b.all() or np.any(b == -1) or fmod)
    check(op, [a, b], must=not refusable, **attributes)
    check(op, [b, a], **attributes)


@pytest.mark.parametrize("opset", [7, 11, 13, 14, 17, 21])
@pytest.mark.parametrize("op", BINARY[:4])
def test_arithmetic_over_opsets(op, opset):
    check(op, [np.array([7, -7, 9]), np.array([2, 3, -4])], opset=opset, must=True)


@pytest.mark.parametrize(("a", "b"), [([1], [0]), ([-(1 << 63)], [-1])])
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_division_without_an_answer_is_refused(op, a, b):
    if op == "Mod" and b == [-1]:
        return
    node = next(iter(lift_model(one_node(op, [np.array(a), np.array(b)], 17, 1, {})).graph.nodes))
    assert run_kernel(node, [np.array(a), np.array(b)], LIMIT) is None


def test_operators_with_a_broadcast_attribute_are_refused():
    assert check("Add", [tensor(np.int64, [2, 3]), tensor(np.int64, [2])], opset=6, axis=0, broadcast=1) is None


@pytest.mark.parametrize("op", [*BINARY, "Abs", "Neg", "Greater", "Max", "ReduceSum"])
def test_floats_are_left_to_a_runtime(op):
    inputs = [tensor(np.float32, [3])] * (2 if op in (*BINARY, "Greater", "Max") else 1)
    node = next(iter(lift_model(one_node(op, inputs, 17, 1, {})).graph.nodes))
    assert run_kernel(node, inputs, LIMIT) is None


@FAST
@given(st.sampled_from(LOGIC), shapes, seeds)
def test_logic(op, shape, seed):
    inputs = [tensor(np.bool_, shape, seed), tensor(np.bool_, shape[1:], seed + 1)]
    check(op, inputs[: 1 if op == "Not" else 2], must=True)


@FAST
@given(st.sampled_from(VARIADIC), st.sampled_from(INTEGERS), shapes, st.integers(1, 4), seeds)
def test_extremes_of_several(op, dtype, shape, count, seed):
    check(op, [tensor(dtype, shape[i % 2 :], seed + i) for i in range(count)], must=True)


@FAST
@given(st.sampled_from(["Abs", "Neg"]), st.sampled_from(INTEGERS), shapes, seeds)
def test_sign(op, dtype, shape, seed):
    check(op, [tensor(dtype, shape, seed)], must=True)


@FAST
@given(
    st.sampled_from([np.int64, np.int32, np.uint8, np.int8, np.bool_]),
    st.sampled_from([1, 2, 3, 5, 6, 7, 9, 11, 12, 13]),
    shapes,
    seeds,
)
def test_cast_of_integers(dtype, to, shape, seed):
    check("Cast", [tensor(dtype, shape, seed)], must=True, to=to)


@pytest.mark.parametrize("to", [7, 10, 8, 16])
def test_cast_of_floats_and_to_narrow_floats_is_left_to_a_runtime(to):
    inputs = [tensor(np.float32 if to == 7 else np.int64, [3])]
    node = next(iter(lift_model(one_node("Cast", inputs, 17, 1, {"to": to})).graph.nodes))
    assert run_kernel(node, inputs, LIMIT) is None


@FAST
@given(st.sampled_from(INTEGERS), st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5))
def test_range(dtype, start, end, step):
    check("Range", [np.array(item, dtype) for item in (start, end, step)], must=step != 0)


def test_results_above_the_limit_are_refused():
    assert check("Range", [np.array(item) for item in (0, LIMIT + 1, 1)]) is None
    assert check("ConstantOfShape", [np.array([LIMIT + 1])]) is None
    assert check("Expand", [np.array([1]), np.array([LIMIT + 1])]) is None
    assert check("Tile", [np.array([1]), np.array([LIMIT + 1])]) is None
    assert check("Add", [np.zeros((100, 1), np.int64), np.zeros(100, np.int64)]) is None
    assert check("Gather", [np.zeros((2, 100)), np.zeros(100, np.int64)]) is None


@FAST
@given(st.sampled_from(REDUCE), st.sampled_from(INTEGERS), shapes, seeds, st.data())
def test_reductions(op, dtype, shape, seed, data):
    axes = (
        data.draw(st.one_of(st.none(), st.sets(st.integers(0, max(len(shape) - 1, 0)), max_size=len(shape))))
        if shape
        else None
    )
    attributes: dict[str, Any] = {"keepdims": data.draw(st.integers(0, 1))}
    x = tensor(dtype, shape, seed)
    inputs = [x]
    if axes is not None:
        signed = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in sorted(axes)]
        if op == "ReduceSum":
            attributes["noop_with_empty_axes"] = data.draw(st.integers(0, 1))
            inputs.append(np.array(signed, np.int64))
        elif signed:
            attributes["axes"] = signed
    assume(x.size)  # ONNX Runtime refuses some reductions of nothing
    check(op, inputs, must=bool(np.log2(np.maximum(np.abs(x.astype(np.float64)), 1)).sum() < 30), **attributes)


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.data())
def test_gather(dtype, shape, seed, data):
    assume(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    indices = np.array(data.draw(st.lists(st.integers(-size, size - 1), max_size=5)) if size else [], np.int64)
    form = data.draw(st.sampled_from([indices, indices[None], indices[:1].reshape(()) if indices.size else indices]))
    blocks = dtype is object and np.prod(shape[axis % len(shape) + 1 :], dtype=int) != 1
    check("Gather", [tensor(dtype, shape, seed), form], must=not blocks, axis=axis)


def test_index_out_of_range_is_refused():
    for index in (-4, 3):
        inputs = [np.arange(3), np.array([index])]
        node = next(iter(lift_model(one_node("Gather", inputs, 17, 1, {})).graph.nodes))
        assert run_kernel(node, inputs, LIMIT) is None


BOUNDS = st.one_of(st.integers(-6, 6), st.sampled_from([-(1 << 63), (1 << 63) - 1, -(1 << 31), (1 << 31) - 1]))


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.data())
def test_slice(dtype, shape, seed, data):
    assume(shape)
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    count = len(axes)
    numbers = st.lists(BOUNDS, min_size=count, max_size=count)
    starts, ends = data.draw(numbers), data.draw(numbers)
    steps = data.draw(st.lists(st.sampled_from([1, 2, 3, -1, -2]), min_size=count, max_size=count))
    signed = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in axes]
    inputs = [tensor(dtype, shape, seed), *(np.array(item, np.int64) for item in (starts, ends, signed, steps))]
    given = inputs[: data.draw(st.sampled_from([4, 5]))]
    check(
        "Slice",
        given,
        must=len(given) == 4 or not any(s < 0 and e >= (1 << 31) - 1 for s, e in zip(steps, ends, strict=True)),
    )


def test_slice_by_attributes():
    check("Slice", [tensor(np.float32, [4, 5])], opset=9, must=True, starts=[1, -3], ends=[3, 1 << 62], axes=[0, 1])
    check("Slice", [tensor(np.float32, [4, 5])], opset=9, must=True, starts=[1], ends=[-1])


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.integers(1, 3), st.data())
def test_concat_and_split(dtype, shape, seed, count, data):
    assume(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for index in range(count):
        sizes = list(shape)
        sizes[axis] = data.draw(st.integers(0, 3))
        parts.append(tensor(dtype, sizes, seed + index))
    (whole,) = check("Concat", parts, must=True, axis=axis) or []
    lengths = np.array([part.shape[axis] for part in parts])
    if dtype is not object and dtype is not np.bool_:
        check("Split", [whole, lengths], outputs=count, must=True, axis=axis)
        check("Split", [whole], opset=18, outputs=count, axis=axis, num_outputs=count)
        if whole.shape[axis] and not whole.shape[axis] % count:
            check("Split", [whole], outputs=count, must=True, axis=axis)
        check("Split", [whole], opset=11, outputs=count, must=True, axis=axis, split=lengths.tolist())


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.data())
def test_squeeze_and_unsqueeze(dtype, shape, seed, data):
    rank = len(shape) + data.draw(st.integers(0, 3))
    axes = data.draw(
        st.lists(st.integers(0, max(rank - 1, 0)), unique=True, min_size=rank - len(shape), max_size=rank - len(shape))
    )
    assume(len(axes) == rank - len(shape))
    signed = [axis - rank if data.draw(st.booleans()) else axis for axis in axes]
    x = tensor(dtype, shape, seed)
    if axes:
        (wide,) = check("Unsqueeze", [x, np.array(signed, np.int64)], must=True) or []
        check("Unsqueeze", [x], opset=11, must=True, axes=signed)
        check("Squeeze", [wide, np.array(signed, np.int64)], must=True)
        check("Squeeze", [wide], opset=11, must=True, axes=signed)
        check("Squeeze", [wide], must=True)


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.data())
def test_reshape_and_flatten(dtype, shape, seed, data):
    x = tensor(dtype, shape, seed)
    target = data.draw(st.permutations(shape))
    if target and x.size and data.draw(st.booleans()):
        target[data.draw(st.integers(0, len(target) - 1))] = -1
    if data.draw(st.booleans()) and target and target[0] == shape[0]:
        target[0] = 0
    allowzero = data.draw(st.integers(0, 1)) if 0 not in target or x.size == 0 else 0
    if not (allowzero and -1 in target):
        check("Reshape", [x, np.array(target, np.int64)], allowzero=allowzero)
    check("Reshape", [x, np.array(shape, np.int64)], opset=14, must=True, allowzero=1)
    if x.ndim:
        check("Flatten", [x], must=True, axis=data.draw(st.integers(-len(shape), len(shape))))


@FAST
@given(st.sampled_from(ELEMENTS), shapes, seeds, st.data())
def test_whole_tensor_moves(dtype, shape, seed, data):
    x = tensor(dtype, shape, seed)
    check("Identity", [x], must=True)
    check("Size", [x], must=True)
    bounds = data.draw(st.fixed_dictionaries({}, optional={"start": st.integers(-5, 5), "end": st.integers(-5, 5)}))
    check("Shape", [x], must=True, **bounds)
    order = data.draw(st.permutations(range(len(shape))))
    check("Transpose", [x], must=True, **({"perm": order} if data.draw(st.booleans()) and shape else {}))
    if dtype not in (object, np.bool_):
        repeats = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(shape), max_size=len(shape))), np.int64)
        if shape:
            check("Tile", [x, repeats], must=True)
    if dtype is not object and shape:
        check("NonZero", [x], must=True)


@FAST
@given(st.sampled_from(ELEMENTS), shapes, st.lists(st.integers(0, 3), max_size=3), seeds, st.data())
def test_expand_and_where(dtype, shape, front, seed, data):
    narrow = [1 if data.draw(st.booleans()) else size for size in shape]
    x = tensor(dtype, narrow, seed)
    check("Expand", [x, np.array([*front, *shape], np.int64)], must=True)
    y = tensor(dtype, shape, seed + 1)
    if dtype is not np.bool_:
        check("Where", [tensor(np.bool_, narrow, seed + 2), x, y], must=True)


@pytest.mark.parametrize("value", [None, np.array([7], np.int64), np.array([-0.0], np.float32), np.array([True])])
@pytest.mark.parametrize("shape", [[], [0], [2, 3]])
def test_constant_of_shape(value, shape):
    attributes = {} if value is None else {"value": numpy_helper.from_array(value)}
    check("ConstantOfShape", [np.array(shape, np.int64)], must=True, **attributes)


# -- floats -----------------------------------------------------------------------------------------------------------------

SPECIAL = (0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3.4e38, 1e300, 5e-324, 16777217.0)


def floats(dtype: type[np.generic], size: int) -> st.SearchStrategy[Array]:
    numbers = st.sampled_from(SPECIAL) | st.floats()
    with np.errstate(all="ignore"):
        return st.lists(numbers, min_size=size, max_size=size).map(
            lambda items: np.array(items, np.float64).astype(dtype)
        )


@FAST
@given(op=st.sampled_from(["Add", "Sub", "Mul", "Div"]), data=st.data())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_float_arithmetic_is_rounded_alike(dtype: type[np.generic], op: str, data: st.DataObject) -> None:
    check(op, [data.draw(floats(dtype, 24)), data.draw(floats(dtype, 24))], floats=True, must=True)


@FAST
@given(op=st.sampled_from(["Abs", "Ceil", "Floor", "Neg", "Sqrt"]), data=st.data())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_float_functions_are_rounded_alike(dtype: type[np.generic], op: str, data: st.DataObject) -> None:
    check(op, [data.draw(floats(dtype, 24))], floats=True, must=True)


@FAST
@given(data=st.data())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("to", [1, 6, 7, 9, 11])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_float_casts_agree_or_are_refused(to: int, dtype: type[np.generic], data: st.DataObject) -> None:
    check("Cast", [data.draw(floats(dtype, 6))], floats=True, to=to)
    check("Cast", [np.array([0.5, -2.75, 123456.0], dtype)], floats=True, must=True, to=to)


@pytest.mark.parametrize(
    ("base", "exponent", "exact"),
    [(16, -0.5, True), (64, 0.5, True), (3, 4, True), (2, -3, True), (2.5, 2, True), (8, 0.5, False), (3, -1, False), (0, 2, False),
     (-2, 2, False), (2, 0.25, False), (np.inf, 2, False), (2, np.nan, False), (1e30, 2, False)],
)  # fmt: skip
def test_powers_that_need_no_rounding(base: float, exponent: float, exact: bool) -> None:
    found = check("Pow", [np.array([base], np.float32), np.array(exponent, np.float32)], floats=True)
    assert exact == (found is not None)


def test_floats_are_left_alone_unless_asked_for() -> None:
    assert check("Sqrt", [np.array([4.0], np.float32)]) is None
    assert check("Add", [np.array([4.0], np.float32)] * 2) is None
    assert check("Sqrt", [np.array([4.0], np.float16)], floats=True) is None
