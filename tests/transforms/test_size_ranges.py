"""What a stated range of a dynamic size proves is used: by arithmetic of shapes, slices, reshapes and cells."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.ir import SymbolicDim, dim_max, dim_min, lower_bound, upper_bound
from tests.transforms.harness import assert_same_bits, model, run
from tests.transforms.strength.unrolled import Unrolled, unrolled

SEQ = SymbolicDim("seq", 1, 512)
INTS = {"one": [1], "zero": [0], "most": [512], "less": [511], "two": [2], "kilo": [1024], "three": [3], "axis": [1]}


def optimized(proto, level="O1", **dims):
    """The operators that stay with a range and without, and the result of the first."""
    plain = graphopt.optimize(proto, level=level, check=False)
    ranged = graphopt.optimize(proto, level=level, set_dims=dims)
    assert ranged.report.verdict is not None
    assert ranged.report.verdict.ok
    return [node.op for node in plain.model.graph.nodes], [node.op for node in ranged.model.graph.nodes], ranged


def sized(body, shape="n,seq", outputs="float[*] y", opset=17, **more):
    given = {name: np.array(numbers, np.int64) for name, numbers in INTS.items()} | more
    used = {name: array for name, array in given.items() if f", {name}" in body or f"({name}" in body}
    return model(body, f"float[{shape}] x", outputs, opset=opset, initializers=used)


# -- expressions ------------------------------------------------------------------------------------------------------------


def test_a_bounded_name_is_the_name():
    plain = SymbolicDim("seq")
    assert plain == SEQ
    assert hash(plain) == hash(SEQ)
    assert ("seq", "seq*2 + 1".replace(" ", "")) == (SEQ.name, str(SEQ * 2 + 1))
    assert type(SEQ.name) is str
    assert (SEQ - plain) == 0


@pytest.mark.parametrize(
    ("dim", "low", "high"),
    [
        (SEQ, 1, 512),
        (SEQ * 3 - 1, 2, 1535),
        (7 - SEQ, -505, 6),
        (SEQ * SEQ, 1, 512 * 512),
        (SEQ // 3, 0, 170),
        (SEQ * SymbolicDim("n"), 0, None),
        (SEQ - SymbolicDim("n"), None, 512),
        (dim_min(SEQ, SymbolicDim("n")), 0, 512),
        (dim_max(SEQ, SymbolicDim("n")), 1, None),
        (SymbolicDim("n", 4), 4, None),
        (5, 5, 5),
        (None, None, None),
    ],
)
def test_bounds(dim, low, high):
    assert (low, high) == (lower_bound(dim), upper_bound(dim))


def test_extremes_and_divisions_that_a_range_decides():
    assert dim_min(SEQ, 512) == SEQ
    assert dim_max(SEQ, 1) == SEQ
    assert 512 == dim_max(SEQ, 512)
    assert dim_min(SEQ, 511) != SEQ
    assert 0 == SEQ // 513
    assert SEQ % 513 == SEQ
    assert SEQ // 512 != 0


# -- models -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "stays"), [("Min(s, most)", False), ("Min(s, less)", True), ("Max(s, one)", False), ("Max(s, two)", True)]
)
def test_extremes_of_sizes(bound, stays):
    proto = sized(f"h = Shape(x) s = Gather(h, axis) k = {bound} y = Slice(x, zero, k, axis)")
    before, after, _ = optimized(proto, seq="1..512")
    op = bound[:3]
    assert op in before
    assert (op in after) == stays
    if not stays:
        assert not after or after == ["Identity"]


def test_clip_of_a_size():
    body = "h = Shape(x) s = Gather(h, axis) k = Clip(s, low, high) y = Slice(x, zero, k, axis)"
    proto = sized(body, low=np.array(1), high=np.array(512))
    before, after, _ = optimized(proto, seq="1..512")
    assert "Clip" in before
    assert after in ([], ["Identity"])
    _, tight, _ = optimized(proto, seq="1..513")
    assert "Clip" in tight


@pytest.mark.parametrize(("dims", "stays"), [("1..512", False), ("1..513", True), ("..512", False), ("5..", True)])
def test_slices_that_take_all(dims, stays):
    proto = sized("a = Slice(x, zero, most, axis) y = Neg(a)")
    before, after, _ = optimized(proto, seq=dims)
    assert ["Slice", "Neg"] == before
    assert (["Slice", "Neg"] if stays else ["Neg"]) == after


def test_a_choice_that_a_size_decides():
    body = "h = Shape(x) s = Gather(h, axis) c = Greater(s, kilo) a = Exp(x) b = Abs(x) y = Where(c, a, b)"
    proto = sized(body)
    before, after, _ = optimized(proto, seq="1..512")
    assert "Where" in before
    assert ["Abs"] == after
    _, other, _ = optimized(proto, seq="1025..2000")
    assert ["Exp"] == other


def test_division_and_remainder():
    body = "h = Shape(x) s = Gather(h, axis) d = Mod(s, kilo) y = Slice(x, zero, d, axis)"
    before, after, _ = optimized(sized(body), seq="1..512")
    assert "Mod" in before
    assert after in ([], ["Identity"])


@pytest.mark.parametrize(("dims", "stays"), [({"n": "1..8"}, False), ({"n": "0..8"}, True)])
def test_minus_one_beside_a_batch_that_is_not_empty(dims, stays):
    """ONNX has no answer for [0, -1] of an empty batch, so only a range from 1 on allows it."""
    body = "h = Shape(x) n = Gather(h, zero) s = Gather(h, one) m = Mul(s, three) t = Concat<axis = 0>(n, m) a = Reshape(x, t) y = Neg(a)"
    proto = sized(body, "n,seq,3", "float[?,?] y")
    before, after, ranged = optimized(proto, **dims)
    assert "Concat" in before
    assert ("Concat" in after) == stays
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(2, 4, 3)}
    assert_same_bits(run(proto, feeds), run(graphopt.serde.emit_model(ranged.model), feeds))


def test_cells_of_a_dynamic_batch():
    proto = unrolled(Unrolled(batch="n", steps=3))
    before, after, _ = optimized(proto, "O2", n="1..64")
    assert "LSTM" not in before
    assert "LSTM" in after


def test_an_axis_without_a_name():
    proto = sized("a = Slice(x, zero, most, axis) y = Neg(a)", "n,?")
    before, after, ranged = optimized(proto, **{"x.1": "1..512"})
    assert ["Slice", "Neg"] == before
    assert ["Neg"] == after
    (info,) = graphopt.serde.emit_model(ranged.model).graph.input
    assert ["n", ""] == [dim.dim_param for dim in info.type.tensor_type.shape.dim]


def test_names_stay_in_the_file():
    proto = sized("a = Slice(x, zero, most, axis) y = Neg(a)")
    _, _, ranged = optimized(proto, seq="1..512")
    after = graphopt.serde.emit_model(ranged.model).graph
    assert ["n", "seq"] == [dim.dim_param for dim in after.input[0].type.tensor_type.shape.dim]
