from graphopt_double_neg import EliminateDoubleNeg

from graphopt.testing import check_pass


def test_every_law_holds():
    assert check_pass(EliminateDoubleNeg, max_examples=20).rewrites["eliminate-double-neg"]
