"""What fold-constants folds does not depend on names: it counted their bytes among those that a folded node frees.

``commutes-with-renaming`` found a model of which another node was folded once its values had longer names.
"""

from __future__ import annotations

import pytest

from graphopt.testing import RENAMING, assert_commutes_with, assert_no_rewrite
from tests.regressions.held import parse

NUMBERS = ", ".join(str(number % 7) for number in range(90))


@pytest.mark.parametrize("name", ["w", "a_name_" * 60])
def test_casts_of_weights_stay_whatever_they_are_called(name):
    model = parse(f"""main (float[90] x) => (float[90] y) <int8[90] {name} = {{{NUMBERS}}}> {{
      {name}_cast = Cast <to = 1> ({name})
      y = Add (x, {name}_cast)
    }}""")
    assert_no_rewrite("fold-constants", model)
    assert not assert_commutes_with(RENAMING, "fold-constants", model).changed
