from graphopt_double_neg import EliminateDoubleNeg

from graphopt import GraphBuilder, PassManager


def test_double_negation_goes():
    b = GraphBuilder(opset=17)
    b.output(b.Neg(b.Neg(b.input("x"))), "y")
    assert {"eliminate-double-neg": 1} == PassManager([EliminateDoubleNeg()]).run(b.model).stats
