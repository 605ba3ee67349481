"""Data of each kind becomes the batches that a model takes; what does not fit is one clear line."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt.compiler.calibration.data import input_specs, open_data
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError
from graphopt.ir import DType, GraphBuilder, TensorType
from graphopt.runtime.base import ValueSpec


def spec(name="x", shape=(None, 3), dtype=DType.FLOAT):
    return ValueSpec(name, TensorType(dtype, shape))


X = spec()
FIXED = spec(shape=(2, 3))
WAVE = spec("wave", (None,))
STATE = spec("state", (4, 3))
RATE = spec("rate", (), DType.INT64)
ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)


def shapes(data, inputs, **how):
    return [
        {name: np.shape(np.asarray(array)) for name, array in batch.items()} for batch in open_data(data, inputs, **how)
    ]


def values(data, inputs, name="x", **how):
    return np.concatenate([batch[name] for batch in open_data(data, inputs, **how)])


def in_every_form(folder, arrays):
    """The same arrays in memory and in files, compressed too."""
    yield arrays
    np.savez(folder / "plain.npz", **arrays)
    yield folder / "plain.npz"
    np.savez_compressed(folder / "small.npz", **arrays)
    yield str(folder / "small.npz")
    if len(arrays) == 1:
        (array,) = arrays.values()
        yield array
        np.save(folder / "one.npy", array)
        yield folder / "one.npy"
        np.save(folder / "fortran.npy", np.asfortranarray(array))
        yield folder / "fortran.npy"


@pytest.mark.parametrize(
    ("how", "sizes"),
    [
        ({}, [8, 2]),
        ({"batch": 4}, [4, 4, 2]),
        ({"batch": 20}, [10]),
        ({"batch": 4, "limit": 6}, [4, 2]),
        ({"limit": 1}, [1]),
    ],
)
def test_arrays_are_cut_along_their_first_axis(tmp_path, how, sizes):
    for data in in_every_form(tmp_path, {"x": ROWS}):
        assert [{"x": (size, 3)} for size in sizes] == shapes(data, [X], **how)
        np.testing.assert_array_equal(ROWS[: sum(sizes)], values(data, [X], **how))


def test_data_can_be_read_again(tmp_path):
    for data in in_every_form(tmp_path, {"x": ROWS}):
        opened = open_data(data, [X], batch=3)
        for _ in range(2):
            np.testing.assert_array_equal(ROWS, np.concatenate([batch["x"] for batch in opened]))


def test_a_fixed_batch_is_kept():
    assert [{"x": (2, 3)}] * 5 == shapes({"x": ROWS}, [FIXED])
    assert [{"x": (2, 3)}] == shapes({"x": ROWS[:2]}, [FIXED])
    with pytest.raises(
        CalibrationError, match="input 'x' has 9 examples, and the model takes 2 at a time; leave out 1"
    ):
        shapes({"x": ROWS[:9]}, [FIXED])
    with pytest.raises(CalibrationError, match="a batch of 5 is asked for, and input 'x' takes 2 at a time"):
        shapes({"x": ROWS}, [FIXED], batch=5)


def test_one_axis_more_is_a_stack_of_batches():
    assert [{"x": (5, 3)}] * 4 == shapes({"x": np.zeros((4, 5, 3), np.float32)}, [X])
    assert [{"x": (2, 3)}] * 4 == shapes({"x": np.zeros((4, 2, 3), np.float32)}, [FIXED])


def test_one_axis_less_is_an_example(tmp_path):
    assert [{"x": (1, 3)}] == shapes({"x": ROWS[0]}, [X])
    for number, row in enumerate(ROWS):
        np.save(tmp_path / f"{number:02}.npy", row)
    assert [{"x": (4, 3)}, {"x": (4, 3)}, {"x": (2, 3)}] == shapes(tmp_path, [X], batch=4)
    assert [{"x": (2, 3)}] * 5 == shapes(tmp_path, [FIXED])
    np.testing.assert_array_equal(ROWS, values(tmp_path, [X], batch=4))


def test_examples_of_other_sizes_are_not_put_together(tmp_path):
    for number, size in enumerate((3, 3, 5)):
        np.save(tmp_path / f"{number}.npy", np.zeros(size, np.float32))
    assert [{"x": (2, 3)}, {"x": (1, 5)}] == shapes(tmp_path, [spec(shape=(None, None))])


def test_what_does_not_belong_to_examples_is_given_each_time():
    """States of fixed size, numbers without axes."""
    data = {"x": ROWS, "state": np.ones((4, 3), np.float32), "rate": np.array(16_000)}
    found = shapes(data, [X, STATE, RATE], batch=5)
    assert [{"x": (5, 3), "state": (4, 3), "rate": ()}] * 2 == found


def test_a_signal_is_not_cut_into_numbers():
    """An array with one axis may be a sound; beside others with as many examples it is a number for each."""
    assert [{"wave": (100,)}] == shapes({"wave": np.zeros(100, np.float32)}, [WAVE])
    assert [{"wave": (25,)}] * 4 == shapes({"wave": np.zeros(100, np.float32)}, [WAVE], batch=25)
    assert [{"x": (8, 3), "wave": (8,)}, {"x": (2, 3), "wave": (2,)}] == shapes(
        {"x": ROWS, "wave": np.zeros(10, np.float32)}, [X, WAVE]
    )


def test_a_folder_is_read_in_order(tmp_path):
    for number, part in enumerate(np.split(ROWS, [7])):
        np.savez(tmp_path / f"{number}.npz", x=part)
    (tmp_path / "notes.txt").write_text("no data", encoding="utf-8")
    assert [{"x": (4, 3)}, {"x": (3, 3)}, {"x": (3, 3)}] == shapes(tmp_path, [X], batch=4)
    np.testing.assert_array_equal(ROWS, values(tmp_path, [X], batch=4))


def test_functions_are_called_each_time(tmp_path, monkeypatch):
    (tmp_path / "own_reader.py").write_text(
        "import numpy as np\ndef read():\n    for size in (1, 2):\n        yield {'x': np.ones((size, 3), np.float32)}\n"
        "def bare():\n    return [np.ones((2, 3), np.float32)]\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    opened = open_data("own_reader:read", [X])
    for _ in range(2):
        assert [1, 2] == [len(np.asarray(batch["x"])) for batch in opened]
    assert [{"x": (2, 3)}] == shapes("own_reader:bare", [X])
    assert [{"x": (1, 3)}] == shapes(lambda: [{"x": ROWS[:1]}], [X])
    assert str(tmp_path) not in sys.path


def test_a_function_that_fails_later_is_one_line():
    def read():
        yield {"x": ROWS}
        raise KeyError("file")

    with pytest.raises(CalibrationError, match="data of 'read': it failed after 1 batches: KeyError: 'file'"):
        list(open_data(read, [X]))


def test_iterables_are_taken_as_they_are():
    listed = [{"x": ROWS[:1]}, {"x": ROWS[:7]}]
    assert [{"x": (1, 3)}, {"x": (7, 3)}] == shapes(listed, [X])
    assert [{"x": (1, 3)}, {"x": (2, 3)}] == shapes(listed, [X], limit=3)
    assert [{"x": (7, 3)}] == shapes([ROWS[:7]], [X])
    once = open_data(iter(listed), [X])
    assert 2 == len(list(once))
    with pytest.raises(
        CalibrationError, match="data can be read only once, and is needed again; bring a list, or a func"
    ):
        list(once)


def test_examples_at_the_start_are_left_out():
    """Whole batches and parts of them; batches without examples stay."""
    data = open_data([{"x": ROWS[:4]}, {"x": ROWS[:0]}, {"x": ROWS[4:]}], [X], limit=5)
    assert [(3, 3), (0, 0), (2, 2)] == [(len(np.asarray(batch["x"])), count) for batch, count in data.counted(skip=1)]
    assert [(0, 0), (5, 5)] == [(len(np.asarray(batch["x"])), count) for batch, count in data.counted(skip=4)]
    assert 5.0 * 3 == np.asarray(next(data.counted(skip=5))[0]["x"])[0, 0]


def test_files_are_read_piece_by_piece(tmp_path, monkeypatch):
    """No more than a batch is in memory."""
    np.savez_compressed(tmp_path / "big.npz", x=np.zeros((1000, 3), np.float32))
    sizes = []
    frombuffer = np.frombuffer

    def watched(raw, *args):
        sizes.append(len(raw))
        return frombuffer(raw, *args)

    monkeypatch.setattr(np, "frombuffer", watched)
    assert 1000 == len(values(tmp_path / "big.npz", [X], batch=10))
    assert {120} == set(sizes)


def test_inputs_with_defaults_need_no_array():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, ["n"])
    b.output(b.Add(x, b.input("shift", DType.FLOAT, [1], default=np.zeros(1, np.float32))), "y")
    assert ["x"] == [item.name for item in input_specs(b.build())]
    assert [{"x": (3,), "shift": (1,)}] == shapes(
        {"x": np.ones(3, np.float32), "shift": np.ones(1, np.float32)}, [WAVE, spec("x", (None,))][1:]
    )


class Whatever:
    """No data."""


@pytest.mark.parametrize(
    ("data", "inputs", "message"),
    [
        ([], [X], "there is no batch to calibrate with; bring at least one"),
        ({"x": ROWS[:0]}, [X], "data: input 'x' is empty; bring at least one example"),
        ({"y": ROWS, "z": ROWS}, [X], "data: input 'x' has no array; found 'y', 'z', name arrays as the inputs"),
        (
            {"x": ROWS, "state": ROWS[:9]},
            [X, spec("state")],
            "inputs have different numbers of batches: 'x' 10, 'state' 9",
        ),
        (ROWS, [X, STATE], "the data is one array, and the model has the inputs 'x', 'state'; give arrays by name"),
        (Whatever(), [X], "data is a Whatever, expected a path, arrays by name, a function, or batches"),
        ("none.npz", [X], "data 'none.npz' cannot be read: no such file or folder; check the path"),
        (
            "no_module:read",
            [X],
            "data 'no_module:read' is no file, and can't be imported as module:function: ModuleNotF",
        ),
        ("sys:path", [X], "expected a function that gives batches"),
        ("builtins:dict", [X], "data of 'builtins:dict': it gave a dict, expected an iterable of batches"),
        ("math:sqrt", [X], "data of 'math:sqrt': it failed after 0 batches: TypeError"),
    ],
)
def test_what_is_no_data_is_one_line(data, inputs, message):
    with pytest.raises(CalibrationError) as caught:
        list(open_data(data, inputs, batch=1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(folder: Path) -> list[tuple[Path, str]]:
    np.savez(folder / "whole.npz", x=ROWS)
    raw = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(raw[:-50])
    np.save(folder / "whole.npy", ROWS)
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:-4])
    np.save(folder / "objects.npy", np.array([None, {}], object), allow_pickle=True)
    np.savez(folder / "pickled.npz", x=np.array([{}], object))
    (folder / "text.npz").write_text("x: 1", encoding="utf-8")
    (folder / "empty.npz").write_bytes(b"")
    header = (folder / "whole.npy").read_bytes()[:128].replace(b"(10, 3), ", b"(10**9,) ")
    (folder / "bomb.npy").write_bytes(header.replace(b"10**9", b"99999"))
    with zipfile.ZipFile(folder / "nothing.npz", "w") as archive:
        archive.writestr("x.txt", "1")
    (folder / "bare").mkdir()
    return [
        (folder / "cut.npz", "cannot be read: File is not a zip file"),
        (folder / "cut.npy", "cannot be read: it ends in the middle"),
        (folder / "objects.npy", "it holds Python objects (a pickle), which are never loaded; store plain numbers"),
        (folder / "pickled.npz", "array 'x' of data"),
        (folder / "text.npz", "cannot be read: it is no array and no archive of arrays"),
        (folder / "empty.npz", "cannot be read: it is no array and no archive of arrays"),
        (folder / "bomb.npy", "cannot be read: "),
        (folder / "nothing.npz", "input 'x' has no array; found nothing"),
        (folder / "bare", "has no .npy or .npz file; put one for each batch or example there"),
    ]


def test_damaged_files_are_one_line(tmp_path):
    for path, message in damaged(tmp_path):
        with pytest.raises(CalibrationError) as caught:
            list(open_data(path, [X]))
        assert message in str(caught.value), path.name
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", [{"batch": 0}, {"limit": 0}])
def test_numbers_that_make_no_sense_are_refused(how):
    with pytest.raises(CalibrationError, match="is 0, expected 1 or more"):
        open_data({"x": ROWS}, [X], **how)


def test_batches_are_smaller_where_memory_is_short():
    """As many examples as fit, unless the caller or the model says how many; a signal stays whole."""
    images = digits_test()[0][:24]
    assert 3 == graphopt.calibrate(digits_model(), images).batches
    assert 24 == graphopt.calibrate(digits_model(), images, memory=1000).batches
    assert 6 == graphopt.calibrate(digits_model(), images, memory=1000, batch=4).batches
    b = GraphBuilder(opset=17)
    b.output(b.Relu(b.input("wave", DType.FLOAT, ["n"])), "y", DType.FLOAT)
    assert 1 == graphopt.calibrate(b.build(), np.ones(99, np.float32), memory=1).batches
    b = GraphBuilder(opset=17)
    b.output(b.Add(b.input("x", DType.FLOAT, ["n", 3]), b.input("state", DType.FLOAT, [1, 3])), "y", DType.FLOAT)
    assert 2 == graphopt.calibrate(b.build(), {"x": ROWS, "state": ROWS[:1]}).batches


def test_a_model_is_calibrated_from_any_of_them(tmp_path):
    images, _ = digits_test()
    expected = graphopt.calibrate(digits_model(), [{"image": images}]).ranges
    for data in in_every_form(tmp_path, {"image": images}):
        for batch in (None, 50):
            found = graphopt.calibrate(digits_model(), data, batch=batch)
            assert expected["image"] == found["image"]
            assert expected.keys() == found.ranges.keys()
            for name, item in expected.items():
                np.testing.assert_allclose(
                    [item.low, item.high], [found[name].low, found[name].high], rtol=1e-5, atol=1e-5
                )
