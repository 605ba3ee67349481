"""The reference evaluator behind the runner protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.runtime import Feeds, ReferenceRunner, Runner

HEAD = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'


def y_of(runner: Runner, feeds: Feeds) -> Any:
    return runner.run(feeds)["y"]


def test_path_bytes_and_message_give_the_same(tmp_path):
    proto = parse_model(HEAD + "g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }")
    onnx.save(proto, tmp_path / "m.onnx")
    for source in (tmp_path / "m.onnx", proto.SerializeToString(), proto):
        with ReferenceRunner(source) as runner:
            assert isinstance(runner, Runner)
            assert (["x"], ["w"], ["y"]) == tuple(
                [spec.name for spec in specs] for specs in (runner.inputs, runner.overridable, runner.outputs)
            )
            assert [6.0] == y_of(runner, {"x": np.array([3], np.float32)}).tolist()
            assert [3.0] == y_of(runner, {"x": np.array([3], np.float32), "w": np.ones(1, np.float32)}).tolist()


def test_kernels_of_plugins_run_with_attributes_and_absent_inputs():
    proto = parse_model(HEAD + "g (float[n] x) => (float[n] y, float[n] z) { y, z = acme.Scale<by=3.0>(x, ) }")

    def scale(x, bias=None, *, by):
        return x * np.float32(by), x + np.float32(0 if bias is None else 1)

    with ReferenceRunner(proto, kernels={"acme::Scale": scale}) as runner:
        assert {"y": [6.0], "z": [2.0]} == {
            name: np.asarray(value).tolist() for name, value in runner.run({"x": np.array([2], np.float32)}).items()
        }


def test_kernels_of_plugins_run_in_functions():
    proto = parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "f" : 1]> g (float[n] x) => (float[n] y) { y = f.twice(x) } '
        '<opset_import: ["" : 17, "acme" : 1], domain: "f"> twice (x) => (y) { a = acme.Double(x) y = Neg(a) }'
    )
    with ReferenceRunner(proto, kernels={"acme::Double": lambda x: x + x}) as runner:
        found = runner.run({"x": np.array([1, 2], np.float32)})["y"]
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [-2.0, -4.0]


def test_sequences_come_as_lists():
    proto = parse_model(HEAD + "g (float[n] x) => (seq(float[n]) y) { y = SequenceConstruct(x, x) }")
    with ReferenceRunner(proto) as runner:
        found = y_of(runner, {"x": np.array([2], np.float32)})
    assert [[2.0], [2.0]] == [item.tolist() for item in found]


def test_errors_are_one_line(tmp_path):
    with pytest.raises(ExecutionError, match="cannot read the model"):
        ReferenceRunner(b"garbage")
    with pytest.raises(ExecutionError, match="cannot read the model"):
        ReferenceRunner(tmp_path / "none.onnx")
    with pytest.raises(ExecutionError, match="does not take the model"):
        ReferenceRunner(parse_model(HEAD + "g (float[n] x) => (float[n] y) { y = acme.NoSuchOp(x) }"))
    runner = ReferenceRunner(parse_model(HEAD + "g (float[n] x, float[m] z) => (float[k] y) { y = Add(x, z) }"))
    with pytest.raises(ExecutionError, match="the reference evaluator failed: ") as caught:
        runner.run({"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)})
    assert 1 == len(str(caught.value).splitlines())
    runner.close()
    with pytest.raises(ExecutionError, match="is closed"):
        runner.run({"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)})
