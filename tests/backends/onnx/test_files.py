"""Model files are written whole or not at all, with external data where it is wanted, and without holding the weights."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.backends.onnx import save
from graphopt.backends.onnx.atomic import new_files
from graphopt.errors import ModelError, OutputError
from graphopt.frontends.onnx import lift
from graphopt.ir import Array, Constant, DType, Model
from graphopt.serde import lift_model
from tests.serde.file_models import nested_model, rich_model, simple_model


def weights_model(*sizes: int) -> onnx.ModelProto:
    """A model with float weights of these sizes."""
    weights = [numpy_helper.from_array(np.arange(size, dtype=np.float32), f"w{size}") for size in sizes]
    return simple_model([helper.make_node("Identity", ["x"], ["y"], name="n")], weights)


def arrays(model: Model) -> dict[str, Array]:
    return {value.name: value.const.numpy() for value in model.graph.initializers() if value.const is not None}


def saved(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    "proto", [weights_model(), weights_model(10, 5000, 100_000), rich_model()], ids=["none", "large", "rich"]
)
@pytest.mark.parametrize("source", ["file", "proto"])
def test_what_was_read_is_written_byte_for_byte(tmp_path: Path, proto: onnx.ModelProto, source: str):
    content = proto.SerializeToString()
    model = lift(saved(tmp_path / "in.onnx", proto)) if source == "file" else lift_model(proto)
    assert save(model, tmp_path / "out.onnx") == [tmp_path / "out.onnx"]
    assert (tmp_path / "out.onnx").read_bytes() == content


def test_a_deeply_nested_model_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("WARNING"):
        save(lift_model(nested_model(200)), tmp_path / "deep.onnx")
    assert ["the model nests 200 subgraphs inside each other"] == [text.split(",")[0] for text in caplog.messages]
    assert (tmp_path / "deep.onnx").read_bytes() == nested_model(200).SerializeToString()


@pytest.mark.parametrize("external", [True, None, False])
def test_external_data_where_it_is_wanted(tmp_path: Path, external: bool | None):
    proto = weights_model(10, 300, 5000, 100_000)
    files = save(lift_model(proto), tmp_path / "m.onnx", external_data=external)
    if external:
        assert files == [tmp_path / "m.onnx", tmp_path / "m.onnx.data"]
        light = onnx.load(tmp_path / "m.onnx", load_external_data=False)
        inside = [t.name for t in light.graph.initializer if t.data_location != TensorProto.EXTERNAL]
        assert inside == ["w10"]  # less than 1 KiB
        entries = [{e.key: e.value for e in t.external_data} for t in light.graph.initializer[1:]]
        assert [(e["location"], int(e["offset"]), int(e["length"])) for e in entries] == [
            ("m.onnx.data", 0, 1200),
            ("m.onnx.data", 1216, 20_000),
            ("m.onnx.data", 24_576, 400_000),
        ]
    else:
        assert files == [tmp_path / "m.onnx"]
    for array, tensor in zip(arrays(lift(files[0])).values(), proto.graph.initializer, strict=True):
        np.testing.assert_array_equal(array, numpy_helper.to_array(tensor))
    onnx.checker.check_model(str(files[0]))


def test_above_the_limit_weights_are_external_by_themselves(tmp_path: Path):
    model = lift_model(weights_model(100_000))
    assert len(save(model, tmp_path / "a.onnx", limit=500_000)) == 1
    assert len(save(model, tmp_path / "b.onnx", limit=300_000)) == 2
    with pytest.raises(OutputError, match=r"would have \d+ bytes, one file may have 300000; allow external data"):
        save(model, tmp_path / "c.onnx", limit=300_000, external_data=False)
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx", "b.onnx.data"]


def test_a_model_with_external_data_can_be_joined_moved_and_written_over_itself(tmp_path: Path):
    proto = weights_model(10, 300, 100_000)
    expected = arrays(lift_model(proto))
    path = tmp_path / "m.onnx"
    save(lift_model(proto), path, external_data=True)
    (tmp_path / "other").mkdir()
    save(lift(path), tmp_path / "other" / "moved.onnx", external_data=True)
    save(lift(path), tmp_path / "joined.onnx")
    over = lift(path)
    save(over, path, external_data=True, force=True)
    save(over, path, external_data=True, force=True)
    for found in (path, tmp_path / "joined.onnx", tmp_path / "other" / "moved.onnx"):
        np.testing.assert_equal(arrays(lift(found)), expected)
    np.testing.assert_equal(arrays(over), expected)
    assert (tmp_path / "joined.onnx").read_bytes() == proto.SerializeToString()


def test_a_model_is_written_over_itself(tmp_path: Path):
    proto = weights_model(100_000)
    path = saved(tmp_path / "m.onnx", proto)
    model = lift(path)
    model.graph.initializers()[0].name = "renamed"
    save(model, path, force=True)
    save(model, path, force=True)
    assert list(arrays(lift(path))) == ["renamed"]
    np.testing.assert_array_equal(arrays(lift(path))["renamed"], np.arange(100_000))


def test_new_constants_of_every_kind_are_written(tmp_path: Path):
    model = lift_model(weights_model())
    added: dict[str, Array] = {
        "array": np.arange(50_000, dtype=np.int16),
        "strided": np.arange(60_000, dtype=np.float64)[::2],
        "packed": np.arange(40_000).astype(DType.INT4.numpy),
        "text": np.array(["a", "é"], object),
        "empty": np.zeros((0, 3), np.float32),
    }
    for name, array in added.items():
        model.graph.add_constant(array, name)
    for external in (False, True):
        files = save(model, tmp_path / f"{external}.onnx", external_data=external)
        np.testing.assert_equal(arrays(lift(files[0])), added)


# -- all or nothing ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_needs_force(tmp_path: Path):
    path = saved(tmp_path / "m.onnx", weights_model())
    with pytest.raises(OutputError, match=r"m\.onnx' exists already; choose another path, or allow it to be replaced"):
        save(lift_model(rich_model()), path)
    (tmp_path / "n.onnx.data").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"n\.onnx\.data' exists already"):
        save(lift_model(weights_model(5000)), tmp_path / "n.onnx", external_data=True)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "n.onnx.data"]
    assert path.read_bytes() == weights_model().SerializeToString()


def test_places_where_nothing_can_be_written(tmp_path: Path):
    model = lift_model(weights_model())
    for place, message in (
        (tmp_path, "is a folder, expected the path of a file"),
        (tmp_path / "no" / "m.onnx", "the folder .* does not exist; create it"),
        (Path("/dev/null"), "is no regular file"),
        (Path("/proc/m.onnx"), "cannot be written: .*; choose another path"),
    ):
        with pytest.raises(OutputError, match=message):
            save(model, place, force=True)


def test_links_are_followed_and_stay(tmp_path: Path):
    (tmp_path / "real").mkdir()
    saved(tmp_path / "real" / "m.onnx", weights_model())
    (tmp_path / "link.onnx").symlink_to("real/m.onnx")
    save(lift_model(rich_model()), tmp_path / "link.onnx", force=True)
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real" / "m.onnx").read_bytes() == rich_model().SerializeToString()


def test_new_files_have_the_permissions_of_the_user_s_mask(tmp_path: Path):
    old = os.umask(0o027)
    try:
        save(lift_model(weights_model()), tmp_path / "m.onnx")
    finally:
        os.umask(old)
    assert (tmp_path / "m.onnx").stat().st_mode & 0o777 == 0o640


class _Failing:
    """Data that breaks off after its first piece."""

    dtype = DType.FLOAT
    shape = (100_000,)

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def numpy(self) -> Array:
        raise self._error

    def chunks(self) -> Iterator[bytes]:
        yield bytes(1000)
        raise self._error


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("the source is gone")], ids=["interrupt", "source"])
def test_whatever_stops_the_writing_leaves_what_was_there(tmp_path: Path, error: BaseException, external: bool):
    path = tmp_path / "m.onnx"
    save(lift_model(weights_model(5000)), path, external_data=external)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    model = lift_model(weights_model())
    model.graph.add_constant(Constant(_Failing(error)), "w")
    with pytest.raises(type(error)):
        save(model, path, external_data=external, force=True)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


@pytest.mark.parametrize("external", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, external: bool):
    path = tmp_path / "m.onnx"
    save(lift_model(weights_model(10)), path, external_data=external)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            OutputError, match=r"m\.onnx' cannot be written: File too large; choose another path or make room"
        ):
            save(lift_model(weights_model(100_000)), path, external_data=external, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_the_first_of_two_files_is_put_back_when_the_second_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == second:
            raise OSError(5, "broken")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="second' cannot be written: broken"), new_files([first, second]):
        pass  # the files are put in place at the end of the block
    assert first.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["first"]


# -- memory ------------------------------------------------------------------------------------------------------------------

_MEASURE = """
import re, sys
from pathlib import Path
from graphopt.frontends.onnx import lift
from graphopt.backends.onnx import save

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

