"""Small integer tensors are followed as expressions; every number claimed is what the operators compute."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.analysis import Integers, ShapeValues
from graphopt.analysis.integers import broadcast
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Dim, Model, SymbolicDim, Value, dim_max, dim_min, is_nonnegative
from graphopt.serde import lift_model

SIZES = {"b": 3, "s": 5, "h": 8}


def lifted(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], output: str) -> tuple[onnx.ModelProto, Model]:
    """A model of ``x`` [b, s, 4] and an integer output that nodes compute from its shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", 4])],
        [helper.make_value_info(output, onnx.TypeProto())],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = lift_model(proto)
    OnnxTypes().infer_model(model)
    return proto, model


def value_of(model: Model, name: str) -> Value:
    return next(value for value in model.graph.values() if value.name == name)


def evaluated(found: Integers, sizes: dict[str, int]) -> list[int | None]:
    def number(item: Dim) -> int | None:
        return item.evaluate(sizes) if isinstance(item, SymbolicDim) else item

    return [number(item) for item in found.elements]


def node(op: str, inputs: list[str], output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], None, None, None, None, **attributes)


CHAINS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "whole shape": ([node("Shape", ["x"], "y")], {}),
    "part of the shape": ([node("Shape", ["x"], "y", start=1, end=-1)], {}),
    "size": ([node("Size", ["x"], "y")], {}),
    "gather scalar": ([node("Shape", ["x"], "s"), node("Gather", ["s", "i"], "y")], {"i": np.array(-2)}),
    "slice": (
        [node("Shape", ["x"], "s"), node("Slice", ["s", "a", "e"], "y")],
        {"a": np.array([-2]), "e": np.array([np.iinfo(np.int64).max])},
    ),
    "arithmetic": (
        [
            node("Shape", ["x"], "s"),
            node("Mul", ["s", "three"], "m"),
            node("Sub", ["m", "one"], "d"),
            node("Add", ["d", "one"], "a"),
            node("Div", ["a", "three"], "y"),
        ],
        {"three": np.array(3), "one": np.array([1])},
    ),
    "concat": (
        [
            node("Shape", ["x"], "s"),
            node("Gather", ["s", "i"], "g"),
            node("Unsqueeze", ["g", "ax"], "u"),
            node("Concat", ["u", "k", "u"], "y", axis=0),
        ],
        {"i": np.array(0), "ax": np.array([0]), "k": np.array([12, -1])},
    ),
    "split": (
        [
            node("Shape", ["x"], "s"),
            helper.make_node("Split", ["s", "p"], ["p0", "p1"], axis=0),
            node("Squeeze", ["p1"], "y"),
        ],
        {"p": np.array([2, 1])},
    ),
    "cast and back": (
        [
            node("Shape", ["x"], "s"),
            node("Cast", ["s"], "c", to=TensorProto.INT32),
            node("Cast", ["c"], "y", to=TensorProto.INT64),
        ],
        {},
    ),
    "product": ([node("Shape", ["x"], "s"), node("ReduceProd", ["s"], "y", keepdims=0)], {}),
    "where": (
        [
            node("Shape", ["x"], "s"),
            node("Equal", ["s", "s"], "q"),
            node("Where", ["q", "s", "ones"], "y"),
        ],
        {"ones": np.array([1, 1, 1])},
    ),
    "modulo": ([node("Shape", ["x"], "s"), node("Mod", ["s", "k"], "y")], {"k": np.array(2)}),
    "maximum": ([node("Shape", ["x"], "s"), node("Max", ["s", "k"], "y")], {"k": np.array([4, 4, 9])}),
    "range": (
        [node("Shape", ["x"], "s", start=2), node("Squeeze", ["s"], "n"), node("Range", ["zero", "n", "one"], "y")],
        {"zero": np.array(0), "one": np.array(1)},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_elements_are_what_the_operators_compute(name: str):
    """Each element is known, and for given sizes it is the number that the reference evaluator gives."""
    nodes, constants = CHAINS[name]
    proto, model = lifted(nodes, constants, "y")
    found = ShapeValues().of(value_of(model, "y"))
    assert found is not None
    expected = np.asarray(ReferenceEvaluator(proto).run(["y"], {"x": np.zeros((3, 5, 4), np.float32)})[0])  # type: ignore[index]  # a list
    assert found.shape == expected.shape
    assert evaluated(found, SIZES) == np.reshape(expected, -1).tolist()


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Shape", ["x"], "s"), node("Sub", ["s", "k"], "d"), node("Div", ["d", "two"], "y")], {"k": 9, "two": 2}),
        ([node("Shape", ["x"], "s"), node("Div", ["k", "s"], "y")], {"k": 9}),
        ([node("Shape", ["x"], "s"), node("Sub", ["s", "k"], "d"), node("Mod", ["d", "k"], "y")], {"k": 9}),
    ],
    ids=["negative numerator", "symbolic divisor", "negative modulo"],
)
def test_what_might_round_differently_is_unknown(nodes: list[onnx.NodeProto], constants: dict[str, int]):
    """Division truncates toward zero, floor division of expressions does not: no claim where the sign is open."""
    _, model = lifted(nodes, {key: np.array(value) for key, value in constants.items()}, "y")
    found = ShapeValues().of(value_of(model, "y"))
    assert found is None or not any(isinstance(item, SymbolicDim) for item in found.elements)


