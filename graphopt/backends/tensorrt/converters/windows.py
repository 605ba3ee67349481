"""Windows that slide: kernels, strides, dilations and paddings of convolutions and pooling, as TensorRT wants them.

It has two and three spatial axes; what has one gets another one of size 1. Paddings are explicit. A window that ``ceil_mode`` adds must
begin inside of the input or of the padding in front (ONNX since opset 19, and what runtimes did before), so what is padded behind is worked
out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.ir import Node

__all__ = ["Window", "one_dimensional", "window_of"]


@dataclass(frozen=True, slots=True)
class Window:
    """Where windows are.

    Attributes:
        kernel: size by spatial axis.
        strides: steps.
        dilations: distances within a window.
        before: padding in front.
        after: padding behind, what ``ceil_mode`` needs included.
        declared_after: padding behind that the node states.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    declared_after: tuple[int, ...]

    @property
    def is_padded_further(self) -> bool:
        """Whether ``ceil_mode`` needs more padding than is stated."""
        return any(mine > stated for mine, stated in zip(self.after, self.declared_after, strict=True))

    def widened(self) -> Window:
        """With a first spatial axis of size 1."""
        return Window(
            (1, *self.kernel), (1, *self.strides), (1, *self.dilations), (0, *self.before), (0, *self.after), (0, *self.declared_after)
        )  # fmt: skip


def window_of(e: Emitter, node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> Window:
    """The windows of a node.

    Args:
        e: for errors.
        node: a convolution or pooling.
        kernel: size by spatial axis.
        sizes: spatial sizes of the input, -1 where not known.

    Raises:
        UnsupportedOpError: if paddings depend on a size that is not known.
    """
    count = len(kernel)
    strides = node.ints_attr("strides") or (1,) * count
    dilations = node.ints_attr("dilations") or (1,) * count
    auto = node.str_attr("auto_pad") or "NOTSET"
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    if auto.startswith("SAME"):
        before, after = _same(e, auto, sizes, spans, strides)
    else:
        pads = node.ints_attr("pads") or (0,) * (2 * count)
        if auto == "VALID":
            pads = (0,) * (2 * count)
        before, after = list(pads[:count]), list(pads[count:])
    declared = tuple(after)
    if node.int_attr("ceil_mode", 0):
        after = [
            _with_last_window(e, size, span, step, front, back)
            for size, span, step, front, back in zip(sizes, spans, strides, before, after, strict=True)
        ]
    return Window(tuple(kernel), tuple(strides), tuple(dilations), tuple(before), tuple(after), declared)


def _same(
    e: Emitter, auto: str, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    before, after = [], []
    for size, span, step in zip(sizes, spans, strides, strict=True):
        if size == -1 and step != 1:
            raise e.fail(f"auto_pad {auto} of a size that is not known")
        total = span - 1 if size == -1 else max(0, (-(-size // step) - 1) * step + span - size)
        less, more = total // 2, total - total // 2
        before.append(less if auto == "SAME_UPPER" else more)
        after.append(more if auto == "SAME_UPPER" else less)
    return before, after


def _with_last_window(e: Emitter, size: int, span: int, step: int, before: int, after: int) -> int:
    """The padding behind with which the windows are those of ``ceil_mode``."""
    if step == 1:
        return after
    if size == -1:
        raise e.fail("ceil_mode of a size that is not known")
    count = -(-(size + before + after - span) // step) + 1
    if (count - 1) * step >= size + before:
        count -= 1
    return (
        max(after, (count - 1) * step + span - size - before)
        if count > (size + before + after - span) // step + 1
        else after
    )


def one_dimensional(tensor: Tensor, e: Emitter) -> Tensor:
    """[N, C, L] as [N, C, 1, L]."""
    return e.unsqueeze(tensor, [2])
