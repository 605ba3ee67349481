"""What a loop carries is known inside as far as the body gives it back; statements of the file add nothing."""

from __future__ import annotations

import pytest

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.serde import lift_model
from tests.regressions.held import parse


def shape_inside(start, stated, step):
    """The type of what a loop carries, in its body."""
    model = parse(
        f"""main ({start} x, int64 n) => (float[A,B] y) {{
            y = Loop(n, , x) <body = b (int64 i, bool c, {stated} v) => (bool d, {stated} w) {{ d = Identity(c) {step} }}>
        }}"""
    )
    ir = lift_model(model)
    OnnxTypes().infer_model(ir)
    return str(next(iter(ir.graph.nodes)).subgraphs[0].inputs[2].type)


@pytest.mark.parametrize(
    ("start", "stated", "step", "expected"),
    [
        ("float[2,3]", "float[2,3]", "w = Neg(v)", "float[2, 3]"),
        ("float[2,N]", "float[2,N]", "w = Neg(v)", "float[2, N]"),
        ("float[2,N]", "float[2,?]", "w = Neg(v)", "float[2, N]"),
        ("float[2,3]", "float[2,3]", "w = Concat<axis=0>(v, v)", "float[?, 3]"),
        ("float[N,3]", "float[2,3]", "w = Neg(v)", "float[N, 3]"),
        ("float[2,N]", "float[2,M]", "w = Neg(v)", "float[2, N]"),
    ],
)
def test_what_a_loop_carries(start, stated, step, expected):
    assert expected == shape_inside(start, stated, step)
