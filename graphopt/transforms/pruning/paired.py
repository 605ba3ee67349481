"""What a layer reads now beside what it gave before something was taken away, as sums of products.

Both are seen batch by batch, while the model and its reference run side by side; of both the same rows are taken, and rows wait until there
are enough of them for a product that is worth its while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Value
from graphopt.passes import Observer, Reference
from graphopt.transforms.statistics import LayerInput

__all__ = ["PairedMoments", "Target"]

Float64 = npt.NDArray[np.float64]
_Rows = npt.NDArray[np.floating[Any]]
#: Rows that are looked at, of each sample of a batch and of a batch.
_EACH: Final = 96
_MOST: Final = 4096
#: Rows for each column that are enough in all, and what is enough where columns are few.
_ENOUGH: Final = 16
_FEW: Final = 8192
#: Bytes of rows that wait to be multiplied.
_WAITING: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """What a layer is to give.

    Attributes:
        reference: where it gave that.
        name: of the tensor there: what the layer gave, or the sum of that with something else.
        beside: what is added to the layer's output now, if ``name`` is a sum: then the layer also makes up for what is lost there.
    """

    reference: Reference
    name: str
    beside: Value | None = None


class PairedMoments:
    """Sums of products of what a layer reads with itself, and with what it is to give.

    Args:
        layer: reads the rows.
        outputs: how many channels it gives.
        target: what it is to give.
        batches: how many will come, 0 if nobody knows: no more rows are taken of each than there need be in all.
        sums_only: whether the sums of rows are enough: of products only those with the column of ones are right then.
    """

    def __init__(
        self, layer: LayerInput, outputs: int, target: Target, batches: int = 0, *, sums_only: bool = False
    ) -> None:
        self._layer, self._outputs, self._target, self._sums_only = layer, outputs, target, sums_only
        self._most = -(-max(_ENOUGH * layer.columns, _FEW) // batches) if batches else _MOST
        self._turns = dict.fromkeys(("read", "given", "beside"), 0)
        self._seen: dict[str, _Rows] = {}
        self._waiting: list[tuple[_Rows, _Rows]] = []
        size = layer.columns + 1
        self._count = 0
        self._inputs: Float64 = np.zeros((layer.groups, size, size))
        self._targets: Float64 = np.zeros((layer.groups, size, outputs // layer.groups))

    @property
    def count(self) -> int:
        """Rows that were seen."""
        self._multiply()
        return self._count

    @property
    def inputs(self) -> Float64:
        """float64 [groups, columns + 1, columns + 1]; the last column is 1, for the bias."""
        self._multiply()
        return self._inputs

    @property
    def targets(self) -> Float64:
        """float64 [groups, columns + 1, outputs of a group]."""
        self._multiply()
        return self._targets

    def observers(self, names: Mapping[str, str]) -> dict[str, Observer]:
        """Who is to see which tensor of the joined model.

        Args:
            names: of the reference's tensors in it.
        """
        parts: dict[str, list[str]] = {self._layer.value.name: ["read"]}
        parts.setdefault(names[self._target.name], []).append("given")
        if self._target.beside is not None:
            parts.setdefault(self._target.beside.name, []).append("beside")
        return {name: _Part(self, roles) for name, roles in parts.items()}

    def take(self, role: str, array: Array) -> None:
        """One of the tensors of a batch; rows are taken from it at once, as it may be gone later."""
        turn = self._turns[role]
        self._turns[role] = turn + 1
        self._seen[role] = self._read(array, turn) if role == "read" else self._given(array, turn, role)
        if len(self._seen) == (2 if self._target.beside is None else 3):
            given, beside = self._seen["given"], self._seen.get("beside")
            self._waiting.append((self._seen["read"], given if beside is None else given - beside))
            self._seen = {}
            if sum(read.nbytes + given.nbytes for read, given in self._waiting) >= _WAITING:
                self._multiply()

    def _read(self, array: Array, turn: int) -> _Rows:
        """[groups, rows, columns] of what the layer reads."""
        turned = self._layer.node.op == "Gemm" and self._layer.node.int_attr("transA", 0)
        samples = array.shape[-1] if turned else len(array)
        return _single(self._layer.rows(array, self._limit(samples), turn))

    def _given(self, array: Array, turn: int, role: str) -> _Rows:
        """[rows, outputs] of what the layer is to give, or what is added to it: of the same places."""
        axis = 1 if self._layer.node.op == "Conv" else array.ndim - 1
        masks = self._target.reference.kept.get(self._target.name, {}) if role == "given" else {}
        others = {at: mask for at, mask in masks.items() if at != axis}
        for at, mask in others.items():
            array = np.compress(mask, array, at)
        rows = self._layer.output_rows(array, self._limit(len(array)), turn)
        return _single(np.compress(masks[axis], rows, 1) if axis in masks else rows)

    def _limit(self, samples: int) -> int:
        """Rows that are taken of a batch."""
        return min(_EACH * max(samples, 1), self._most)

    def _multiply(self) -> None:
        if not self._waiting:
            return
        read, given = (np.concatenate(parts, axis=-2) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        groups, count, _columns = read.shape
        rows = np.concatenate([read, np.ones((groups, count, 1), np.float32)], axis=2)
        wanted = given.reshape(count, groups, -1).swapaxes(0, 1)
        self._count += count
        if self._sums_only:
            self._inputs[:, -1] += rows.sum(axis=1, dtype=np.float64)
            self._targets[:, -1] += wanted.sum(axis=1, dtype=np.float64)
            return
        turned = rows.swapaxes(1, 2)
        self._inputs += turned @ rows
        self._targets += turned @ wanted


def _single(rows: Array) -> _Rows:
    """A copy as float32; float64 stays."""
    return np.array(rows, np.float64 if rows.dtype == np.float64 else np.float32)


class _Part:
    """Sees one of the tensors."""

    def __init__(self, pair: PairedMoments, roles: Sequence[str]) -> None:
        self._pair, self._roles = pair, roles

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        for role in self._roles:
            self._pair.take(role, array)
