"""Recurrent layers that are spelled out step by step give the same numbers, and packing finds them again."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.target import Target
from graphopt.transforms.decompose import DecomposeRecurrent
from graphopt.transforms.strength.recurrent import FuseRecurrentCells
from tests.transforms.harness import PROPERTY, assert_close, assert_untouched, model, run, transform

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Relu"], "GRU": ["sigmoid", "Softsign"], "RNN": ["Relu"]}
RULE = "spell-out-recurrent"


def layer(
    op, direction="forward", steps=3, bias=True, initial=True, peepholes=False, behind=False, named=False, **more
):
    """One layer with all outputs."""
    rng = np.random.default_rng(more.pop("seed", 0))
    batch, inputs, hidden = 2, 3, more.pop("hidden", 2)
    ways, gates = 2 if direction == "bidirectional" else 1, GATES[op] * hidden
    opset = more.pop("opset", 17)
    constants = {"w": rng.normal(0, 0.7, (ways, gates, inputs)), "r": rng.normal(0, 0.7, (ways, gates, hidden))}
    names = ["x", "w", "r", "b" if bias else '""', more.pop("lengths", '""')]
    if bias:
        constants["b"] = rng.normal(size=(ways, 2 * gates))
    names += ["h"] if initial else ['""']
    if op == "LSTM":
        names += ["c"] if initial else ['""']
        if peepholes:
            constants["p"] = rng.normal(size=(ways, 3 * hidden))
            names.append("p")
    while names[-1] == '""':
        names.pop()
    states = [f"float[{ways},{batch},{hidden}] {name}" for name in ("h", "c") if name in names]
    attributes = [f"hidden_size = {hidden}", f'direction = "{direction}"']
    if behind:
        attributes.append("linear_before_reset = 1")
    if named:
        attributes.append(f"activations = {ACTIVATIONS[op] * ways}".replace("'", '"'))
    attributes += [f"{name} = {value}" for name, value in more.items()]
    outputs = ["y", "z", "e"][: 3 if op == "LSTM" else 2]
    return model(
        f"{', '.join(outputs)} = {op}<{', '.join(attributes)}>({', '.join(names)})",
        ", ".join([f"float[{steps},{batch},{inputs}] x", *states]),
        ", ".join(f"float[*] {name}" for name in outputs),
        opset=opset,
        initializers={name: array.astype(np.float32) for name, array in constants.items()},
    )


def feeds_of(proto, seed=0):
    rng = np.random.default_rng(seed)
    known = {item.name for item in proto.graph.initializer}
    return {
        info.name: rng.normal(size=[dim.dim_value for dim in info.type.tensor_type.shape.dim]).astype(np.float32)
        for info in proto.graph.input
        if info.name not in known
    }


@PROPERTY
@given(
    op=st.sampled_from(sorted(GATES)),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    steps=st.integers(1, 4),
    bias=st.booleans(),
    initial=st.booleans(),
    peepholes=st.booleans(),
    behind=st.booleans(),
    named=st.booleans(),
    hidden=st.integers(1, 3),
    opset=st.sampled_from([7, 11, 13, 14, 17, 21]),
    seed=st.integers(0, 9),
)
def test_each_layer(op, direction, steps, bias, initial, peepholes, behind, named, hidden, opset, seed):
    kinds = {"peepholes": peepholes and op == "LSTM", "behind": behind and op == "GRU", "named": named}
    proto = layer(op, direction, steps, bias, initial, hidden=hidden, opset=opset, seed=seed, **kinds)
    found = transform(proto, DecomposeRecurrent())
    assert {RULE: 1} == found.applied
    assert op not in found.ops
    feeds = feeds_of(proto, seed)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("steps", [2, 4])
def test_packing_finds_it_again(op, direction, behind, steps):
    proto = layer(op, direction, steps, behind=behind and op == "GRU")
    apart = transform(proto, DecomposeRecurrent()).after
    again = transform(apart, FuseRecurrentCells())
    assert {"pack-recurrent-cells": 2 if direction == "bidirectional" else 1} == again.applied
    assert not {"Sigmoid", "Tanh"} & set(again.ops)
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(again.after, feeds), 1e-5)


def test_only_what_the_target_lacks():
    proto = layer("GRU")
    step = DecomposeRecurrent(lacking=True)
    assert not transform(proto, step, target=Target("any")).applied
    lacks = Target("lacks", unsupported=frozenset({"GRU"}))
    assert {RULE: 1} == transform(proto, step, target=lacks).applied


@pytest.mark.parametrize(
    "proto",
    [
        layer("LSTM", steps=5),
        layer("LSTM", clip=1.0),
        layer("LSTM", input_forget=1),
        layer("RNN", activations='["Affine"]'),
        layer("GRU", activations='["HardSigmoid", "Tanh"]', activation_alpha="[0.3]"),
        layer("LSTM", lengths="n"),
    ],
    ids=["long", "clipped", "coupled", "affine", "with a parameter", "lengths"],
)
def test_other_layers_stay(proto):
    if "n" in proto.graph.node[0].input:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3], np.int32), "n"))
    assert_untouched(proto, DecomposeRecurrent(max_steps=4))


def test_weights_that_are_computed_stay():
    proto = layer("RNN")
    proto.graph.node.insert(0, onnx.helper.make_node("Neg", ["w"], ["v"]))
    proto.graph.node[1].input[1] = "v"
    assert_untouched(proto, DecomposeRecurrent())
