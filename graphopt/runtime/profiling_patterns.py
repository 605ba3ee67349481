"""What kind of work a kernel does: by its operator, or by the pattern that its nodes are part of in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from graphopt.ir import Model, Node

__all__ = ["REMARKS", "kind_of", "spelt_patterns"]

_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ReorderInput", "ReorderOutput", "Transpose", "MemcpyToHost", "MemcpyFromHost"), "layout change"),
    **dict.fromkeys(("Cast", "CastLike"), "cast"),
    **dict.fromkeys(
        (
            "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Concat", "Gather", "Expand", "Tile", "Pad",
            "GatherElements", "GatherND", "ScatterND", "ScatterElements", "SpaceToDepth", "DepthToSpace",
        ),
        "reshape and copy",
    ),
    **dict.fromkeys(("Shape", "Size", "Range", "ConstantOfShape", "NonZero"), "shape arithmetic"),
    **dict.fromkeys(
        ("Conv", "FusedConv", "ConvTranspose", "QLinearConv", "ConvInteger", "NhwcFusedConv", "DeformConv"), "convolution"
    ),
    **dict.fromkeys(
        (
            "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul", "MatMulNBits", "Einsum",
        ),
        "matrix product",
    ),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention"), "attention"),
    **dict.fromkeys(
        (
            "LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization",
            "RMSNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization", "EmbedLayerNormalization",
        ),
        "normalization",
    ),
    **dict.fromkeys(
        (
            "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf", "LeakyRelu",
            "Elu", "PRelu", "Softplus", "Mish", "Swish",
        ),
        "activation",
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), "pooling"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "softmax"),
    **dict.fromkeys(("Resize", "Upsample", "GridSample"), "resize"),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), "recurrence"),
    **dict.fromkeys(("If", "Loop", "Scan"), "control flow"),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), "quantization"),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ArgMax"), "reduction"),
    "LRN": "local response normalization",
}  # fmt: skip

#: What to know about a kind of work when no rewrite would make it less.
REMARKS: Final[Mapping[str, str]] = {
    "convolution": "arithmetic: less of it needs int8 weights, pruning or a smaller input",
    "matrix product": "arithmetic: less of it needs int8 weights or pruning",
    "recurrence": "arithmetic, a step after the other",
    "layout change": "nothing would: no rule knows a way around it",
}

_WEIGHTY: Final = frozenset(
    {
        "convolution",
        "matrix product",
        "layout change",
        "recurrence",
        "control flow",
        "attention",
        "resize",
        "quantization",
    }
)
_FUSED: Final = frozenset({"normalization", "activation", "attention"})


def kind_of(kernel_op: str, nodes: Iterable[Node], spelt: Mapping[Node, str]) -> str:
    """The kind of work of a kernel.

    Args:
        kernel_op: its operator, the domain in front.
        nodes: of the model, that it stands for.
        spelt: patterns that nodes of the model are part of.
    """
    kind = _KINDS.get(kernel_op.rpartition("::")[2], "elementwise")
    mine = tuple(nodes)
    if len(mine) > 1 and kind in _FUSED:  # the runtime saw the pattern
        return kind
    found = [spelt[node] for node in mine if node in spelt]
    if found and (kind not in _WEIGHTY or (kind == "matrix product" and "attention spelt out" in found)):
        return max(sorted(set(found)), key=found.count)
    return kind


def spelt_patterns(model: Model) -> dict[Node, str]:
    """Nodes of a model that spell something out for which there is one operator, with what that is.

    Args:
        model: the model.
    """
    found: dict[Node, str] = {}
    for owner in model.owners():
        for graph in owner.graph.walk_graphs():
            for node in graph.nodes:
                spell = _SPELLERS.get(node.op)
                if spell is not None:
                    for part, name in spell(node):
                        found.setdefault(part, name)
    return found


def _sources(node: Node) -> list[Node]:
    return [value.producer for value in node.inputs if value is not None and value.producer is not None]


def _users(node: Node) -> list[Node]:
    return [user for value in node.outputs for user in value.users]


def _reach(start: Node, ops: frozenset[str], steps: int, near: Callable[[Node], list[Node]]) -> list[Node]:
    """Nodes of some operators within a few steps from a node."""
    found: dict[Node, None] = {}
    ring = [start]
    for _ in range(steps):
        ring = [other for node in ring for other in near(node) if other.op in ops and other not in found]
        found.update(dict.fromkeys(ring))
    return list(found)


def _hardswish(clip: Node) -> list[tuple[Node, str]]:
    before = _reach(clip, frozenset({"Add"}), 1, _sources)
    after = _reach(clip, frozenset({"Mul", "Div"}), 2, _users)
    if not before or not after:
        return []
    return [(node, "hardswish spelt out") for node in (clip, *before, *after)]


def _gelu(erf: Node) -> list[tuple[Node, str]]:
    before = _reach(erf, frozenset({"Div", "Mul"}), 1, _sources)
    after = _reach(erf, frozenset({"Add", "Mul"}), 3, _users)
    return [(node, "gelu spelt out") for node in (erf, *before, *after)]


def _silu(sigmoid: Node) -> list[tuple[Node, str]]:
    gates = [user for user in _users(sigmoid) if user.op == "Mul" and any(v in user.inputs for v in sigmoid.inputs)]
    return [(node, "silu spelt out") for node in (sigmoid, *gates)] if gates else []


def _norm(root: Node) -> list[tuple[Node, str]]:
    before = _reach(root, frozenset({"Add", "ReduceMean", "Pow", "Mul", "Sub", "Cast", "ReduceSum"}), 5, _sources)
    after = _reach(root, frozenset({"Div", "Mul", "Add", "Reciprocal", "Cast"}), 3, _users)
    if not any(node.op.startswith("Reduce") for node in before):
        return []
    return [(node, "normalization spelt out") for node in (root, *before, *after)]


def _attention(softmax: Node) -> list[tuple[Node, str]]:
    plain = frozenset({"Add", "Mul", "Div", "Where", "Cast", "MatMul", "Sub"})
    before = _reach(softmax, plain, 4, lambda node: [] if node.op == "MatMul" else _sources(node))
    after = _reach(
        softmax, frozenset({"MatMul", "Cast", "Dropout"}), 3, lambda node: [] if node.op == "MatMul" else _users(node)
    )
    if not any(n.op == "MatMul" for n in before) or not any(n.op == "MatMul" for n in after):
        return []
    return [(node, "attention spelt out") for node in (softmax, *before, *after)]


_SPELLERS: Final[Mapping[str, Callable[[Node], list[tuple[Node, str]]]]] = {
    "Clip": _hardswish,
    "Erf": _gelu,
    "Sigmoid": _silu,
    "Softmax": _attention,
    "Sqrt": _norm,
}
