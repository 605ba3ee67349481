"""Operators that OpenVINO lacks, in terms of those that it has.

* ``ai.onnx.ml.Scaler(x) -> Mul(Sub(Cast(x), offset), scale)``
* ``ai.onnx.ml.Binarizer(x) -> Cast(Greater(x, threshold))``
* ``ai.onnx.ml.ArrayFeatureExtractor(x, i) -> Gather(x, i)`` on the last axis
* ``ai.onnx.ml.LinearRegressor(x) -> Add(MatMul(x, coefficients), intercepts)`` without post-transform
* ``CumProd``, ``Det`` and the like have no such form and are refused by the backend.

Source: https://onnx.ai/onnx/operators/#ai-onnx-ml
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType
from graphopt.passes import Reassociates, RewritePass
from graphopt.rewriting import NoMatch, any_, op, rewrite

__all__ = ["LegalizeOpenVino"]

_ML = "ai.onnx.ml"


def _floats(node, name):
    """A list of floats in an attribute."""
    found = node.attrs.get(name) or ()
    return np.array(found, np.float32)


def _as_float(m, rw):
    """The input as float32, or why not."""
    x = m["x"]
    if x.dtype is None:
        return NoMatch("the element type of %s is not known", x.name)
    if x.dtype is DType.DOUBLE or x.dtype is DType.STRING:
        return NoMatch("%s is %s", x.name, x.dtype)
    return x if x.dtype is DType.FLOAT else rw.new("Cast", x, to=int(DType.FLOAT))


@rewrite(op[f"{_ML}::Scaler"](any_("x")))
def expand_scaler(m, rw):
    """Scaler(x) -> Mul(Sub(x, offset), scale). Exact: that is its definition."""
    x = _as_float(m, rw)
    if isinstance(x, NoMatch):
        return x
    return rw.new("Mul", rw.new("Sub", x, _floats(m.root, "offset")), _floats(m.root, "scale"))


@rewrite(op[f"{_ML}::Binarizer"](any_("x")))
def expand_binarizer(m, rw):
    """Binarizer(x) -> Cast(Greater(x, threshold)). Exact."""
    dtype = m["x"].dtype
    if dtype is not DType.FLOAT:
        return NoMatch("%s is %s, expected float32", m["x"].name, dtype)
    threshold = np.array(m.root.float_attr("threshold", 0.0), np.float32)
    return rw.new("Cast", rw.new("Greater", m["x"], threshold), to=int(dtype))


@rewrite(op[f"{_ML}::ArrayFeatureExtractor"](any_("x"), any_("indices")))
def expand_array_feature_extractor(m, rw):
    """ArrayFeatureExtractor(x, i) -> Gather(x, Reshape(i, [-1])) on the last axis; a vector gives a matrix of one row. Exact."""
    rank = m["x"].rank
    if not rank:
        return NoMatch("the rank of %s is not known, or 0", m["x"].name)
    flat = rw.new("Reshape", m["indices"], np.array([-1], np.int64))
    found = rw.new("Gather", m["x"], flat, axis=-1)
    return found if rank > 1 else rw.new("Reshape", found, np.array([1, -1], np.int64))


@rewrite(op[f"{_ML}::LinearRegressor"](any_("x")), numerics=Reassociates(1e-5))
def expand_linear_regressor(m, rw):
    """LinearRegressor(x) -> MatMul(x, coefficients') + intercepts. Sums run in another order."""
    if m.root.str_attr("post_transform", "NONE") != "NONE":
        return NoMatch("post_transform is %s", m.root.str_attr("post_transform", "NONE"))
    if m["x"].rank != 2:
        return NoMatch("%s has %s axes, expected 2", m["x"].name, m["x"].rank)
    x = _as_float(m, rw)
    if isinstance(x, NoMatch):
        return x
    weights = _floats(m.root, "coefficients").reshape(m.root.int_attr("targets", 1), -1)
    product = rw.new("MatMul", x, np.ascontiguousarray(weights.T))
    intercepts = _floats(m.root, "intercepts")
    return rw.new("Add", product, intercepts) if intercepts.size else product


@dataclass(frozen=True)
class LegalizeOpenVino(RewritePass):
    """Put operators that OpenVINO has in the place of those that it lacks."""

    name: ClassVar[str] = "legalize-openvino"
    rules: ClassVar = (
        expand_scaler,
        expand_binarizer,
        expand_array_feature_extractor,
        expand_linear_regressor,
    )
