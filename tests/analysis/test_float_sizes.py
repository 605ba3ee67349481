"""Sizes that go through floating point are followed where each number is known, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.analysis.float_sizes import truncated
from graphopt.analysis.integers import Integers
from graphopt.transforms.shape_folding import FoldShapes
from tests.transforms.harness import PROPERTY, assert_untouched, model, run, transform

STEP = FoldShapes()
FRACTIONS = (0.5, 2.0, 3.0, 0.1, 1.0, 7.0, -0.25, 1e-3, 16777217.0, 1e9)
SIZE = "s = Shape(x) l = Gather(s, i) f = Cast<to = 1>(l)"


@given(
    size=st.integers(0, 5000),
    steps=st.lists(
        st.tuples(
            st.sampled_from(("Add", "Sub", "Mul", "Div", "Max", "Min", "Ceil", "Floor", "Round", "Abs", "Neg")),
            st.sampled_from(FRACTIONS),
            st.booleans(),
        ),
        max_size=5,
    ),
    wide=st.booleans(),
)
@PROPERTY
def test_chains_of_operators_give_what_the_runtime_gives(size, steps, wide):
    """Whatever is folded is what ONNX Runtime computes; what is no integer in the end stays."""
    dtype = np.float64 if wide else np.float32
    body, last, constants = f"s = Shape(x) l = Gather(s, i) v0 = Cast<to = {11 if wide else 1}>(l)", "v0", {}
    for index, (op, number, swapped) in enumerate(steps, 1):
        name = f"v{index}"
        constants[f"c{index}"] = np.array(number, dtype)
        pair = f"c{index}, {last}" if swapped else f"{last}, c{index}"
        body += f" {name} = {op}({last if op in ('Ceil', 'Floor', 'Round', 'Abs', 'Neg') else pair})"
        last = name
    proto = model(
        f"{body} y = Cast<to = 7>({last})",
        f"float[1,{size}] x",
        "int64 y",
        initializers={"i": np.array(1, np.int64), **constants},
    )
    outcome = transform(proto, STEP)
    if "Identity" not in outcome.ops and outcome.ops:
        return
    feeds = {"x": np.zeros((1, size), np.float32)}
    assert run(proto, feeds)[0].tolist() == run(outcome.after, feeds)[0].tolist()


def test_the_padding_of_an_audio_encoder_is_known():
    """``(ceil((length - kernel + padding) / stride + 1) - 1) * stride``, as EnCodec pads each of its layers."""
    body = f"{SIZE} a = Div(f, two) b = Add(a, one) c = Ceil(b) d = Cast<to = 7>(c) e = Unsqueeze(d, axes) y = Expand(x, e)"
    given_: dict[str, np.ndarray] = {
        "i": np.array(1, np.int64),
        "two": np.array(2, np.float32),
        "one": np.array(1, np.float32),
        "axes": np.array([0], np.int64),
    }
    outcome = transform(model(body, "float[6,1] x", opset=17, initializers=given_ | {"i": np.array(0, np.int64)}), STEP)
    assert ["Expand"] == outcome.ops
    assert (6, 4) == outcome.ir.graph.outputs[0].shape


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f"{SIZE} a = Exp(f) y = Cast<to = 7>(a)", "kernels approximate"),
        (f"{SIZE} a = Div(f, zero) y = Cast<to = 7>(a)", "no integer"),
        (f"{SIZE} a = Mul(f, huge) y = Cast<to = 7>(a)", "too large for certain"),
        ("s = Shape(x) l = Gather(s, i) f = Cast<to = 10>(l) a = Ceil(f) y = Cast<to = 7>(a)", "half floats"),
        ("a = ReduceMax<keepdims = 0>(x) y = Cast<to = 7>(a)", "not known"),
    ],
)
def test_what_is_not_certain_stays(body, why):
    """The last Cast is still there; what it reads may be known in part."""
    assert why
    constants: dict[str, np.ndarray] = {
        "i": np.array(1, np.int64),
        "zero": np.array(0, np.float32),
        "huge": np.array(1e30, np.float32),
    }
    outcome = transform(model(body, "float[2,3] x", "int64 y", opset=17, initializers=constants), STEP)
    assert "Cast" == outcome.ops[-1]


def test_dynamic_sizes_stay():
    """A size that has no number goes through no floating point: it may be one that is rounded."""
    proto = model(
        f"{SIZE} a = Mul(f, two) y = Cast<to = 7>(a)",
        "float[2,n] x",
        "int64 y",
        initializers={"i": np.array(1, np.int64), "two": np.array(2, np.float32)},
    )
    assert_untouched(proto, STEP)


def test_numbers_are_cut_toward_zero():
    """As Cast does; what has no integer gives none."""
    assert Integers((3,), (1, -1, 0)) == truncated(np.array([1.9, -1.9, -0.5]))
    assert truncated(np.array([np.nan])) is None
    assert truncated(np.array([np.inf])) is None
    assert truncated(np.array([1e17])) is None