def test_unknown_sizes_get_symbols_of_their_own():
    """Two sizes that inference knows nothing of are never taken to be equal."""
    values = ShapeValues()
    _, model = lifted([node("NonZero", ["x"], "y")], {}, "y")
    assert values.shape_of(value_of(model, "y")) != values.shape_of(value_of(model, "x"))
    first, second = (values.shape_of(value_of(lifted([node("NonZero", ["x"], n)], {}, n)[1], n)) for n in ("p", "q"))
    assert first is not None
    assert second is not None
    assert first[1] != second[1] or isinstance(first[1], SymbolicDim)


def test_an_overridable_initializer_is_not_known():
    """Callers may replace the default, so nothing may be concluded from it."""
    proto, _ = lifted([node("Identity", ["k"], "y")], {"k": np.array([1, 2])}, "y")
    proto.graph.input.append(helper.make_tensor_value_info("k", TensorProto.INT64, [2]))
    model = lift_model(proto)
    assert ShapeValues().of(value_of(model, "y")) is None


def test_a_long_chain_does_not_recurse_without_bound():
    """5,000 additions are followed in order, or not at all, but never end in a RecursionError."""
    nodes = [node("Add", [f"v{i}" if i else "k", "k"], f"v{i + 1}") for i in range(5000)]
    _, model = lifted(nodes, {"k": np.array([1])}, "v5000")
    values = ShapeValues()
    assert values.of(value_of(model, "v5000")) is None
    for item in model.graph.nodes:
        values.of(item.output)
    found = values.of(value_of(model, "v5000"))
    assert found is not None
    assert found.elements == (5001,)


@given(st.lists(st.integers(-5, 9), min_size=1, max_size=6), st.integers(-5, 9))
def test_broadcast_agrees_with_numpy(numbers: list[int], other: int):
    """One element against many, in either order."""
    many, one = Integers((len(numbers),), tuple(numbers)), Integers((), (other,))
    assert broadcast(many, one, lambda a, b: a - b) == Integers((len(numbers),), tuple(np.array(numbers) - other))  # type: ignore[operator]
    assert broadcast(one, many, lambda a, b: a - b) == Integers((len(numbers),), tuple(other - np.array(numbers)))  # type: ignore[operator]


@given(
    st.integers(0, 6),
    st.integers(-3, 6),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from("bs"), st.integers(0, 9), min_size=2),
)
def test_what_is_said_to_be_nonnegative_is(scale: int, offset: int, divisor: int, sizes: dict[str, int]):
    """The claim holds for every assignment of sizes."""
    b, s = SymbolicDim("b"), SymbolicDim("s")
    for dim in (
        b * scale + offset,
        (b + offset) // divisor,
        dim_max(b + offset, s),
        dim_min(b + offset, s),
        b * s - s + offset,
    ):
        if is_nonnegative(dim):
            assert (dim.evaluate(sizes) if isinstance(dim, SymbolicDim) else dim) >= 0


def test_size_is_the_product():
    """Size of [b, s, 4]."""
    _, model = lifted([node("Size", ["x"], "y")], {}, "y")
    found = ShapeValues().of(value_of(model, "y"))
    assert found is not None
    assert evaluated(found, SIZES) == [math.prod((3, 5, 4))]