before = peak()
model = lift(sys.argv[1])
lifted = peak() - before
files = save(model, sys.argv[2])
print(lifted, peak() - before, len(files))
"""


def peaks(source: Path, target: Path) -> tuple[int, int, int]:
    """Peak memory in MiB above the imports after lifting and after saving, and the number of files written."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(source), str(target)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lifted, written, files = map(int, done.stdout.split())
    return lifted, written, files


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_a_200_mb_file_is_read_and_written_in_a_few_mib(tmp_path: Path):
    array = np.ones((1024, 1024, 4), np.float32)
    weights = [numpy_helper.from_array(array, f"w{index}") for index in range(13)]
    source = saved(tmp_path / "m.onnx", simple_model([helper.make_node("Identity", ["x"], ["y"])], weights))
    lifted, written, files = peaks(source, tmp_path / "out.onnx")
    assert files == 1
    assert lifted < 30
    assert written < 40
    assert (tmp_path / "out.onnx").stat().st_size == source.stat().st_size > 200 << 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_a_3_gb_model_is_read_and_written_in_a_few_mib(tmp_path: Path):
    """The data file has holes where it is read; what is written has not."""
    size = 128 << 20
    weights = []
    for index in range(24):
        tensor = TensorProto(name=f"w{index}", dims=[size // 4], data_type=1, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "m.data"), ("offset", index * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    with (tmp_path / "m.data").open("wb") as file:
        file.truncate(24 * size)
    source = saved(tmp_path / "m.onnx", simple_model([helper.make_node("Identity", ["x"], ["y"])], weights))
    try:
        lifted, written, files = peaks(source, tmp_path / "out.onnx")
        assert files == 2
        assert (tmp_path / "out.onnx.data").stat().st_size == 3 << 30
    finally:
        for path in tmp_path.glob("*.data"):
            path.unlink()
    assert lifted < 30
    assert written < 40
