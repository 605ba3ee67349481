"""Computes an activation in the element type that the model has around it.

``Cast[float16](f(Cast[float](x))) -> f(x)`` for activations ``f`` of one value, and for ``x * Sigmoid(x)``: exporters put casts to float32
around each, which runtimes without float16 kernels do by themselves, and those with such kernels do inside. Numerics: re-associates (both
round the same number to float16).
"""

from __future__ import annotations

from typing import ClassVar, Final

from graphopt.ir import DType, Node
from graphopt.rewriting import NoMatch, Pattern, any_, op
from graphopt.transforms.expressions import producer
from graphopt.transforms.fusion.activations.sigmoids import sigmoid_gate
from graphopt.transforms.fusion.activations.unary_rule import Activation, RecognizeActivation

__all__ = ["DropCastsAroundActivation"]

_ACTIVATIONS: Final = (
    "Gelu", "HardSwish", "HardSigmoid", "Mish", "Swish", "Sigmoid", "Tanh", "Softplus", "Softsign", "LeakyRelu", "Elu", "Selu", "Relu",
    "ThresholdedRelu",
)  # fmt: skip
_NARROW: Final = frozenset({DType.FLOAT16})


class DropCastsAroundActivation(RecognizeActivation):
    """Cast[float16](f(Cast[float](x))) -> f(x)."""

    name: ClassVar[str] = "drop-casts-around-activation"
    roots: ClassVar[tuple[str, ...]] = ("Cast",)
    reach: ClassVar[int] = 4
    dtypes: ClassVar[frozenset[DType]] = _NARROW
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Cast(
            op["Sigmoid", "Tanh", "Relu", "LeakyRelu"](op.Cast(any_("x"), to=int(DType.FLOAT))), to=int(DType.FLOAT16)
        ),
    )

    def find(self, node: Node) -> Activation | NoMatch:
        """The type before the first cast must be that of the second."""
        activation = producer(node.inputs[0], *_ACTIVATIONS, "Mul")
        if activation is None or node.attr("to") != int(DType.FLOAT16):
            return NoMatch("no activation is cast to float16")
        wide, times = activation.inputs[0], False
        attributes: dict[str, object] = dict(activation.attributes)
        name = activation.op
        if name == "Mul":
            gate = sigmoid_gate(activation)
            if isinstance(gate, NoMatch) or gate[1] != 1:
                return NoMatch("no x * sigmoid(x)")
            (wide, _slope), times, name = gate, True, "Sigmoid"
        cast = producer(wide, "Cast")
        x = None if cast is None else cast.inputs[0]
        if x is None or wide is None or wide.dtype is not DType.FLOAT or x.dtype is not DType.FLOAT16:
            return NoMatch("the activation is not of a float16 value that is cast to float32")
        return Activation(name, x, attributes, times=x if times else None)
