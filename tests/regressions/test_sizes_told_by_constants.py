"""How large Tile makes something was unknown until its repeats were folded, so a second run of fold-constants folded one more node.

``check_pass("fold-constants")`` found it in shape arithmetic: a pass that declares to do all in one run left work for the next one.
"""

from __future__ import annotations

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
