"""What OpenVINO does not take, or computes otherwise than ONNX says. Found by running the ONNX backend suite through OpenVINO 2026.4.

A wrong number is worse than a refusal, so what came out wrong is refused with the reason, as narrowly as its cause is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from graphopt.errors import UnsupportedOpError
from graphopt.ir import DType, Model, Node, SequenceType, TensorType, Value
from graphopt_openvino.tensors import ELEMENTS

__all__ = ["reason_against", "refuse_model"]

_LACKS = frozenset(
    [
        "BitCast",
        "CausalConvWithState",
        "ConcatFromSequence",
        "CumProd",
        "DeformConv",
        "Det",
        "ImageDecoder",
        "LinearAttention",
        "MaxUnpool",
        "MelWeightMatrix",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "SequenceConstruct",
        "SequenceErase",
        "SequenceLength",
        "SequenceMap",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "SwiGLU",
        "TensorScatter",
        "TfIdfVectorizer",
    ]
)
#: Operators that came out wrong whatever their attributes, with what is wrong.
_WRONG: Mapping[str, str] = {
    "BitShift": "OpenVINO shifts signed numbers, and by more bits than there are, otherwise",
    "DFT": "OpenVINO keeps an axis that ONNX drops, and is not as exact as float32",
    "DynamicQuantizeLinear": "OpenVINO rounds otherwise, which makes numbers of uint8 differ by 1",
    "Bernoulli": "OpenVINO draws other random numbers",
    "Multinomial": "OpenVINO draws other random numbers",
    "RandomNormal": "OpenVINO draws other random numbers",
    "RandomNormalLike": "OpenVINO draws other random numbers",
    "RandomUniform": "OpenVINO draws other random numbers",
    "RandomUniformLike": "OpenVINO draws other random numbers",
}
#: Operators through which a quotient comes to where it is rounded, as when a zero point is computed.
_PASSING = frozenset({"Clip", "Identity", "Max", "Min"})
_OFFSET = ("Add", "Sub")
_INT32 = np.iinfo(np.int32)
_WIDE = frozenset({DType.INT64, DType.UINT32, DType.UINT64})
#: Inputs at which a number beyond 32 bits means "to the end", which survives being cut to the largest one.
_ENDS: Mapping[str, range] = {"Slice": range(1, 5), "Clip": range(1, 3)}


def _pool(node: Node) -> str | None:
    if not node.int_attr("ceil_mode", 0):
        return None
    kernel = node.ints_attr("kernel_shape") or ()
    rank = len(kernel)
    strides = node.ints_attr("strides") or (1,) * rank
    dilations = node.ints_attr("dilations") or (1,) * rank
    ends = (node.ints_attr("pads") or (0,) * (2 * rank))[rank:]
    if node.str_attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "ceil_mode with auto_pad has another meaning in OpenVINO"
    for size, stride, dilation, end in zip(kernel, strides, dilations, ends, strict=True):
        if stride + end > (size - 1) * dilation + 1:
            return "with ceil_mode OpenVINO keeps a last window that lies in the padding, ONNX drops it"
    return None


def _recurrent(node: Node) -> str | None:
    if node.int_attr("layout", 0):
        return "layout=1 has another meaning in OpenVINO"
    if node.op_type == "LSTM" and node.input_at(7) is not None:
        return "OpenVINO has no peepholes"
    return None


def _resize(node: Node) -> str | None:
    if node.int_attr("antialias", 0):
        return "OpenVINO has another antialiasing filter"
    if node.int_attr("exclude_outside", 0):
        return "OpenVINO does not exclude what is outside"
    if node.str_attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "OpenVINO does not keep the aspect ratio"
    mode = node.str_attr("coordinate_transformation_mode", "half_pixel")
    scales = node.input_at(2) if node.schema is not None and node.schema.since_version >= 11 else node.input_at(1)
    if mode == "align_corners" and scales is not None and not _is_whole(scales):
        return "align_corners with scales that are not whole numbers has another meaning in OpenVINO"
    return None


def _is_whole(value: Value) -> bool:
    numbers = value.array()
    return numbers is not None and bool(np.all(numbers.astype(np.float64) % 1 == 0))


def _attention(node: Node) -> str | None:
    for name in ("left_window_size", "right_window_size"):
        if name in node.attributes and node.attr(name) != -1:
            return f"{name} is not taken into account by OpenVINO"
    mask, past, lengths = node.input_at(3), node.input_at(4), node.input_at(6)
    if node.int_attr("is_causal", 0) and ((mask is not None and past is not None) or lengths is not None):
        return "with a mask and a past, or lengths, the causal mask has another offset in OpenVINO"
    return None


def _reduction(node: Node) -> str | None:
    data = node.input_at(0)
    asked = next((user.op_type for user in node.output.users if user.op_type in ("Equal", "IsInf")), None)
    if (data is not None and data.shape is not None and 0 in data.shape) or asked:
        where = f", and {asked} asks for it" if asked else ""
        return f"OpenVINO gives the largest finite number where the result is infinite{where}"
    return None


def _tile(node: Node) -> str | None:
    repeats = node.input_at(1)
    if repeats is None or not repeats.is_constant:
        return "OpenVINO reads beyond its memory where the numbers of repeats are no constant"
    return None


def _round(node: Node) -> str | None:
    value = node.input_at(0)
    while value is not None and value.producer is not None and value.producer.op_type in _PASSING:
        value = value.producer.input_at(0)
    maker = None if value is None else value.producer
    sources = [] if maker is None else [value, *(maker.inputs if maker.op_type in _OFFSET else ())]
    if any(item is not None and item.producer is not None and item.producer.op_type == "Div" for item in sources):
        return "OpenVINO divides by multiplying with the reciprocal, and rounding makes the difference a whole number"
    return None


def _roi(node: Node) -> str | None:
    return "OpenVINO computes mode='max' otherwise" if node.str_attr("mode", "avg") == "max" else None


def _depth(node: Node) -> str | None:
    return "OpenVINO ignores mode='CRD'" if node.str_attr("mode", "DCR") == "CRD" else None


def _mod(node: Node) -> str | None:
    data = node.input_at(0)
    floats = data is not None and data.dtype is not None and data.dtype.is_float
    return "OpenVINO has no Mod of floats with fmod=0" if floats and not node.int_attr("fmod", 0) else None


_RULES: Mapping[str, Callable[[Node], str | None]] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LpPool": _pool,
    "MaxPool": _pool,
    "Mod": _mod,
    "RNN": _recurrent,
    "ReduceMax": _reduction,
    "ReduceMin": _reduction,
    "Resize": _resize,
    "Round": _round,
    "RoiAlign": _roi,
    "SpaceToDepth": _depth,
    "Tile": _tile,
}


def reason_against(node: Node) -> str | None:
    """Why OpenVINO can't run a node, ``None`` when it can, or when only OpenVINO's reader can tell."""
    if node.domain == "ai.onnx.ml":
        return f"OpenVINO has no {node.op}"
    if not node.domain:
        if node.op_type in _LACKS:
            return f"OpenVINO has no {node.op}"
        if node.op_type in _WRONG:
            return _WRONG[node.op_type]
        rule = _RULES.get(node.op_type)
        found = rule(node) if rule is not None else None
        if found is not None:
            return found
    for value in (*node.inputs, *node.outputs):
        found = None if value is None else _reason_against_type(value)
        if found is not None:
            return found
    return _large_constant(node)


def _reason_against_type(value: Value) -> str | None:
    if isinstance(value.type, SequenceType):
        return f"OpenVINO has no sequences, and {value.name!r} is one"
    if not isinstance(value.type, TensorType) or value.type.dtype is DType.UNDEFINED:
        return None
    if value.type.dtype is DType.DOUBLE:
        return f"OpenVINO computes double in float32, and {value.name!r} is double"
    if value.type.dtype not in ELEMENTS:
        return f"OpenVINO does not compute with {value.type.dtype}, which {value.name!r} is"
    return None


def _large_constant(node: Node) -> str | None:
    ends = _ENDS.get(node.op_type, range(0))
    for index, value in enumerate(node.inputs):
        if value is None or value.const is None or value.const.dtype not in _WIDE or index in ends:
            continue
        numbers = value.const.numpy()
        if numbers.size and (int(numbers.max()) > _INT32.max or int(numbers.min()) < _INT32.min):
            return f"OpenVINO computes with 32 bits on the processor, and {value.name!r} has larger numbers"
    return None


def refuse_model(model: Model) -> None:
    """See that OpenVINO runs a model.

    Raises:
        UnsupportedOpError: naming the first node, input or output that it does not.
    """
    for owner in model.owners():
        for node in owner.graph.walk():
            reason = reason_against(node)
            if reason is not None:
                raise UnsupportedOpError(f"node {node.name!r} ({node.op_type}): {reason}")
    for what, value in _ports(model):
        reason = _reason_against_type(value)
        if reason is None and isinstance(value.type, TensorType) and what == "input" and value.shape is None:
            reason = "OpenVINO needs to know how many axes it has"
        if reason is None and what == "input" and value.const is not None and not value.is_constant:
            reason = "OpenVINO makes a constant of its default value; take it out of the inputs"
        if reason is None and not isinstance(value.type, TensorType):
            reason = f"OpenVINO takes tensors only, and this is {value.type}"
        if reason is not None:
            raise UnsupportedOpError(f"{what} {value.name!r}: {reason}")


def _ports(model: Model) -> Iterator[tuple[str, Value]]:
    yield from (("input", value) for value in model.graph.inputs)
    yield from (("output", value) for value in model.graph.outputs)
