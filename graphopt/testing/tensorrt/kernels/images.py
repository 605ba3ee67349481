"""Layers with windows and samples, by ONNX Runtime's kernels: their settings are put into a model of one node."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from graphopt.ir import Array
from graphopt.testing.tensorrt.kernels.arithmetic import name_of
from graphopt.testing.tensorrt.reading import Item

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS"]

_OPSET: Final = 19


def _run(op: str, given: Sequence[Array | None], attributes: Mapping[str, object]) -> Array:
    """The first output of one operator, in float32."""
    arrays = [
        None if item is None else np.asarray(item, np.float32 if item.dtype.kind not in "biu" else item.dtype)
        for item in given
    ]
    kinds = tuple(None if item is None else (item.ndim, _constant(item)) for item in arrays)
    model = _model(op, kinds, tuple((name, _hashable(value)) for name, value in sorted(attributes.items())))
    feeds = {f"x{place}": item for place, item in enumerate(arrays) if item is not None and item.dtype.kind == "f"}
    found: Array = model.run(None, feeds)[0]
    return found


def _constant(array: Array) -> tuple[int, ...] | None:
    """Sizes, which are a constant of the model; ``None`` for numbers that are fed."""
    return tuple(int(item) for item in array) if array.dtype.kind == "i" else None


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value


@functools.lru_cache(maxsize=256)
def _model(
    op: str, kinds: tuple[tuple[int, tuple[int, ...] | None] | None, ...], attributes: tuple[tuple[str, Any], ...]
) -> Any:  # noqa: ANN401  a session
    """A model of one operator.

    Args:
        op: the operator.
        kinds: by input, the number of axes, and the numbers where they are constant; ``None`` where it is absent.
        attributes: names and values.
    """
    names = ["" if kind is None else f"x{place}" for place, kind in enumerate(kinds)]
    stated: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in attributes}
    node = helper.make_node(op, names, ["y"], **stated)
    inputs, constants = [], []
    for name, kind in zip(names, kinds, strict=True):
        if kind is not None and kind[1] is not None:
            constants.append(helper.make_tensor(name, onnx.TensorProto.INT64, [len(kind[1])], kind[1]))
        elif kind is not None:
            inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * kind[0]))
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", inputs, [result], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _pads(
    layer: Any,  # noqa: ANN401  a layer of the library
    sizes: Sequence[int],
    spans: Sequence[int],
    strides: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Paddings in front and behind as the layer's mode makes them."""
    mode = name_of(layer.padding_mode)
    before, after = [int(item) for item in layer.pre_padding], [int(item) for item in layer.post_padding]
    if mode.startswith("SAME"):
        for place, (size, span, step) in enumerate(zip(sizes, spans, strides, strict=True)):
            total = max(0, (-(-size // step) - 1) * step + span - size)
            less = total // 2
            before[place], after[place] = (less, total - less) if mode == "SAME_UPPER" else (total - less, less)
    elif mode == "EXPLICIT_ROUND_UP":
        for place, (size, span, step) in enumerate(zip(sizes, spans, strides, strict=True)):
            rest = (size + before[place] + after[place] - span) % step
            after[place] += (step - rest) % step
    return before, after


def _weights(layer: Any, given: Sequence[Any], place: int, name: str) -> Any:  # noqa: ANN401
    if len(given) > place and given[place] is not None:
        return given[place]
    found = getattr(layer, name)
    return np.asarray(found) if isinstance(found, np.ndarray) and found.size else None


def _convolution(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, layer = given[0], item.layer
    window, groups = tuple(layer.kernel_size_nd), int(layer.num_groups)
    w = _weights(layer, given, 1, "kernel").reshape(int(layer.num_output_maps), x.shape[1] // groups, *window)
    b = _weights(layer, given, 2, "bias")
    strides, dilations = tuple(layer.stride_nd), tuple(layer.dilation_nd)
    spans = [(size - 1) * step + 1 for size, step in zip(window, dilations, strict=True)]
    before, after = _pads(layer, x.shape[2:], spans, strides)
    found = _run(
        "Conv", [x, w, b], {"pads": [*before, *after], "strides": strides, "dilations": dilations, "group": groups}
    )
    return found.astype(x.dtype)


def _deconvolution(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, layer = given[0], item.layer
    window, groups = tuple(layer.kernel_size_nd), int(layer.num_groups)
    maps = int(layer.num_output_maps)
    w = _weights(layer, given, 1, "kernel").reshape(x.shape[1], maps // groups, *window)
    b = _weights(layer, given, 2, "bias")
    pads = [*(int(item) for item in layer.pre_padding), *(int(item) for item in layer.post_padding)]
    assert name_of(layer.padding_mode) == "EXPLICIT_ROUND_DOWN", f"{item!r}: padding mode"
    found = _run(
        "ConvTranspose",
        [x, w, b],
        {"pads": pads, "strides": tuple(layer.stride_nd), "dilations": tuple(layer.dilation_nd), "group": groups},
    )
    return found.astype(x.dtype)


def _pooling(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    """By numpy: paddings may be larger than kernels, which ONNX Runtime refuses."""
    x, layer = given[0], item.layer
    window, strides = tuple(layer.window_size_nd), tuple(layer.stride_nd)
    before, after = _pads(layer, x.shape[2:], window, strides)
    kind = name_of(layer.type)
    filler = -np.inf if kind == "MAX" else 0.0
    widths = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    padded = np.pad(x.astype(np.float32), widths, constant_values=filler)
    views = np.lib.stride_tricks.sliding_window_view(padded, window, tuple(range(2, x.ndim)))
    views = views[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    axes = tuple(range(x.ndim, x.ndim + len(window)))
    if kind == "MAX":
        return np.asarray(views.max(axis=axes)).astype(x.dtype)
    assert kind == "AVERAGE", f"{item!r}: {kind}"
    if layer.average_count_excludes_padding:
        ones = np.pad(np.ones(x.shape[2:], np.float32), widths[2:])
        counts = np.lib.stride_tricks.sliding_window_view(ones, window)[
            tuple(slice(None, None, step) for step in strides)
        ]
        return np.asarray(views.sum(axis=axes) / counts.sum(axis=tuple(range(-len(window), 0)))).astype(x.dtype)
    return np.asarray(views.mean(axis=axes)).astype(x.dtype)


def _lrn(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    [x] = given
    layer = item.layer
    attributes = {
        "size": int(layer.window_size),
        "alpha": float(layer.alpha),
        "beta": float(layer.beta),
        "bias": float(layer.k),
    }
    return _run("LRN", [x], attributes).astype(x.dtype)


_COORDINATES: Final = {"ALIGN_CORNERS": "align_corners", "ASYMMETRIC": "asymmetric", "HALF_PIXEL": "half_pixel"}
_ROUNDING: Final = {"HALF_UP": "round_prefer_ceil", "HALF_DOWN": "round_prefer_floor", "FLOOR": "floor", "CEIL": "ceil"}
_MODES: Final = {"NEAREST": "nearest", "LINEAR": "linear", "CUBIC": "cubic"}


def _resize(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, layer = given[0], item.layer
    mode = _MODES[name_of(layer.resize_mode)]
    coordinates = _COORDINATES[name_of(layer.coordinate_transformation)]
    if coordinates == "half_pixel" and name_of(layer.selector_for_single_pixel) == "UPPER":
        coordinates = "pytorch_half_pixel"
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = _ROUNDING[name_of(layer.nearest_rounding)]
    if mode == "cubic":
        attributes["cubic_coeff_a"] = float(layer.cubic_coeff)
        attributes["exclude_outside"] = int(bool(layer.exclude_outside))
    sizes, scales = None, None
    if len(given) > 1 and given[1] is not None:
        sizes = given[1].astype(np.int64)
    elif layer.scales is not None and len(layer.scales):
        scales = np.array(layer.scales, np.float32)
    else:
        sizes = np.array(tuple(layer.shape), np.int64)
    return _run("Resize", [x, None, scales, sizes], attributes).astype(x.dtype)


_SAMPLING: Final = {"FILL": "zeros", "CLAMP": "border", "REFLECT": "reflection"}


def _grid_sample(made: Evaluation, item: Item, given: Sequence[Any]) -> Array:
    x, grid = given
    layer = item.layer
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[_MODES[name_of(layer.interpolation_mode)]]
    attributes = {
        "mode": mode,
        "align_corners": int(bool(layer.align_corners)),
        "padding_mode": _SAMPLING[name_of(layer.sample_mode)],
    }
    return _run("GridSample", [x, grid], attributes).astype(x.dtype)


KERNELS: Final[dict[str, Any]] = {
    "CONVOLUTION": _convolution,
    "DECONVOLUTION": _deconvolution,
    "GRID_SAMPLE": _grid_sample,
    "LRN": _lrn,
    "POOLING": _pooling,
    "RESIZE": _resize,
}
