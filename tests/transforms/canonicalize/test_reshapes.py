"""Reshape, Flatten, Squeeze and Unsqueeze: no-ops go, chains merge; dynamic sizes, empty tensors and all spellings of axes included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import SymbolicDim
from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.reshape_targets import target_entries
from tests.transforms.harness import (
    PROPERTY,
    assert_exact,
    assert_same_bits,
    assert_untouched,
    feeds_for,
    model,
    run,
    transform,
)

STEP = Canonicalize()
N, M = SymbolicDim("N"), SymbolicDim("M")


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


@pytest.mark.parametrize(
    ("shape", "target", "gone"),
    [
        ("2,3", [2, 3], True),
        ("2,3", [2, -1], True),
        ("2,3", [0, 0], True),
        ("2,3", [-1, 0], True),
        ("N,3", [-1, 3], True),
        ("N,3", [0, 3], True),
        ("N,3", [0, -1], True),
        ("N,M", [0, 0], True),
        ("N,M", [0, -1], True),
        ("N,3", [6], False),
        ("N,3", [3, -1], False),
        ("N,3", [2, 3], False),
        ("N,M", [-1, 2], False),
        ("2,3", [3, 2], False),
        ("2,3", [1, 2, 3], False),
    ],
)
def test_reshape_to_the_same_shape_goes(shape, target, gone):
    proto = model("a = Reshape(x, s) y = Exp(a)", f"float[{shape}] x", initializers=ints(s=target))
    outcome = transform(proto, STEP)
    assert (["Exp"] if gone else ["Reshape", "Exp"]) == outcome.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize(
    ("shape", "target", "gone"), [("0,3", [0, 3], True), ("N,3", [0, 3], False), ("2,3", [2, 3], True)]
)
def test_zero_means_zero_with_allowzero(shape, target, gone):
    proto = model("a = Reshape<allowzero=1>(x, s) y = Exp(a)", f"float[{shape}] x", initializers=ints(s=target))
    outcome = transform(proto, STEP)
    assert (["Exp"] if gone else ["Reshape", "Exp"]) == outcome.ops
    feeds = feeds_for(proto, {"N": 0})
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_reshape_of_unknown_rank_stays():
    assert_untouched(model("y = Reshape(x, s)", "float[*] x", initializers=ints(s=[0, -1])), STEP)


def test_reshape_to_a_computed_shape_stays():
    assert_untouched(model("y = Reshape(x, s)", "float[2,3] x, int64[2] s"), STEP)


@pytest.mark.parametrize(
    ("body", "shape", "ops"),
    [
        ("a = Flatten(x)", "N,M", []),
        ("a = Flatten<axis=-1>(x)", "2,3", []),
        ("a = Flatten<axis=0>(x)", "1,6", []),
        ("a = Flatten<axis=0>(x)", "2,3", ["Flatten"]),
        ("a = Flatten(x)", "2,3,1", ["Flatten"]),
        ("a = Squeeze(x)", "2,3", []),
        ("a = Squeeze(x)", "N,3", ["Squeeze"]),
        ("a = Squeeze(x, z)", "2,1,3", ["Squeeze"]),
    ],
)
def test_others_that_change_nothing_go(body, shape, ops):
    proto = model(f"{body} y = Exp(a)", f"float[{shape}] x", initializers=ints(z=[1]))
    outcome = transform(proto, STEP)
    assert [*ops, "Exp"] == outcome.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize(
    ("body", "shape", "ops"),
    [
        # absolute targets need no types
        ("a = Reshape(x, s12) b = Reshape(a, s34)", "*", ["Reshape"]),
        ("a = Reshape(x, s12) b = Reshape(a, s34) c = Reshape(b, s12)", "*", ["Reshape"]),
        ("a = Flatten(x) b = Reshape(a, s34)", "2,2,3", ["Reshape"]),
        ("a = Unsqueeze(x, one) b = Reshape(a, s34)", "2,6", ["Reshape"]),
        # a zero refers to the tensor between
        ("a = Reshape(x, s34) b = Reshape(a, s00)", "2,6", ["Reshape"]),
        ("a = Reshape(x, s34) b = Reshape(a, s02m)", "2,6", ["Reshape"]),
        ("a = Reshape(x, s34) b = Reshape(a, s02m)", "*", ["Reshape"]),
        ("a = Transpose(x) b = Reshape(a, s0m) c = Reshape(b, s0m)", "N,4", ["Transpose"]),
        # Squeeze and Unsqueeze
        ("a = Unsqueeze(x, one) b = Squeeze(a, one)", "N,M", []),
        ("a = Squeeze(x, one) b = Unsqueeze(a, one)", "N,1,M", []),
        ("a = Unsqueeze(x, one) b = Squeeze(a, zero)", "1,M", []),
        ("a = Unsqueeze(x, zero) b = Unsqueeze(a, zero)", "N,M", ["Unsqueeze"]),
        ("a = Unsqueeze(x, last) b = Unsqueeze(a, zero)", "N,M", ["Unsqueeze"]),
        ("a = Squeeze(x, zero) b = Squeeze(a, one)", "1,N,1,M", ["Squeeze"]),
        ("a = Squeeze(x, last) b = Squeeze(a, zero)", "1,N,M,1", ["Squeeze"]),
        # what is stated by sizes
        ("a = Flatten<axis=2>(x) b = Unsqueeze(a, zero)", "2,3,4", ["Reshape"]),
        ("a = Squeeze(x, one) b = Flatten(a)", "N,1,3,4", ["Reshape"]),
        ("a = Squeeze(x, one) b = Flatten(a)", "N,1,M,4", ["Squeeze", "Flatten"]),
    ],
)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_chains_merge(body, shape, ops, n):
    """Also for N=0: a -1 must not appear beside a size that may be zero."""
    constants = ints(s12=[12], s34=[3, -1], s00=[0, 0], s0m=[0, -1], s02m=[0, 2, -1], zero=[0], one=[1], last=[-1])
    refuses_empty = "s0m" in body  # ONNX Runtime finds no size for -1 then
    names = [word.rstrip(")") for word in body.replace("(", " ").replace(",", " ").split()]
    last = names[names.index("=", len(names) - names[::-1].index("=") - 1) - 1]
    proto = model(f"{body} y = Exp({last})", f"float[{shape}] x", initializers=constants)
    outcome = transform(proto, STEP)
    assert [*ops, "Exp"] == outcome.ops
    feeds = feeds_for(proto, {"N": n}) if shape != "*" else {"x": np.arange(12, dtype=np.float32).reshape(2, 6)}
    if n == 0 and refuses_empty:
        return
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize("opset", [7, 11, 12])
def test_axes_as_attributes(opset):
    proto = model("a = Unsqueeze<axes=[0]>(x) b = Unsqueeze<axes=[3]>(a) y = Exp(b)", "float[N,M] x", opset=opset)
    assert_exact(proto, STEP, ["Unsqueeze", "Exp"], {"merge-reshapes": 1})
    proto = model("a = Squeeze<axes=[1]>(x) b = Unsqueeze<axes=[1]>(a) y = Exp(b)", "float[N,1,M] x", opset=opset)
    assert_exact(proto, STEP, ["Exp"], {"merge-reshapes": 1})


def test_inner_node_with_other_users_is_not_merged():
    proto = model(
        "a = Flatten(x) b = Unsqueeze(a, one) y = Exp(b) z = Exp(a)",
        "float[2,3,4] x",
        "float[2,1,12] y, float[2,12] z",
        initializers=ints(one=[1]),
    )
    assert_untouched(proto, STEP)


def test_two_reshapes_of_one_reshape_both_read_its_input():
    proto = model(
        "a = Reshape(x, s) y = Reshape(a, t) z = Reshape(a, u)",
        "float[2,3,4] x",
        "float[8,3] y, float[3,8] z",
        initializers=ints(s=[6, 4], t=[8, 3], u=[3, 8]),
    )
    assert_exact(proto, STEP, ["Reshape", "Reshape"], {"merge-reshapes": 2})


def test_a_graph_output_between_stays():
    proto = model(
        "a = Reshape(x, s) y = Reshape(a, t)",
        "float[2,12] x",
        "float[8,3] y, float[6,4] a",
        initializers=ints(s=[6, 4], t=[8, 3]),
    )
    assert_untouched(proto, STEP)


@pytest.mark.parametrize(
    ("wanted", "have", "entries"),
    [
        ((2, 3), (6,), (2, 3)),
        ((N, 3), (N, 3), (0, 3)),
        ((3, N), (N, 3), (3, -1)),
        ((N, M), (N, M, 1), (0, 0)),
        ((N, M), (M, N), None),
        ((N, M, 2), (N, 2, M), None),
        ((0, 3), (3, 0), None),
        ((0, 3), (0, 1, 3), (0, 3)),
        ((None, 4), (None, 2, 2), (-1, 4)),
        ((), (1,), ()),
    ],
)
def test_target_entries(wanted, have, entries):
    assert entries == target_entries(wanted, have)


@st.composite
def chains(draw):
    """A shape with sizes of 0 and 1, which of its sizes are dynamic, and operators that change shapes."""
    shape = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3]), min_size=1, max_size=4))
    dynamic = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    steps, now = [], list(shape)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Reshape", "Flatten", "Squeeze", "Unsqueeze"]))
        rank = len(now)
        if kind == "Flatten" and rank:
            axis = draw(st.integers(0, rank))
            steps.append((kind, axis))
            now = [int(np.prod(now[:axis])), int(np.prod(now[axis:]))]
        elif kind == "Squeeze" and 1 in now:
            axes = draw(st.lists(st.sampled_from([i for i, d in enumerate(now) if d == 1]), min_size=1, unique=True))
            steps.append((kind, [a - rank if draw(st.booleans()) else a for a in axes]))
            now = [d for i, d in enumerate(now) if i not in axes]
        elif kind == "Unsqueeze" and rank < 5:
            count = draw(st.integers(1, 2))
            axes = draw(st.lists(st.integers(0, rank + count - 1), min_size=count, max_size=count, unique=True))
            steps.append((kind, [a - rank - count if draw(st.booleans()) else a for a in axes]))
            rest = iter(now)
            now = [1 if i in axes else next(rest) for i in range(rank + count)]
        elif kind == "Reshape":
            target = draw(st.permutations(now)) if now else [1]
            entries = [
                0 if i < rank and target[i] == now[i] and draw(st.booleans()) else d for i, d in enumerate(target)
            ]
            if 0 not in target and entries and draw(st.booleans()):
                entries[draw(st.integers(0, len(entries) - 1))] = -1
            if any(e == 0 and not (i < rank and now[i] == 0) and target[i] == 0 for i, e in enumerate(entries)):
                continue
            steps.append((kind, entries))
            now = list(target)
    return shape, dynamic, steps


@PROPERTY
@given(chains())
def test_any_chain_keeps_its_result(drawn):
    shape, dynamic, steps = drawn
    names = {f"D{index}": size for index, size in enumerate(shape)}
    stated = [f"D{index}" if dynamic[index] else str(size) for index, size in enumerate(shape)]
    body, last, constants = [], "x", {}
    for index, (kind, what) in enumerate(steps):
        if kind == "Flatten":
            body.append(f"t{index} = Flatten<axis={what}>({last})")
        else:
            constants[f"c{index}"] = what
            body.append(f"t{index} = {kind}({last}, c{index})")
        last = f"t{index}"
    proto = model(" ".join([*body, f"y = Exp({last})"]), f"float[{','.join(stated)}] x", initializers=ints(**constants))
    feeds = feeds_for(proto, names)
    expected = run(proto, feeds)
    outcome = transform(proto, STEP)
    assert_same_bits(expected, run(outcome.after, feeds))


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("t = Squeeze(x, e)", ["Squeeze", "Exp"]),
        ("s = Squeeze(x, e) t = Unsqueeze(s, e)", ["Squeeze", "Unsqueeze", "Exp"]),
        ("s = Squeeze(x, e) t = Squeeze(s, e)", ["Squeeze", "Squeeze", "Exp"]),
        ("t = Unsqueeze(x, e)", ["Exp"]),
    ],
)
def test_an_empty_list_of_axes_to_squeeze_stays(body, ops):
    """It means no axis to the specification and all of size 1 to ONNX Runtime."""
    proto = model(f"{body} y = Exp(t)", "float[1,3] x", initializers=ints(e=[]))
    outcome = transform(proto, STEP)
    assert ops == outcome.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize("allowzero", [0, 1])
def test_a_computed_target_is_stated_where_the_shape_is_known(allowzero):
    body = f"s = Shape(z) a = Reshape<allowzero={allowzero}>(x, s) y = Exp(a)"
    proto = model(body, "float[N,2,6] x, float[N,3,4] z")
    outcome = assert_exact(proto, STEP, ["Reshape", "Exp"], {"state-reshape-target": 1}, sizes={"N": 3})
    (target,) = outcome.after.graph.initializer
    assert [0, 3, 4] == np.frombuffer(target.raw_data, np.int64).tolist()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ("float[N,2,6] x, float[N,M,K] z", "float[*] y"),  # two that are not those of the input
        ("float[N,2,6] x, float[*] z", "float[*] y"),
    ],
)
def test_a_computed_target_of_a_shape_that_can_not_be_stated_stays(inputs, outputs):
    proto = model("s = Shape(z) a = Reshape<allowzero=1>(x, s) y = Exp(a)", inputs, outputs)
    assert "state-reshape-target" not in transform(proto, STEP).applied


def test_a_shape_that_is_promised_to_callers_is_not_stated():
    assert_untouched(model("s = Shape(z) y = Reshape(x, s)", "float[N,2,6] x, float[N,3,4] z", "float[N,3,4] y"), STEP)
