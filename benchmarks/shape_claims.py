"""What types say of values, held against what a run gives: element types, ranks, sizes, expressions, and names that stay the same.

The sizes of inputs say what the model's names mean in a run. A name that inference made up means what the first value with it has; each
other one must have the same. Imports graphopt's IR, and ONNX Runtime to run a model with all values as outputs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from graphopt.ir import Dim, DType, SymbolicDim, TensorType, Type, Value

__all__ = ["all_values", "input_sizes", "is_full", "wrong_claims"]

Arrays = Mapping[str, npt.NDArray[Any]]


def input_sizes(inputs: Iterable[Value], feeds: Arrays) -> dict[str, int]:
    """Sizes of the names, and of the nameless dimensions, of a model's inputs in one run."""
    sizes: dict[str, int] = {}
    for value in inputs:
        given = feeds.get(value.name)
        for axis, dim in enumerate(value.shape or ()):
            if given is None or axis >= given.ndim:
                continue
            if dim is None:
                sizes[f"?{value.name}#{axis}"] = given.shape[axis]
            elif isinstance(dim, SymbolicDim) and dim.name is not None:
                sizes.setdefault(dim.name, given.shape[axis])
    return sizes


def wrong_claims(claims: Mapping[str, Type | None], found: Arrays, sizes: Mapping[str, int]) -> list[str]:
    """What is said of values and is not so.

    Args:
        claims: types by name, in the order in which the values are computed.
        found: what a run gave.
        sizes: what names mean in that run.
    """
    meant = dict(sizes)
    wrong: list[str] = []
    for name, claim in claims.items():
        array = found.get(name)
        if not isinstance(array, np.ndarray) or claim is None:
            continue
        if not isinstance(claim, TensorType):
            wrong.append(f"{name}: {claim}, found a tensor")
        elif claim.dtype not in (DType.UNDEFINED, DType.STRING) and claim.dtype.numpy != array.dtype:
            wrong.append(f"{name}: {claim}, found {array.dtype}")
        elif claim.shape is not None and len(claim.shape) != array.ndim:
            wrong.append(f"{name}: {claim}, found {array.shape}")
        elif claim.shape is not None:
            pairs = zip(claim.shape, array.shape, strict=True)
            if not all(_holds(dim, size, meant) for dim, size in pairs):
                wrong.append(f"{name}: {claim} {claim.shape}, found {array.shape} with {meant}")
    return wrong


def _holds(dim: Dim, size: int, meant: dict[str, int]) -> bool:
    if not isinstance(dim, SymbolicDim):
        return dim is None or dim == size
    if dim.name is not None:
        return meant.setdefault(dim.name, size) == size
    return not dim.symbols() <= meant.keys() or dim.evaluate(meant) == size


def is_full(claim: Type | None, known: frozenset[str]) -> bool:
    """Whether each size is a number or an expression over known names; other types say all there is to say."""
    if not isinstance(claim, TensorType):
        return claim is not None
    return claim.shape is not None and all(
        isinstance(dim, int) or (isinstance(dim, SymbolicDim) and dim.symbols() <= known) for dim in claim.shape
    )


def all_values(source: str | Path, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Each value of a model's main graph, as ONNX Runtime computes it with its optimizer off."""
    import onnxruntime as ort

    model = onnx.load(source)
    known = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in known:
                known.add(name)
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "model.onnx")
        onnx.save(model, target)
        session = ort.InferenceSession(target, options, providers=["CPUExecutionProvider"])
        wanted = {item.name for item in session.get_inputs()} | {
            item.name for item in session.get_overridable_initializers()
        }
        given = {name: array for name, array in feeds.items() if name in wanted}
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, given), strict=True))
