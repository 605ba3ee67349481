"""The operator SquaredRelu: ``y = max(x, 0)²``, element by element.

Source: So et al., Primer: Searching for Efficient Transformers, section 3.
"""

import numpy as np
from onnx.defs import OpSchema

from graphopt.passes import OperatorDefinition
from graphopt.rewriting import any_, op, rewrite

__all__ = ["DOMAIN", "OP", "SQUARED_RELU"]

DOMAIN = "example.activations"
OP = f"{DOMAIN}::SquaredRelu"


def _schema():
    return OpSchema(
        "SquaredRelu",
        DOMAIN,
        1,
        "Relu of X, squared.",
        inputs=[OpSchema.FormalParameter("X", "T", "Any shape.")],
        outputs=[OpSchema.FormalParameter("Y", "T", "The shape of X.")],
        type_constraints=[("T", [f"tensor({name})" for name in ("float16", "bfloat16", "float", "double")], "Floats.")],
    )


def _infer(context):
    """Type and shape of the output are those of the input."""
    context.set_output_type(0, context.get_input_type(0))


def _kernel(x):
    """What the operator means, in numpy."""
    positive = np.maximum(x, np.zeros((), x.dtype))
    return positive * positive


@rewrite(op[OP](any_("x")))
def decompose_squared_relu(m, rw):
    """SquaredRelu(x) -> Mul(Relu(x), Relu(x))."""
    positive = rw.new("Relu", m["x"])
    return rw.new("Mul", positive, positive)


SQUARED_RELU = OperatorDefinition(
    schema=_schema(),
    infer=_infer,
    kernel=_kernel,
    dim_roles={"X": ("...",), "Y": ("...",)},
    decomposition=decompose_squared_relu,
)
