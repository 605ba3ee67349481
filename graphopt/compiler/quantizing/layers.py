"""The layers of a model that integers may pay for, and what share of its work they do: "will this help here?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphopt.analysis.cost import cost_of_node
from graphopt.ir import DType, Model, Node, SymbolicDim, constant_of
from graphopt.runtime.processor import Processor
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.layers import layer_name
from graphopt.transforms.quantization.static.plan import plan_static

__all__ = ["LAYER_OPS", "Layer", "Prospects", "find_layers", "is_quantized", "prospects_of", "sizes_of"]

#: Operators whose weights are worth quantizing; all others only follow them.
LAYER_OPS: Final = frozenset({"Conv", "ConvTranspose", "Gather", "Gemm", "GRU", "LSTM", "MatMul"})
_MULTIPLYING: Final = frozenset({"Gemm", "MatMul"})
_RECURRENT: Final = frozenset({"GRU", "LSTM"})
#: Weights of fewer numbers are not worth what spells them.
_FEWEST_STORED: Final = 512
#: Tables that Gather reads rows of are worth it from so many numbers on.
_FEWEST_IN_TABLE: Final = 1 << 14
#: Integers that are cast to floats are weights when there are so many.
_FEWEST_WEIGHTS: Final = 64
_NARROW: Final = frozenset({DType.INT8, DType.UINT8, DType.INT16})
#: Those of them that have a pass which makes them dynamic.
_DYNAMIC: Final = frozenset({"LSTM", "MatMul"})
_QUANTIZED_OPS: Final = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "com.microsoft::DynamicQuantizeLSTM",
        "com.microsoft::DynamicQuantizeMatMul",
        "com.microsoft::MatMulIntegerToFloat",
        "com.microsoft::MatMulNBits",
        "com.microsoft::QAttention",
        "com.microsoft::QGemm",
        "com.microsoft::QLinearAdd",
    }
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with weights, or a product of activations.

    Attributes:
        name: of the node, as options of passes take it.
        op: its operator.
        flops: operations of one run, 0 where they are not known.
        share: of the operations of the model, in [0, 1].
        weight_bytes: of its constants.
        forms: in which of ``static``, ``dynamic``, ``weights``, ``stored`` and ``halved`` it can be computed.
        index: place in the model.
        reason: why it can't be static, ``""`` when it can.
    """

    name: str
    op: str
    flops: int
    share: float
    weight_bytes: int
    forms: frozenset[str]
    index: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Prospects:
    """What quantization may bring, before any time is spent.

    Attributes:
        processor: what it can do with integers.
        layers: those that can be quantized.
        flops: operations of one run of the model, as far as they are known.
        share: of the operations that can become int8, in [0, 1].
        weight_share: of the bytes of weights that can become integers.
        scheme: how the target wants integers, ``""`` where it has none.
    """

    processor: Processor
    layers: tuple[Layer, ...]
    flops: int
    share: float
    weight_share: float
    scheme: str = ""

    @property
    def summary(self) -> str:
        """A line for people."""
        many = f"{len(self.layers):,} layers with {self.share:.0%} of the operations can become int8"
        if not self.layers:
            return "no layer can become int8: there is no Conv, Gemm, MatMul or LSTM with constant float weights"
        if not self.share:
            return f"weights can be stored as int8, no layer computes on it ({len(self.layers):,}): expect a smaller model, no faster"
        if self.share < 0.5:
            return f"{many}: expect little"
        if not self.processor.is_fast_at_int8:
            return f"{many}, but this processor is not made for it: expect a smaller model, and little speed"
        return f"{many}, and this processor is made for it"

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "processor": {"name": self.processor.name, "products": self.processor.products},
            "scheme": self.scheme,
            "layers": len(self.layers),
            "flops": self.flops,
            "share": self.share,
            "weight_share": self.weight_share,
            "summary": self.summary,
        }


def sizes_of(model: Model, feeds: Mapping[str, object]) -> dict[str, int]:
    """Sizes of the symbolic dimensions of a model, as inputs have them."""
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        shape = getattr(feeds.get(value.name), "shape", None)
        if shape is None or value.shape is None or len(shape) != len(value.shape):
            continue
        for dim, size in zip(value.shape, shape, strict=True):
            if isinstance(dim, SymbolicDim):
                found.setdefault(str(dim), int(size))
    return found


