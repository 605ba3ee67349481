"""What one run of a pass makes constant tells sizes, and with these the same run goes on.

``check_pass`` found three passes' second runs that did more, though they declare to do all in one run: fold-constants, which knew how large
Tile makes something only when its repeats had been folded; the same after a value that a function gives out; and fold-shapes, which
inferred types anew without the numbers of Constant nodes.
"""

from __future__ import annotations

import onnx.parser
import pytest

from graphopt.testing import assert_equivalent, assert_idempotent
from tests.regressions.held import parse

TILED = """g () => (int64[?] y) <float[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[4] v = {1, 2, 3, 4}> {
  e = Einsum <equation = "...j,j->..."> (w, v)
  s = Shape (e)
  t = Tile (s, s)
  y = Neg (t)
}"""


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_one_run_folds_all(opset):
    model = parse(TILED, opset=opset)
    assert assert_equivalent("fold-constants", model).changed
    assert_idempotent("fold-constants", model)


GIVEN_OUT = """g (float[2] x) => (float[?, ?, ?] y, float[?, ?, ?] z) { y, z = local.f (x) }
<domain: "local", opset_import: ["": 9]>
f (x) => (t, e) {
  a = Constant <value = float[1, 2, 2] {1.875, 3.375, 0.375, 3.125}> ()
  w = Constant <value = float[1, 8, 2] {-2, -0.5, -1.5, 3.5, -2, -3, -3, 2, -1.75, -1, 0.5, 0.5, -2, 2.5, -1, 0.875}> ()
  i = Constant <value = float[1, 2, 2] {-1.375, 0.5, 0.25, 0.125}> ()
  b, c, e = LSTM <hidden_size = 2> (a, w, w, "", "", i)
  t = Hardmax (e)
}"""


def test_one_run_folds_what_reads_an_output_of_a_function():
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 9, "local": 1]> {GIVEN_OUT}')
    assert assert_equivalent("fold-constants", model).changed
    assert_idempotent("fold-constants", model)


SLICED = """g (float[2, 3, 2] x) => (int64[3] y) <int64[1] which = {-2}> {
  s = Shape (x)
  end = Gather <axis = 0> (s, which)
  start = Constant <value_ints = [0]> ()
  axes = Constant <value_ints = [-3]> ()
  part = Slice (x, start, end, axes)
  y = Shape (part)
}"""


def test_one_run_reads_the_numbers_of_constant_nodes():
    assert {"fold-known-integers": 3} == assert_equivalent("fold-shapes", parse(SLICED, opset=17)).rewrites
    assert_idempotent("fold-shapes", parse(SLICED, opset=17))
