"""Sizes that engines are built for: as stated, in several profiles, as seen in data, as values of inputs; what lacks in one line."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from graphopt.backends.tensorrt.profiles import InputRange, Profile, parse_profile, parse_sizes, profiles_of
from graphopt.backends.tensorrt.ranges import ranges_of
from graphopt.compiler.engines.profile_data import profile_from_data, profile_from_feeds
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.ir import DType, TensorType
from graphopt.runtime.base import ValueSpec
from tests.backends.tensorrt.library import needs_library, network_of

HEAD = '<ir_version: 8, opset_import: ["": 17]> '
PAIR = HEAD + "pair (float[batch,seq,8] x, float[batch,4] y, float[2] z) => (float[batch,seq,8] a) { a = Relu(x) }"
RESHAPED = HEAD + "reshaped (float[n,12] x, int64[2] s) => (float[a,b] y) { y = Reshape(x, s) }"


def network(text):
    return network_of(onnx.parser.parse_model(text)).network


def resolved(text, *profiles):
    return [item.to_dict() for item in ranges_of(network(text), profiles)]


@needs_library
def test_a_named_dimension_is_one_size_in_all_inputs():
    found = resolved(PAIR, Profile(sizes={"batch": (1, 2, 4), "seq": (1, 16, 64)}))
    assert [{"shapes": {"x": [[1, 1, 8], [2, 16, 8], [4, 64, 8]], "y": [[1, 4], [2, 4], [4, 4]]}}] == found


@needs_library
def test_what_is_stated_again_is_a_further_profile_and_an_engine_has_both():
    stated = profiles_of([], [], [parse_sizes(item) for item in ("batch=1", "seq=1,16,64", "batch=2:8:16")])
    built = network_of(onnx.parser.parse_model(PAIR))
    made = build_with_layers(built, EngineOptions(profiles=stated))
    assert [[1, 2], [1, 8], [1, 16]] == [[ranges.shapes["x"].least[0] for ranges in made.ranges], *_tops(made.ranges)]


def _tops(ranges):
    return [[item.shapes["x"].usual[0] for item in ranges], [item.shapes["x"].most[0] for item in ranges]]


@needs_library
def test_an_input_that_holds_a_shape_has_ranges_of_values():
    values = profiles_of([parse_profile("x:1x12,2x12,4x12")], [parse_profile("s:-1x6,-1x6,-1x6")], [])
    made = build_with_layers(network_of(onnx.parser.parse_model(RESHAPED)), EngineOptions(profiles=values))
    assert {"s": [[-1, 6]] * 3} == made.ranges[0].to_dict()["values"]


@needs_library
@pytest.mark.parametrize(
    ("text", "profile", "reason"),
    [
        (
            PAIR,
            Profile(),
            "inputs 'x' (batch, seq), 'y' (batch) have sizes that are not fixed; state them: --dim batch=MIN,USUAL,MAX --dim seq=",
        ),
        (
            PAIR,
            Profile(sizes={"batch": (1, 1, 1)}),
            "input 'x' (seq) has sizes that are not fixed; state them: --dim seq=",
        ),
        (
            PAIR,
            Profile(sizes={"bach": (1, 1, 1)}),
            "the model has no dimension 'bach' to state sizes of; it has: batch, seq",
        ),
        (PAIR, Profile(sizes={"batch": (4, 2, 1), "seq": (1, 1, 1)}), "are not in order"),
        (PAIR, Profile({"w": InputRange((1,), (1,), (1,))}), "the model has no input 'w'; it takes: x, y, z"),
        (
            PAIR,
            Profile({"z": InputRange((3,), (3,), (3,))}),
            "input 'z' has the shape 2, which 3 of the profile does not fit",
        ),
        (
            PAIR,
            Profile({"y": InputRange((1,), (1,), (1,))}),
            "input 'y' has the shape ?x4, which 1 of the profile does not fit",
        ),
        (PAIR, Profile({"y": InputRange((-1, 4), (1, 4), (1, 4))}), "the profile of input 'y' has a negative size"),
        (PAIR, Profile(values={"z": InputRange((3, 3), (3, 3), (3, 3))}), "the values of input 'z' decide no shape"),
        (
            RESHAPED,
            Profile(sizes={"n": (1, 2, 3)}),
            "input 's' is what shapes are computed from; state values: --values s:MIN,USUAL,MAX",
        ),
        (
            HEAD + "g (float[?,3] x) => (float[a,3] y) { y = Relu(x) }",
            Profile(),
            "input 'x' (axis 0) has sizes that are not fixed; state them: --profile x:MIN,USUAL,MAX",
        ),
        (
            HEAD + "g (float[3] x) => (float[3] y) { y = Relu(x) }",
            Profile(sizes={"n": (1, 1, 1)}),
            "all of its sizes are fixed",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(text, profile, reason):
    with pytest.raises(ExecutionError) as caught:
        ranges_of(network(text), [profile])
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_library
def test_a_network_with_fixed_sizes_needs_no_profile():
    assert [] == resolved(HEAD + "g (float[3] x) => (float[3] y) { y = Relu(x) }")


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 99)), min_size=1, max_size=9))
def test_data_gives_smallest_median_and_largest_of_each_axis(shapes):
    made = profile_from_feeds([{"x": np.zeros(shape, np.int8)} for shape in shapes]).shapes["x"]
    for axis in range(2):
        sizes = sorted(shape[axis] for shape in shapes)
        assert (sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1]) == (
            made.least[axis],
            made.usual[axis],
            made.most[axis],
        )


@needs_library
def test_data_of_files_gives_sizes_and_values_and_stated_dimensions_go_before(tmp_path):
    for place, rows in enumerate((1, 3, 7)):
        np.savez(tmp_path / f"{place}.npz", x=np.zeros((rows, 12), np.float32), s=np.array([rows * 2, 6], np.int64))
    specs = [
        ValueSpec("x", TensorType(DType.FLOAT, (None, 12))),
        ValueSpec("s", TensorType(DType.INT64, (2,))),
    ]
    seen = profile_from_data(tmp_path, specs)
    assert resolved(RESHAPED, seen) == [
        {"shapes": {"x": [[1, 12], [3, 12], [7, 12]]}, "values": {"s": [[2, 6], [6, 6], [14, 6]]}}
    ]
    stated = resolved(RESHAPED, seen.with_sizes({"n": (1, 2, 90)}))
    assert [[1, 12], [2, 12], [90, 12]] == stated[0]["shapes"]["x"]
    # numbers of an input that no shape is computed from do not matter
    assert resolved(
        PAIR, profile_from_feeds([{"z": np.array([1, 2], np.int64), "x": np.zeros((1, 2, 8)), "y": np.zeros((1, 4))}])
    )


def test_a_folder_without_data_and_a_file_that_is_none(tmp_path):
    with pytest.raises(CalibrationError, match=r"has no \.npz file to see sizes in"):
        profile_from_data(tmp_path, [])
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(ExecutionError, match="cannot be read"):
        profile_from_data(tmp_path / "x.npz", [])


@pytest.mark.parametrize(
    "text", ["batch", "batch=", "=1,2,3", "batch=1,2", "batch=1,2:3", "batch=-1,2,3", "batch=1,2,3,4"]
)
def test_dimensions_that_make_no_sense(text):
    with pytest.raises(ExecutionError, match=r"is not understood; expected NAME=MIN,USUAL,MAX"):
        parse_sizes(text)