def find_layers(model: Model, scheme: QuantizationScheme, sizes: Mapping[str, int]) -> tuple[Layer, ...]:
    """The layers of the main graph that can be quantized in some form.

    Args:
        model: with types.
        scheme: what the target has kernels for.
        sizes: of symbolic dimensions.
    """
    total = _total_flops(model, sizes)
    found: list[Layer] = []
    decided = {item.layer: item for item in plan_static(model.graph, scheme).decisions}
    for index, node in enumerate(model.graph.nodes):
        if node.op not in LAYER_OPS:
            continue
        decision = decided.get(layer_name(node))
        static = decision is not None and decision.form == "static"
        forms = _forms(node, scheme, static=static)
        if not forms:
            continue
        flops = _number(cost_of_node(node, sizes).flops)
        weights = sum(value.const.nbytes for value in node.inputs if value is not None and value.const is not None)
        name = layer_name(node)
        found.append(
            Layer(
                name,
                node.op,
                flops,
                flops / total if total else 0.0,
                weights,
                forms,
                index,
                "" if static or decision is None else decision.reason,
            )
        )
    return tuple(found)


def prospects_of(
    model: Model, scheme: QuantizationScheme | None, processor: Processor, sizes: Mapping[str, int]
) -> Prospects:
    """What quantization may bring to a model."""
    layers = () if scheme is None else find_layers(model, scheme, sizes)
    share = min(1.0, sum(layer.share for layer in layers if layer.forms & {"static", "dynamic"}))
    weights = sum(layer.weight_bytes for layer in layers)
    return Prospects(
        processor,
        layers,
        _total_flops(model, sizes),
        share,
        weights / model.constant_bytes if model.constant_bytes else 0.0,
        "" if scheme is None else scheme.name,
    )


def is_quantized(model: Model) -> Sequence[str]:
    """What of a model works on quantized numbers: operators, and weights stored as integers; nothing for a model of floats."""
    nodes = [node for owner in model.owners() for node in owner.graph.walk()]
    found = sorted({node.op for node in nodes} & _QUANTIZED_OPS)
    return [*found, "Cast of weights stored as integers"] if any(map(_decodes, nodes)) else found


def _decodes(node: Node) -> bool:
    """Whether a node makes floats of weights that are stored as integers."""
    stored = constant_of(node.input_at(0)) if node.op == "Cast" else None
    output = node.outputs[0] if node.outputs else None
    narrow = stored is not None and stored.dtype in _NARROW and stored.size >= _FEWEST_WEIGHTS
    return narrow and output is not None and output.dtype in (DType.FLOAT, DType.FLOAT16)


def _forms(node: Node, scheme: QuantizationScheme, *, static: bool) -> frozenset[str]:
    if node.op == "Gather":
        return frozenset({"weights", "stored"}) if _reads_table(node) else frozenset()
    x, w = node.input_at(0), node.input_at(1)
    if x is None or w is None or x.dtype not in (DType.FLOAT, None) or w.dtype not in (DType.FLOAT, None):
        return frozenset()
    found = {"static"} if static else set[str]()
    if constant_of(w) is not None and constant_of(x) is None:
        kind = "MatMul" if node.op in _MULTIPLYING else node.op
        if kind in scheme.dynamic_ops and kind in _DYNAMIC:
            found.add("dynamic")
        if node.op in _MULTIPLYING:
            found.add("weights")
        if _is_worth_storing(node):
            found |= {"stored", "halved"}
    return frozenset(found)


def _is_worth_storing(node: Node) -> bool:
    """Whether all weights of a layer are constants of floats, with as many numbers as pay for what spells them."""
    weights = [constant_of(node.input_at(at)) for at in ((1, 2) if node.op in _RECURRENT else (1,))]
    return all(item is not None and item.dtype is DType.FLOAT and item.size >= _FEWEST_STORED for item in weights)


def _reads_table(node: Node) -> bool:
    """Whether a node reads rows of a large constant matrix of floats."""
    table = constant_of(node.input_at(0))
    wanted = (
        table is not None and table.dtype is DType.FLOAT and len(table.shape) == 2 and table.size >= _FEWEST_IN_TABLE
    )
    return wanted and node.int_attr("axis", 0) == 0


def _total_flops(model: Model, sizes: Mapping[str, int]) -> int:
    return sum(_number(cost_of_node(node, sizes).flops) for node in model.graph.nodes)


def _number(found: object) -> int:
    return found if isinstance(found, int) else 0
