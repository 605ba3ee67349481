"""Fusions inside subgraphs and function bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from graphopt.ir import Graph
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.constants import ConstantsToInitializers
from graphopt.transforms.fusion import FuseConvAffine, FuseConvBatchNorm, FuseMatmulAdd
from tests.transforms.harness import assert_close, model, run, transform

W = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
FEEDS = {"x": np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)}


def test_a_branch_folds_constants_of_the_graph_around_it():
    then = "then_branch = t () => (float[2,3] p) { a = Gemm(x, w) p = Mul(a, s) }"
    body = f"y = If (c) <{then}, else_branch = e () => (float[2,3] q) {{ q = Exp(x) }}>"
    proto = model(body, "float[2,3] x, bool c", "float[2,3] y", initializers={"w": W, "s": np.array(2, np.float32)})
    outcome = transform(proto, FuseConvAffine())
    assert {"fold-multiplication": 1} == outcome.applied
    for condition in (True, False):
        feeds = FEEDS | {"c": np.array(condition)}
        assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-6)


def test_a_product_outside_is_not_moved_into_the_branch_that_reads_it():
    then = "then_branch = t () => (float[2,3] p) { p = Add(a, v) }"
    body = f"a = MatMul(x, w) y = If (c) <{then}, else_branch = e () => (float[2,3] q) {{ q = Exp(x) }}>"
    proto = model(body, "float[2,3] x, bool c, float[3] v", "float[2,3] y", initializers={"w": W})
    assert {} == transform(proto, FuseMatmulAdd()).applied


def test_types_that_a_function_states_are_not_believed():
    """It may be called with values of any shape: fusion waits until the call is inlined."""
    functions = (
        '<domain: "local", opset_import: ["" : 21]> f (u, w) => (v) <float[2,3] u, float[3,3] w, float[2,3] a, float[3] k> '
        "{ k = Constant <value_floats = [1.0, 2.0, 3.0]> () a = MatMul(u, w) v = Add(a, k) }"
    )
    proto = model("y = local.f(x, w)", functions=functions, imports=', "local" : 1', initializers={"w": W})
    outcome = transform(proto, FuseMatmulAdd())
    assert {} == outcome.applied
    assert_close(run(proto, FEEDS), run(outcome.after, FEEDS), 1e-6)


@dataclass(frozen=True)
class WithConstants(Pass):
    """A pass after the one that makes constants of Constant nodes, which function bodies have instead of initializers."""

    name: ClassVar[str] = "with-constants"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Both; the counts are those of the second."""
        ConstantsToInitializers().run(graph, ctx)
        return FuseConvBatchNorm().run(graph, ctx)


@pytest.mark.parametrize(
    ("mode", "applied"), [("training_mode = 0", {"fold-batch-norm": 1}), ("training_mode: int = @t", {})]
)
def test_a_training_mode_of_the_function_is_not_guessed(mode, applied):
    functions = (
        '<domain: "local", opset_import: ["" : 21]> f <t> (u) => (v) '
        "{ w = Constant <value = float[3,2] {1, 2, 3, 4, 5, 6}> () s = Constant <value_floats = [1.0, 2.0]> () "
        f"a = Gemm(u, w) v = BatchNormalization <{mode}> (a, s, s, s, s) }}"
    )
    proto = model("y = local.f<t=0>(x)", outputs="float[2,2] y", functions=functions, imports=', "local" : 1')
    outcome = transform(proto, WithConstants())
    assert applied == outcome.applied
    assert_close(run(proto, FEEDS), run(outcome.after, FEEDS), 1e-6)
