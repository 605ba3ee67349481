"""Engines on the GPU that is here; skipped, with what lacks, where nothing runs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import Session
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.compiler.engines.building import build
from graphopt.compiler.hybrid import build_hybrid
from graphopt.data import digits_model, digits_test
from graphopt.runtime import OrtRunner, RunOptions
from graphopt.runtime.tensorrt.runner import EngineRunner
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime
from tests.backends.tensorrt.library import close

LACKS = TensorRtRuntime().available()
pytestmark = pytest.mark.skipif(LACKS is not None, reason=f"no engine runs here: {LACKS}")
IMAGES = digits_test()[0]
OPTIONS = EngineOptions(sizes={"batch": (1, 8, 32)})


@pytest.mark.parametrize("graphs", [False, True])
def test_an_engine_gives_what_onnx_runtime_gives(tmp_path, graphs):
    path = tmp_path / "digits.engine"
    build(digits_model(), options=OPTIONS, check=False).save(path)
    with (
        TensorRtRuntime().open(path, RunOptions(optimize=graphs)) as runner,
        OrtRunner(digits_model()) as reference,
    ):
        for count in (8, 8, 8, 1, 32, 8):
            feeds = {"image": IMAGES[:count]}
            assert close(runner.run(feeds)["logits"], reference.run(feeds)["logits"])
        assert isinstance(runner, EngineRunner)
        assert 0 < runner.run_again()


def test_a_folder_of_parts_is_checked_where_it_runs(tmp_path):
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n,4,4] x) => (float[n,4,4] y)
    {
      d = Det (x)
      axes = Constant <value = int64[2] {1, 2}> ()
      wide = Unsqueeze (d, axes)
      a = MatMul (x, x)
      b = Sigmoid (a)
      y = Mul (b, wide)
    }"""
    model = onnx.parser.parse_model(text)
    built = build_hybrid(model, tmp_path / "parts", options=EngineOptions(sizes={"n": (1, 2, 8)}))
    assert built.verdict is not None
    assert ("ok", "hybrid") == (built.verdict.status, built.checked_in)
    x = {"x": np.random.default_rng(0).standard_normal((3, 4, 4), np.float32)}
    with Session(tmp_path / "parts") as session, Session(model, optimize=False) as reference:
        assert close(session.run(x)["y"], reference.run(x)["y"], rtol=1e-3)
