"""What tests of fusions into ONNX Runtime's domain share: the harness's assertions, for that target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from graphopt.passes import Pass
from graphopt.target import Target
from tests.transforms.harness import Outcome, assert_close, feeds_for, run, transform

__all__ = ["ORT", "near", "untouched"]

ORT = Target("onnxruntime", domains=frozenset({"com.microsoft"}))


def near(
    proto: ModelProto,
    step: Pass,
    ops: list[str],
    applied: Mapping[str, int],
    *,
    sizes: Mapping[str, int] | None = None,
    rtol: float = 1e-5,
) -> Outcome:
    """The pass leaves exactly these operators, by these rewrites; outputs on normal numbers agree."""
    outcome = transform(proto, step, target=ORT)
    assert (ops, dict(applied)) == (outcome.ops, outcome.applied)
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in feeds_for(proto, sizes).items()}
    assert_close(run(proto, feeds), run(outcome.after, feeds), rtol)
    return outcome


def untouched(proto: ModelProto, step: Pass) -> None:
    """The pass finds nothing to do."""
    outcome = transform(proto, step, target=ORT)
    assert ({}, [node.op_type for node in proto.graph.node]) == (
        outcome.applied,
        [op.rpartition("::")[2] for op in outcome.ops],
    )
