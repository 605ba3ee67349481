"""Casts that lose nothing go or merge, others stay; all pairs of types, against ONNX Runtime bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt.ir import DType
from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.canonicalize.casts import holds
from tests.transforms.harness import assert_exact, assert_same_bits, assert_untouched, feeds_for, model, run, transform

STEP = Canonicalize()
TYPES = ["float", "double", "float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBER = {name: getattr(TensorProto, name.upper()) for name in [*TYPES, "bfloat16", "string"]}


def chain(source, middle, target):
    return model(
        f"a = Cast<to={NUMBER[middle]}>(x) y = Cast<to={NUMBER[target]}>(a)", f"{source}[40] x", f"{target}[40] y"
    )


#: Pairs (middle, target) of a third type in the middle. int8: three wider integers with eleven targets each, three floats with two other
#: floats, bool and the four integers that hold it.
MERGED_PAIRS = {
    "float": 2,
    "double": 0,
    "float16": 4,
    "bool": 121,
    "int8": 54,
    "int16": 34,
    "int32": 16,
    "int64": 0,
    "uint8": 96,
    "uint16": 60,
    "uint32": 28,
    "uint64": 0,
}


@pytest.mark.parametrize("source", TYPES)
def test_all_chains_that_merge_keep_every_bit(source):
    """Each middle and target type: what merges is run, what does not must lose something or be undefined."""
    merged = 0
    for middle in TYPES:
        for target in TYPES:
            proto = chain(source, middle, target)
            outcome = transform(proto, STEP)
            if sum(outcome.applied.values()) == 0:
                assert ["Cast", "Cast"] == outcome.ops
                continue
            if middle not in (source, target):
                merged += 1
            with np.errstate(all="ignore"):
                feeds = feeds_for(proto)
            assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    assert MERGED_PAIRS[source] == merged


@pytest.mark.parametrize(
    ("source", "middle", "target", "ops"),
    [
        ("float16", "float", "float16", ["Identity"]),
        ("float16", "float", "double", ["Cast"]),
        ("int8", "int32", "int64", ["Cast"]),
        ("bool", "int64", "bool", ["Identity"]),
        ("uint8", "int32", "int8", ["Cast"]),
        ("float", "float16", "float", ["Cast", "Cast"]),
        ("int64", "int32", "int64", ["Cast", "Cast"]),
        ("int64", "float", "int64", ["Cast", "Cast"]),
        ("float", "double", "int32", ["Cast", "Cast"]),
        ("int8", "float", "uint8", ["Cast", "Cast"]),
        ("float", "bool", "float", ["Cast", "Cast"]),
        ("uint8", "int8", "int32", ["Cast", "Cast"]),
        ("int32", "int64", "string", ["Cast", "Cast"]),
        ("float16", "bfloat16", "float", ["Cast", "Cast"]),
    ],
)
def test_named_chains(source, middle, target, ops):
    assert ops == transform(chain(source, middle, target), STEP).ops


def test_cast_to_the_same_type_goes():
    assert_exact(model("a = Cast<to=1>(x) y = Exp(a)"), STEP, ["Exp"], {"eliminate-cast": 1})


@pytest.mark.parametrize("opset", [7, 9, 13, 19, 21, 23])
def test_casts_of_all_opsets_merge(opset):
    proto = model("a = Cast<to=11>(x) y = Cast<to=10>(a)", outputs="float16[2,3] y", opset=opset)
    assert_exact(proto, STEP, ["Cast"], {"merge-casts": 1})


def test_cast_of_unknown_type_stays():
    """A custom operator says nothing of its output."""
    proto = model("a = other.Thing(x) y = Cast<to=1>(a)", imports=', "other" : 1')
    assert_untouched(proto, STEP)


def test_inner_cast_with_other_users_stays():
    proto = model("a = Cast<to=11>(x) y = Cast<to=1>(a) z = Exp(a)", outputs="float[2,3] y, double[2,3] z")
    assert_exact(proto, STEP, ["Cast", "Identity", "Exp"], {"merge-casts": 1})


def test_cast_like_becomes_cast():
    proto = model("a = Exp(z) y = CastLike(x, a)", "float[2] x, double[3] z", "double[2] y")
    assert_exact(proto, STEP, ["Cast"], {"resolve-cast-like": 1})
    assert ["Exp"] == transform(model("a = CastLike(x, x) y = Exp(a)"), STEP).ops


@pytest.mark.parametrize("wide", [DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16, DType.INT32, DType.UINT8])
@pytest.mark.parametrize(
    "narrow", [DType.INT8, DType.UINT8, DType.INT16, DType.BOOL, DType.FLOAT16, DType.BFLOAT16, DType.INT4]
)
def test_holds_is_what_a_round_trip_shows(narrow, wide):
    """All numbers of a narrow type (each of its bit patterns), there and back."""
    if narrow.bits == 4:
        numbers = np.arange(-8, 8).astype(narrow.numpy)
    elif narrow is DType.BOOL:
        numbers = np.array([False, True])
    else:
        codes = np.arange(1 << narrow.bits, dtype=np.uint16 if narrow.bits == 16 else np.uint8)
        numbers = codes.view(narrow.numpy)
        with np.errstate(invalid="ignore"):
            numbers = numbers[np.isfinite(numbers.astype(np.float64))]
    with np.errstate(all="ignore"):
        through = numbers.astype(wide.numpy).astype(np.float64)
    assert holds(narrow, wide) == bool((through == numbers.astype(np.float64)).all())


def test_operators_of_one_type_need_no_inference():
    nodes = [
        helper.make_node("Scaler", ["x"], ["a"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Exp", ["b"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, number, [2, 3]) for name, number in (("x", 11), ("y", 1)))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=8)
    outcome = transform(proto, STEP)
    assert ["ai.onnx.ml::Scaler", "Exp"] == outcome.ops
    assert_same_bits(run(proto, feeds_for(proto)), run(outcome.after, feeds_for(proto)))
