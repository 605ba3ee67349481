"""Finds SquaredRelu in models that spell it with standard operators."""

from graphopt.passes import Reassociates, RewritePass
from graphopt.rewriting import NoMatch, any_, const, op, rewrite
from graphopt_squared_relu.operator import OP

__all__ = ["FuseSquaredRelu"]

_FLOATS = ("FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE")


def _fuse(m, rw):
    x = m["x"]
    if x.dtype is None or x.dtype.name not in _FLOATS:
        return NoMatch("%s is %s, expected a float type", x.name, x.type)
    return rw.new(OP, x)


@rewrite(op.Mul(op.Relu(any_("x"), shared=True), op.Relu(any_("x"), shared=True)))
def fuse_squared_relu_mul(m, rw):
    """Mul(Relu(x), Relu(x)) -> SquaredRelu(x), be it one Relu or two. Exact."""
    return _fuse(m, rw)


@rewrite(op.Pow(op.Relu(any_("x")), const("two", scalar=True, equal_to=2)), numerics=Reassociates(1e-6))
def fuse_squared_relu_pow(m, rw):
    """Pow(Relu(x), 2) -> SquaredRelu(x). A runtime may compute powers through logarithms."""
    if m["two"].const.ndim > 0:
        return NoMatch("the exponent may add axes")
    return _fuse(m, rw)


class FuseSquaredRelu(RewritePass):
    """Fuse the square of a Relu into one operator, which runtimes without a kernel get back in parts."""

    name = "fuse-squared-relu"
    rules = (fuse_squared_relu_mul, fuse_squared_relu_pow)
