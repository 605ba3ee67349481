"""Why a layer can't be dynamic, for reports and for those who choose forms."""

from __future__ import annotations

from typing import Final

from graphopt.ir import Node
from graphopt.rewriting import NoMatch
from graphopt.target import Target
from graphopt.transforms.quantization.dynamic.attention import QuantizeAttention, dynamic_attention
from graphopt.transforms.quantization.dynamic.lstm import QuantizeLstm, dynamic_lstm
from graphopt.transforms.quantization.dynamic.product import dynamic_product

__all__ = ["NEEDED_FOR_PRODUCTS", "why_not_dynamic"]

#: What a target must run so that products can be dynamic.
NEEDED_FOR_PRODUCTS: Final = ("DynamicQuantizeLinear", "MatMulInteger")


def why_not_dynamic(node: Node, target: Target) -> str:
    """Why ``quantize-dynamic`` leaves a node as it is, ``""`` if it does not.

    Args:
        node: any.
        target: what the model is made for.
    """
    if node.op in ("MatMul", "Gemm"):
        lacking = [name for name in NEEDED_FOR_PRODUCTS if not target.has_kernel(name)]
        if lacking:
            return f"target {target.name!r} does not run {' and '.join(lacking)}"
        found: object = dynamic_product(node)
    elif node.op in ("LSTM", "GRU", "RNN"):
        if node.op == "LSTM" and not target.has_kernel(QuantizeLstm.makes):
            return f"target {target.name!r} has no kernel {QuantizeLstm.makes}"
        found = dynamic_lstm(node)
    elif node.op == "com.microsoft::Attention":
        if not target.has_kernel(QuantizeAttention.makes):
            return f"target {target.name!r} has no kernel {QuantizeAttention.makes}"
        found = dynamic_attention(node)
    elif node.op in ("Conv", "ConvTranspose"):
        return "a convolution that quantizes as it goes is several times slower than one of floats; static quantization is for it"
    else:
        return f"{node.op} has no weight to multiply by"
    return str(found) if isinstance(found, NoMatch) else ""
