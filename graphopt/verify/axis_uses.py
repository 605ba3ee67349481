"""How long the axes of an input are, told by the operators that it arrives at: convolutions, products, normalizations, classical models.

Each function notes what it sees in a ``Use`` and gives the values to follow from there.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir import Node
from graphopt.verify.following import Followed, Handler, Use, dims_of

__all__ = [
    "convolution",
    "features",
    "gemm",
    "layer_normalize",
    "linear",
    "normalize",
    "product",
    "recurrent",
    "trees",
]


def convolution(weight: int) -> Handler:
    """A convolution with its kernel at input ``weight``: channels, and how large an image must be."""

    def handle(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
        if position:
            return
        dims = dims_of(node, weight)
        if dims is not None and len(dims) > 2:
            group = node.int_attr("group", 1)
            transposed = "Transpose" in node.op_type
            channels = dims[0] if transposed else None if dims[1] is None else dims[1] * group
            use.size(here, 1, channels)
            dilations = node.ints_attr("dilations") or (1,) * (len(dims) - 2)
            for axis, (kernel, dilation) in enumerate(zip(dims[2:], dilations, strict=False)):
                if kernel is not None and not transposed:
                    use.at_least(here, axis + 2, (kernel - 1) * dilation + 1)
        axes = here.axes
        yield Followed(node.output, (axes[0],) + (None,) * (len(axes) - 1) if axes else None, same_elements=False)

    return handle


def product(left: int, right: int) -> Handler:
    """A matrix product whose factors are inputs ``left`` and ``right``."""

    def handle(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
        if position not in (left, right):
            return
        other = dims_of(node, right if position == left else left)
        if other is not None and len(other) >= 1:
            if position == left:
                use.size(here, -1, other[-2] if len(other) > 1 else other[0])
            else:
                use.size(here, -2 if here.axes is not None and len(here.axes) > 1 else -1, other[-1])
        axes = here.axes
        keep = axes is not None and position == left and other is not None and len(other) == 2
        yield Followed(node.output, (*axes[:-1], None) if keep and axes else None, same_elements=False)

    return handle


def gemm(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """The inner size of a matrix product."""
    if position == 0:
        dims = dims_of(node, 1)
        inner = 0 if node.int_attr("transA", 0) else 1
        if dims is not None and len(dims) == 2:
            use.size(here, inner, dims[1] if node.int_attr("transB", 0) else dims[0])
        axes = here.axes
        yield Followed(node.output, (axes[1 - inner], None) if axes and len(axes) == 2 else None, same_elements=False)


def normalize(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """As many channels as there are scales; variances are positive."""
    dims = dims_of(node, 1)
    if position == 0:
        use.size(here, 1, dims[0] if dims else None)
        yield Followed(node.output, here.axes, same_elements=False)
    elif position == 4:
        use.elements(here, "positive")


def layer_normalize(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """The last axes are those of the scales."""
    if position == 0:
        for back, dim in enumerate(reversed(dims_of(node, 1) or ()), 1):
            use.size(here, -back, None if dim == 1 else dim)
        yield Followed(node.output, here.axes, same_elements=False)


def recurrent(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Sizes of what goes in and of the initial states."""
    weights, recurrence = dims_of(node, 1), dims_of(node, 2)
    if position == 0 and weights is not None and len(weights) == 3:
        use.size(here, 2, weights[2] if node.domain == "" else None)
        yield Followed(node.output, None, same_elements=False)
    elif position == 4:
        use.elements(here, "count", 1, 2)
    elif position in (5, 6) and recurrence is not None and len(recurrence) == 3:
        use.size(here, 0, recurrence[0])
        use.size(here, 2, node.int_attr("hidden_size", 0) or recurrence[2])


def features(*names: str) -> Handler:
    """Classical models: as many features as an attribute has entries."""

    def handle(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
        for name in names:
            found = node.attr(name)
            if isinstance(found, tuple) and len(found) > 1:
                use.size(here, -1, len(found))
        yield Followed(node.output, here.axes, same_elements=False)

    return handle


def linear(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """As many features as there are coefficients for an output."""
    coefficients, rows = node.attr("coefficients"), node.attr("intercepts")
    if isinstance(coefficients, tuple):
        count = len(rows) if isinstance(rows, tuple) and rows else 1
        use.size(here, -1, len(coefficients) // count)
    yield from ()


def trees(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """At least as many features as the trees look at."""
    found = node.attr("nodes_featureids")
    if isinstance(found, tuple) and found and here.axes:
        use.at_least(here, len(here.axes) - 1, max(int(item) for item in found if isinstance(item, int)) + 1)
    yield from ()
