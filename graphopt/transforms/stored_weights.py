"""How weights stand in the file: as all their numbers, or as those that are not zero with their indices.

A sparse initializer takes 8 bytes for each index beside the number, so it is smaller where more than two thirds of float32 weights are zero
(eight ninths of int8 ones). What is computed is the same, and takes the same time and memory: runtimes that read sparse initializers make
them dense when they load the model. Of those tried here ONNX Runtime does; OpenVINO, TensorRT's parser and the reference evaluator of ONNX
refuse the model, so a target must say that it reads them (``sparse_initializers``). Put it last: passes leave sparse weights alone.

Source: ``SparseTensorProto`` in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (indices of int64, linear, ascending).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from graphopt.ir import Array, Constant, DType, Graph, Model, SparseData, Value
from graphopt.passes import Pass, PassContext, PassResult

__all__ = ["StoreWeights", "sparse_form"]

#: What the parts of a sparse tensor take in a file beside their numbers, about.
_OVERHEAD: Final = 64
#: Bytes of the constants that are looked at.
_SPARSE_FROM: Final = 1024
#: The first version of the file format that has sparse initializers.
_IR_VERSION: Final = 6
#: They stand in the model's message, which has a limit of 2 GiB.
_MOST_BYTES: Final = 1 << 30
_INDEX_BYTES: Final = 8


def sparse_form(array: Array) -> SparseData:
    """The elements of an array that have a bit set, with their linear indices; so minus zero is kept.

    Args:
        array: any shape but that of a scalar, elements of whole bytes.

    Returns:
        Values and int64 indices, both [NNZ], ascending.

    Example:
        >>> found = sparse_form(np.array([[0, 3], [0, -1]], np.int8))
        >>> found.values.numpy().tolist(), found.indices.numpy().tolist()
        ([3, -1], [1, 3])
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    indices = np.flatnonzero(_bits(flat))
    return SparseData(Constant(flat[indices]), Constant(indices.astype(np.int64)), array.shape)


def _bits(flat: Array) -> Array:
    """The same bits as unsigned integers of the same width."""
    return flat.view(np.dtype(f"u{flat.dtype.itemsize}"))


@dataclass(frozen=True)
class StoreWeights(Pass):
    """Store mostly zero weights as sparse initializers, or all weights as dense ones.

    Attributes:
        form: ``sparse`` where that is smaller and the target reads it, or ``dense`` for all.
    """

    name: ClassVar[str] = "store-weights"
    idempotent: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = True
    needs_types: ClassVar[bool] = False
    per_function: ClassVar[bool] = False
    may_change: ClassVar[tuple[str, ...]] = ("ir_version",)
    form: Literal["sparse", "dense"] = "sparse"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Store the initializers of a graph and the graphs inside it anew."""
        saved = count = 0
        for value, constant in self._made(graph, ctx):
            if not ctx.applications.admits(self.name, value.name):
                continue
            assert value.const is not None, "it is an initializer"
            saved += value.const.nbytes - constant.nbytes
            value.const = constant
            ctx.applications.record(self.name, value.name)
            count += 1
        if count:
            graph.touch()
        if count and self.form == "sparse" and isinstance(graph.owner, Model):
            graph.owner.ir_version = max(graph.owner.ir_version, _IR_VERSION)
        return PassResult(changed=count > 0, stats={"weights": count, "saved bytes": saved} if count else {})

    def _made(self, graph: Graph, ctx: PassContext) -> Iterator[tuple[Value, Constant]]:
        if self.form == "sparse" and not ctx.target.sparse_initializers:
            return
        left = _MOST_BYTES
        for inner in list(graph.walk_graphs()):
            for value in inner.initializers():
                constant = value.const
                if constant is None or value.is_input:
                    continue
                if self.form == "dense":
                    if constant.is_sparse:
                        yield value, Constant(constant.numpy())
                    continue
                if not _may_be_sparse(constant):
                    continue
                array = constant.numpy()
                nonzero = int(np.count_nonzero(_bits(np.ascontiguousarray(array).reshape(-1))))
                size = nonzero * (array.itemsize + _INDEX_BYTES) + _OVERHEAD
                if size < constant.nbytes and size <= left:
                    left -= size
                    yield value, Constant(sparse_form(array))


def _may_be_sparse(constant: Constant) -> bool:
    """Whether it is worth a look, and runtimes read the type: real numbers of whole bytes, in tensors that have an axis."""
    dtype = constant.dtype
    if constant.is_sparse or not constant.ndim or constant.nbytes < _SPARSE_FROM:
        return False
    return dtype.bits in (8, 16, 32, 64) and (dtype.is_float or dtype.is_integer or dtype is DType.BOOL)
