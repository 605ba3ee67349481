"""What the elements of an input are, told by the operators that it arrives at: indices, counts, sizes, texts.

Each function notes what it sees in a ``Use`` and gives the values to follow from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from graphopt.ir import Node
from graphopt.verify.following import Followed, Handler, Use, combine, dims_of, numbers_of

__all__ = [
    "argument",
    "arguments",
    "divide",
    "embed",
    "gather",
    "gather_nd",
    "one_hot",
    "scatter",
    "texts",
]


def argument(
    role: str, position: int, low: int | None = None, high: int | None = None, then: Handler | None = None
) -> Handler:
    """An operator whose argument at ``position`` has a role; the others are handled by ``then``."""

    def handle(node: Node, where: int, here: Followed, use: Use) -> Iterable[Followed]:
        if where == position:
            use.elements(here, role, low, high)
            return ()
        return () if then is None else then(node, where, here, use)

    return handle


def arguments(roles: dict[int, tuple[str, int | None, int | None]], then: Handler | None = None) -> Handler:
    """An operator some of whose arguments have roles, each with its interval; the others are handled by ``then``."""

    def handle(node: Node, where: int, here: Followed, use: Use) -> Iterable[Followed]:
        if where in roles:
            use.elements(here, *roles[where])
            return ()
        return () if then is None else then(node, where, here, use)

    return handle


def gather(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Indices into an axis of known size; the data moves on."""
    if position == 0:
        axes = here.axes
        axis, rank = node.int_attr("axis", 0), len(axes) if axes is not None else 0
        indices = dims_of(node, 1)
        if axes is not None and indices is not None and node.op == "Gather" and -rank <= axis < rank:
            axis %= rank
            axes = (*axes[:axis], *(None,) * len(indices), *axes[axis + 1 :])
        else:
            axes = None
        yield replace(here, value=node.output, axes=axes)
    elif position == 1:
        data = dims_of(node, 0)
        axis = node.int_attr("axis", 0)
        size = data[axis] if data is not None and -len(data) <= axis < len(data) else None
        use.elements(here, "index", 0, None if size is None else size - 1)


def gather_nd(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Indices into several axes: the smallest of them counts."""
    if position == 1:
        known = [dim for dim in dims_of(node, 0) or () if dim is not None]
        use.elements(here, "index", 0, min(known) - 1 if known else None)
    elif position == 0:
        yield replace(here, value=node.output, axes=None)


def scatter(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Indices into what is written to."""
    if position == 1:
        data = dims_of(node, 0) or ()
        axis = node.int_attr("axis", 0)
        known = [dim for dim in data if dim is not None]
        if node.op != "ScatterND" and -len(data) <= axis < len(data):
            known = [dim for dim in (data[axis],) if dim is not None]
        use.elements(here, "index", 0, min(known) - 1 if known else None)
    elif position == 0:
        yield Followed(node.output, here.axes, same_elements=False)


def one_hot(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Indices below the depth."""
    if position == 0:
        depth = numbers_of(node, 1)
        use.elements(here, "index", 0, int(depth[0]) - 1 if depth else None)
    elif position == 1:
        use.elements(here, "count", 2, 8)
    yield from ()


def embed(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Rows of three embedding tables, and a mask."""
    table = {0: 2, 1: 4, 8: 3}.get(position)
    if table is not None:
        rows = (dims_of(node, table) or (None,))[0]
        use.elements(here, "index", 0, None if rows is None else rows - 1)
    elif position == 7:
        use.elements(here, "mask", 0, 1)
    yield from ()


def divide(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """A divisor is not zero."""
    if position == 1:
        use.elements(here, "positive", 1)
    yield from combine(node, position, here, use)


def texts(*names: str) -> Handler:
    """An operator that knows texts, in these attributes."""

    def handle(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
        for name in names:
            found = node.attr(name)
            if isinstance(found, tuple):
                use.texts += [item for item in found[:16] if isinstance(item, str)]
                use.landmarks += [float(item) for item in found[:4] if isinstance(item, int)]
        yield Followed(node.output, here.axes, same_elements=False)

    return handle
