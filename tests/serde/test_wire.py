"""Cutting large tensors out of a model file before parsing, and splicing them in while writing."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.ir.storage import BytesInMemory
from graphopt.serde.wire import SplicedTensor, WireError, cut_tensors, fields, splice_tensors, varint
from tests.serde.file_models import rich_model, simple_model

_SIZES = st.lists(st.sampled_from([0, 1, 100, 4095, 4096, 5000, 40_000]), max_size=5)


def model_with(sizes: list[int]) -> ModelProto:
    """A model with float tensors of these sizes, numbers one by one every third time."""
    weights = []
    for index, size in enumerate(sizes):
        array = np.arange(size, dtype=np.float32)
        if index % 3 == 2:
            weights.append(helper.make_tensor(f"w{index}", 1, [size], array.tolist()))
        else:
            weights.append(numpy_helper.from_array(array, f"w{index}"))
            weights[-1].doc_string = "after the data"
    return simple_model([helper.make_node("Identity", ["x"], ["y"])], weights)


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_are_written_as_protobuf_writes_them(number: int):
    proto = onnx.StringStringEntryProto(key="x")
    size = varint(number)
    message = b"\x0a\x01x" + b"\x18" + size  # an unknown field of kind varint
    found = list(fields(BytesInMemory(message), 0, len(message)))
    assert found == [(1, 0, 2, 3), (3, 3, 4, 4 + len(size))]
    assert proto.SerializeToString() == message[:3]


def _part(content: bytes, offset: int, length: int) -> list[bytes]:
    return [content[offset : offset + length // 2], content[offset + length // 2 : offset + length]]


@given(_SIZES)
def test_cut_then_spliced_is_the_same_file(sizes: list[int]):
    content = model_with(sizes).SerializeToString()
    cut = cut_tensors(BytesInMemory(content))
    large = [size for index, size in enumerate(sizes) if size >= 4096 and index % 3 != 2]
    assert (cut is None) == (not large)
    if cut is None:
        return
    assert len(cut.light) < len(content) - 4 * sum(large) + 64 * len(large)
    light = ModelProto.FromString(cut.light)
    assert [t.name for t in light.graph.initializer] == [f"w{i}" for i in range(len(sizes))]
    by_mark = {t.raw_data: t.SerializeToString() for t in light.graph.initializer if t.raw_data in cut.parts}
    tensors = {
        stand_in: SplicedTensor(by_mark[stand_in], length, partial(_part, content, offset, length))
        for stand_in, (offset, length) in cut.parts.items()
    }
    assert b"".join(splice_tensors(cut.light, tensors)) == content


def test_a_model_without_large_tensors_is_left_alone():
    assert cut_tensors(BytesInMemory(model_with([10]).SerializeToString())) is None


def test_what_stands_after_the_graph_is_kept():
    model = rich_model()
    content = model.SerializeToString()
    cut = cut_tensors(BytesInMemory(content))
    assert cut is not None  # it has one tensor of 160,000 bytes
    light = ModelProto.FromString(cut.light)
    light.graph.initializer[1].raw_data = model.graph.initializer[1].raw_data
    assert light == model


@given(st.integers(0, 20_000))
def test_a_file_that_ends_early_is_not_cut(end: int):
    content = model_with([5000]).SerializeToString()[:-1][:end]
    assert cut_tensors(BytesInMemory(content)) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error(content: bytes):
    try:
        found = list(fields(BytesInMemory(content), 0, len(content)))
    except WireError:
        return
    assert [begin for _, begin, _, _ in found] == [0, *[end for *_, end in found]][: len(found)]


def test_a_mark_that_is_not_there_is_an_error():
    light = model_with([1]).SerializeToString()
    stand_in = bytes(24)
    tensor = SplicedTensor(b"\x4a\x18" + stand_in, 10, lambda: [b""])
    with pytest.raises(WireError, match="not where it was written"):
        list(splice_tensors(light, {stand_in: tensor}))
