"""Moves between blocks of pixels and channels that are spelled out keep every number, and are recognized again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.target import Target
from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.decompose import DecomposeBlocks
from tests.transforms.harness import PROPERTY, assert_same_bits, assert_untouched, feeds_for, model, run, transform

STEP = DecomposeBlocks()
RULE = {"spell-out-blocks": 1}


def moved(op, block, depth, height, width, *, mode="", batch="2", opset=17, dtype="float", size=None):
    channels = depth * block * block if op == "DepthToSpace" else depth
    if op == "SpaceToDepth":
        height, width = height * block, width * block
    shape = size or f"{batch},{channels},{height},{width}"
    stated = f"blocksize = {block}{f', mode = {chr(34)}{mode}{chr(34)}' if mode else ''}"
    return model(f"a = Identity(x) y = {op}<{stated}>(a)", f"{dtype}[{shape}] x", f"{dtype}[*] y", opset=opset)


@PROPERTY
@given(
    op=st.sampled_from(["DepthToSpace", "SpaceToDepth"]),
    block=st.integers(1, 3),
    depth=st.integers(1, 2),
    height=st.integers(1, 3),
    width=st.integers(1, 2),
    mode=st.sampled_from(["", "DCR", "CRD"]),
    batch=st.sampled_from(["1", "3", "n"]),
    opset=st.sampled_from([7, 11, 13, 17, 21]),
    count=st.integers(0, 3),
)
def test_numbers_stay(op, block, depth, height, width, mode, batch, opset, count):
    mode = mode if opset >= 11 and op == "DepthToSpace" else ""
    proto = moved(op, block, depth, height, width, mode=mode, batch=batch, opset=opset)
    found = transform(proto, STEP)
    assert RULE == found.applied
    assert ["Identity", "Reshape", "Transpose", "Reshape"] == found.ops
    feeds = feeds_for(proto, {"n": count})
    assert_same_bits(run(proto, feeds), run(found.after, feeds))


@pytest.mark.parametrize("op", ["DepthToSpace", "SpaceToDepth"])
@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (0, 2)])
@pytest.mark.parametrize("opset", [14, 21])
def test_sizes_that_are_not_numbers(op, sizes, opset):
    proto = moved(op, 2, 0, 0, 0, size="n,8,h,w", opset=opset)
    found = transform(proto, STEP)
    assert RULE == found.applied
    assert op not in found.ops
    feeds = feeds_for(proto, {"n": 2, "h": sizes[0], "w": sizes[1]})
    assert_same_bits(run(proto, feeds), run(found.after, feeds))


@pytest.mark.parametrize("op", ["DepthToSpace", "SpaceToDepth"])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_they_are_recognized_again(op, mode):
    proto = moved(op, 2, 2, 3, 1, mode=mode if op == "DepthToSpace" else "")
    again = transform(transform(proto, STEP).after, Canonicalize())
    assert [op] == again.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(again.after, feeds))


@pytest.mark.parametrize(
    "proto",
    [
        moved("DepthToSpace", 2, 0, 0, 0, size="1,n,2,2"),
        moved("SpaceToDepth", 2, 0, 0, 0, size="1,2,h,4", opset=13),
        moved("SpaceToDepth", 2, 0, 0, 0, size="1,2,0,4"),
    ],
    ids=["channels", "old opset", "empty"],
)
def test_what_is_not_known_stays(proto):
    assert_untouched(proto, STEP)


def test_only_what_the_target_lacks():
    proto, step = moved("DepthToSpace", 2, 1, 1, 1), DecomposeBlocks(lacking=True)
    assert not transform(proto, step, target=Target("any")).applied
    lacks = Target("lacks", unsupported=frozenset({"DepthToSpace"}))
    assert RULE == transform(proto, step, target=lacks).applied
    assert not transform(proto, DecomposeBlocks(ops=("SpaceToDepth",))).applied
