"""What each kind of layer computes: functions of an evaluation, a layer and the arrays of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from graphopt.ir import Array
from graphopt.testing.tensorrt.kernels import arithmetic, images, indexing, movement, quantizing
from graphopt.testing.tensorrt.reading import Item

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["KERNELS", "Kernel"]

Kernel = Callable[["Evaluation", Item, "Sequence[Any]"], "Array | tuple[Array, ...]"]

#: By the name of their ``LayerType``.
KERNELS: Final[Mapping[str, Kernel]] = {
    **arithmetic.KERNELS,
    **images.KERNELS,
    **indexing.KERNELS,
    **movement.KERNELS,
    **quantizing.KERNELS,
}
