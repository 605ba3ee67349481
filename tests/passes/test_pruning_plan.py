"""A plan is the same after it was saved; what is no plan, or one that contradicts itself, is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.errors import OutputError, PruningError
from graphopt.passes import AxisPlan, PackedMask, PruningPlan
from graphopt.passes.packed_mask import mask_of_ranges, ranges_of_mask

LEFT = np.array([True, True, False, True])
PLAN = PruningPlan(
    "0f",
    (AxisPlan(("w", "u"), LEFT, {"w": (1,), "v": (0, 2)}),),
    {"v": PackedMask.of(np.array([[True, False, False]]))},
    "O2",
    "aa",
    ("prune-channels",),
    "0.1",
)


@given(hnp.arrays(np.bool_, st.integers(1, 60)).filter(np.any))
def test_ranges_say_what_the_mask_says(mask):
    np.testing.assert_array_equal(mask, mask_of_ranges(ranges_of_mask(mask), mask.size))


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)))
def test_bits_say_what_the_mask_says(mask):
    packed = PackedMask.of(mask)
    again = PackedMask.from_text(packed.shape, packed.zeros, packed.to_text())
    assert packed == again
    np.testing.assert_array_equal(mask, again.array())
    assert mask.size - mask.sum() == packed.zeros


def test_a_mask_is_smaller_than_its_bits():
    mask = np.tile(np.array([True, False, True, False]), 4096)
    assert len(PackedMask.of(mask).packed) < mask.size / 8 / 10


def test_a_saved_plan_is_the_same_again(tmp_path):
    found = PruningPlan.load(PLAN.save(tmp_path / "plan.json"))
    np.testing.assert_array_equal(LEFT, found.axes[0].kept)
    assert (PLAN.masks, PLAN.prepare, PLAN.source, PLAN.steps) == (
        found.masks,
        found.prepare,
        found.source,
        found.steps,
    )
    assert (PLAN.model, PLAN.version, PLAN.summary()) == (found.model, found.version, found.summary())
    assert found.save(tmp_path / "again.json").read_bytes() == (tmp_path / "plan.json").read_bytes()


def test_a_file_is_replaced_only_when_it_may(tmp_path):
    path = PLAN.save(tmp_path / "plan.json")
    with pytest.raises(OutputError, match="exists already"):
        PLAN.save(path)
    assert path == PLAN.save(path, force=True)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("patterns", "axes", "masks"),
    [(["x"], 1, 1), (["u"], 0, 0), (["v*"], 0, 0), (["w"], 0, 0)],
)
def test_groups_and_masks_are_left_out_by_name(patterns, axes, masks):
    """The mask of a weight goes with its axes: it is of the shape without them."""
    left = PLAN.without(patterns)
    assert (axes, masks) == (len(left.axes), len(left.masks))
    assert left.is_empty == (axes == masks == 0)


def test_a_plan_is_told_from_other_files(tmp_path):
    assert PruningPlan.is_in(PLAN.save(tmp_path / "plan.json"))
    (tmp_path / "other.json").write_text('{"axes": []}')
    assert not PruningPlan.is_in(tmp_path / "other.json")
    assert not PruningPlan.is_in(tmp_path)
    assert not PruningPlan.is_in(tmp_path / "none.json")


def stated(change):
    def write(path):
        document = json.loads(PLAN.save(path, force=True).read_text())
        change(document)
        path.write_text(json.dumps(document))

    return write


def axis(**more):
    return stated(lambda found: found["axes"][0].update(more))


@pytest.mark.parametrize(
    ("write", "line"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "is no regular file"),
        (lambda path: path.write_bytes(b"\x80\xff"), "is not understood"),
        (lambda path: path.write_text("{"), "is not understood"),
        (lambda path: path.write_text("[" * 100_000), "is not understood"),
        (lambda path: path.write_text('{"a": 1}'), "is not understood"),
        (stated(lambda found: found.update(format=2)), "has format 2, expected 1; update graphopt"),
        (stated(lambda found: found.update(more=1)), "unknown field `more`"),
        (stated(lambda found: found.pop("model")), "missing required field `model`"),
        (axis(kept=""), "group 'w, u': kept has '', expected indices .*; at least one is kept"),
        (axis(kept="0-9"), "kept has 0-9, expected ascending indices from 0 to 3"),
        (axis(kept="2,1"), "kept has 1, expected ascending indices from 3 to 3"),
        (axis(kept="1-0"), "kept has 1-0"),
        (axis(kept="a"), "kept has 'a'"),
        (axis(kept="\N{ARABIC-INDIC DIGIT ONE}"), "kept has"),
        (axis(size=0), "size is 0"),
        (axis(size=1 << 40), "size is 1099511627776, expected 1 to"),
        (axis(weights={}), "has no weight"),
        (axis(weights={"w": [-1]}), "an axis before the first"),
        (axis(weights={"w": [1, 1]}), "weight 'w' has axis 1 twice"),
        (stated(lambda found: found["masks"]["v"].update(kept="?")), "no base64"),
        (stated(lambda found: found["masks"]["v"].update(shape=[-1])), "expected sizes from 0 on"),
    ],
)
def test_what_is_no_plan_is_one_line(write, line, tmp_path):
    path = tmp_path / "plan.json"
    write(path)
    with pytest.raises(PruningError, match=line) as told:
        PruningPlan.load(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("shape", "zeros", "packed", "line"),
    [
        ((3,), 2, b"no", "its bits are damaged"),
        ((1 << 40,), 0, PackedMask.of(np.ones(1 << 20, np.bool_)).packed, "expected 137438953472 for shape"),
        ((3,), 0, PackedMask.of(np.ones(1 << 20, np.bool_)).packed, "it has 2 bytes of bits, expected 1"),
        ((8,), 0, PackedMask.of(np.zeros(8, np.bool_)).packed, "it says 0 zeros and has 8"),
    ],
)
def test_damaged_masks_are_told_when_they_are_read(shape, zeros, packed, line):
    with pytest.raises(ValueError, match=line):
        PackedMask(shape, zeros, packed).array()
