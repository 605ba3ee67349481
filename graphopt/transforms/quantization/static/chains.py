"""What belongs to a layer behind the node that computes it: a bias that is added, an activation that the runtime leaves out or fuses.

``Relu(Conv(x))`` is quantized behind the Relu: integers saturate where it cuts, so no kernel is needed for it. ``MatMul(x, w) + b`` is
quantized behind the Add, as that is a layer with a bias. Such a bias is stored as integers where runtimes make one operator of both: that
needs sizes that are known, as ONNX Runtime flattens ``x``; else integers would only have to be made floats in each run.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node, Value, constant_of
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.static.roles import clip_bounds

__all__ = ["Chain", "chain_of"]

#: Rank of what a product with a bias takes as it is.
_FLAT = 2


@dataclass(frozen=True, slots=True)
class Chain:
    """A node that computes, and what follows it within its layer.

    Attributes:
        tail: the value that the layer gives.
        absorbed: the nodes between.
        bias: the node that adds the bias of a product and the position of the bias; ``None`` when there is none, or it stays floats.
        bounds: between which numbers the layer's results are, by its activation.
    """

    tail: Value
    absorbed: tuple[Node, ...] = ()
    bias: tuple[Node, int] | None = None
    bounds: tuple[float, float] | None = None


def chain_of(node: Node, scheme: QuantizationScheme) -> Chain:
    """The layer that a node computes.

    Args:
        node: one on integers that makes new numbers.
        scheme: tells which activations vanish.
    """
    if node.op == "HardSigmoid" and scheme.saturating:
        return Chain(node.output, bounds=(0.0, 1.0))  # spelled as an Add whose integers saturate
    chain = Chain(node.output)
    if node.op == "MatMul":
        chain = _with_bias(node, chain)
    user = _only_user(chain.tail)
    if user is None or user.op not in scheme.activations:
        return chain
    if not scheme.saturating:
        return Chain(user.output, (*chain.absorbed, user), chain.bias)
    bounds = clip_bounds(user)
    if bounds is None or scheme.symmetric_activations or not bounds[0] <= 0.0 < bounds[1]:
        return chain
    return Chain(user.output, (*chain.absorbed, user), chain.bias, bounds)


def _with_bias(node: Node, chain: Chain) -> Chain:
    user = _only_user(node.output)
    weights = constant_of(node.input_at(1))
    if user is None or user.op != "Add" or weights is None or weights.ndim != 2:
        return chain
    position = 1 - next(at for at, value in enumerate(user.inputs) if value is node.output)
    bias = constant_of(user.input_at(position))
    if bias is None or bias.shape != weights.shape[-1:] or not bias.dtype.is_float:
        return chain
    read = node.input_at(0)
    shape = None if read is None else read.shape
    flat = shape is not None and (len(shape) == _FLAT or all(isinstance(size, int) for size in shape))
    return Chain(user.output, (user,), (user, position) if flat else None)


def _only_user(value: Value) -> Node | None:
    """The node that alone reads a value, in the same graph."""
    if not value.has_single_use:
        return None
    (user,) = value.users
    return user if user.graph is value.home else None
