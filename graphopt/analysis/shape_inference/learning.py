"""Classical machine learning (domain ``ai.onnx.ml``), and what is left: sequences' lengths, text, sampling of images."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.broadcasting import broadcast_shapes
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Constant, Dim, DType, Node, TensorType, Type

__all__ = ["FUNCTIONS"]


def _floats_like(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.FLOAT, shape_at(node, facts, 0)),)


def _rows(node: Node, facts: Facts) -> Dim:
    shape = shape_at(node, facts, 0)
    return shape[0] if shape is not None and len(shape) == 2 else None


def _classifier(node: Node, facts: Facts) -> Sequence[Type | None]:
    """A label and the scores of all classes for each row; runtimes add a column where there is one class or two."""
    rows, count = _rows(node, facts), 0
    dtype = DType.INT64
    for name in ("classlabels_strings", "classlabels_ints", "classlabels_int64s"):
        stated = node.attributes.get(name)
        if stated is not None and isinstance(stated.value, tuple) and stated.value:
            count = len(stated.value)
            dtype = DType.STRING if name == "classlabels_strings" else DType.INT64
            break
    found = (TensorType(dtype, (rows,)), TensorType(DType.FLOAT, (rows, count if count > 2 else None)))
    return found[: len(node.outputs)]


def _regressor(targets: str) -> ShapeFunction:
    def infer(node: Node, facts: Facts) -> Sequence[Type | None]:
        count = node.attributes.get(targets)
        size = count.value if count is not None and isinstance(count.value, int) else None
        return (TensorType(DType.FLOAT, (_rows(node, facts), size)),)

    return infer


_VALUES = {"values_floats": DType.FLOAT, "values_int64s": DType.INT64, "values_strings": DType.STRING}


def _label_encoder(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype: DType | None = None
    for name, attribute in node.attributes.items():
        if name == "values_tensor" and isinstance(attribute.value, Constant):
            dtype = attribute.value.dtype
        elif name in _VALUES:
            dtype = _VALUES[name]
    return (tensor(dtype, shape_at(node, facts, 0)),)


def _flag(_node: Node, _facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.BOOL, ()),)


def _length(_node: Node, _facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.INT64, ()),)


def _string_concat(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.STRING, broadcast_shapes([facts.shape(value) for value in node.inputs])),)


def _full_match(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (TensorType(DType.BOOL, shape_at(node, facts, 0)),)


def _grid_sample(node: Node, facts: Facts) -> Sequence[Type | None]:
    x, grid = shape_at(node, facts, 0), shape_at(node, facts, 1)
    known = x is not None and grid is not None and len(x) == len(grid) > 2
    return (tensor(dtype_at(node, 0), (*x[:2], *grid[1:-1]) if known and x is not None and grid is not None else None),)


FUNCTIONS: dict[str, ShapeFunction] = {
    **{f"ai.onnx.ml::{name}": _floats_like for name in ("Scaler", "Normalizer")},
    **{f"ai.onnx.ml::{name}": _classifier for name in ("LinearClassifier", "TreeEnsembleClassifier")},
    "ai.onnx.ml::LinearRegressor": _regressor("targets"),
    "ai.onnx.ml::TreeEnsembleRegressor": _regressor("n_targets"),
    "ai.onnx.ml::LabelEncoder": _label_encoder,
    "OptionalHasElement": _flag,
    "SequenceLength": _length,
    "StringConcat": _string_concat,
    "RegexFullMatch": _full_match,
    "GridSample": _grid_sample,
}
