"""LSTM, GRU and RNN: the hidden size is one class of indices, which stands in each gate of each weight and in what is given."""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import Extent, product_of
from graphopt.analysis.dim_groups.following import AttributeSize, Following, RoleFunction
from graphopt.ir import Node

__all__ = ["FUNCTIONS"]


def _recurrent(gates: int, *, states: tuple[int, ...], peepholes: int | None = None) -> RoleFunction:
    """A network with weights [directions, gates * hidden, in]; ``states`` are inputs [directions, batch, hidden]."""

    def roles(node: Node, follow: Following) -> None:
        x, w, r = (follow.axes(node.input_at(index)) for index in range(3))
        if x is None or w is None or r is None or node.int_attr("layout", 0) or len(x) != 3 or len(w) != 3:
            return
        if not follow.is_weight(node.input_at(1)) or not follow.is_weight(node.input_at(2)):
            return
        hidden = r[2]
        directions = follow.fixed(w[0].size, "it counts directions", node)

        def gated(count: int) -> Extent:
            return product_of(follow.fixed(count, "it counts gates", node), hidden)

        for axes, expected in ((w, [directions, gated(gates), x[2]]), (r, [directions, gated(gates), hidden])):
            follow.unify_axes(axes, expected, node)
        _optional(node, follow, 3, [directions, gated(2 * gates)])
        for index in states:
            _optional(node, follow, index, [directions, x[1], hidden])
        if peepholes is not None:
            _optional(node, follow, peepholes, [directions, gated(3)])
        follow.attributes.append(AttributeSize(node, "hidden_size", hidden))
        for index, axis, kind in ((1, 1, "out"), (1, 2, "in"), (2, 1, "out"), (2, 2, "in")):
            follow.role(node.input_at(index), axis, kind, node)
        if node.outputs:
            follow.give(node.outputs[0], [x[0], directions, x[1], hidden])
        for output in node.outputs[1:]:
            follow.give(output, [directions, x[1], hidden])

    return roles


def _dynamic_lstm(node: Node, follow: Following) -> None:
    """``DynamicQuantizeLSTM``: weights [directions, in, 4 * hidden] of integers, scales of each direction or also of each column."""
    x, w, r = (follow.axes(node.input_at(index)) for index in range(3))
    size = node.int_attr("hidden_size", 0)
    if x is None or w is None or r is None or len(x) != 3 or len(w) != 3 or len(r) != 3 or r[1].size != size:
        return
    if not follow.is_weight(node.input_at(1)) or not follow.is_weight(node.input_at(2)):
        return
    hidden, directions = r[1], follow.fixed(w[0].size, "it counts directions", node)

    def gated(count: int) -> Extent:
        return product_of(follow.fixed(count, "it counts gates", node), hidden)

    columns = gated(4)
    follow.unify_axes([*w, *r], [directions, x[2], columns, directions, hidden, columns], node)
    _optional(node, follow, 3, [directions, gated(8)])
    for index in (5, 6):
        _optional(node, follow, index, [directions, x[1], hidden])
    _optional(node, follow, 7, [directions, gated(3)])
    for index in range(8, 12):
        scale = follow.axes(node.input_at(index))
        _optional(node, follow, index, [directions, columns] if scale is not None and len(scale) == 2 else [directions])
    follow.attributes.append(AttributeSize(node, "hidden_size", hidden))
    for index, axis, kind in ((1, 2, "out"), (1, 1, "in"), (2, 2, "out"), (2, 1, "in")):
        follow.role(node.input_at(index), axis, kind, node)
    for number, output in enumerate(node.outputs):
        follow.give(output, [x[0], directions, x[1], hidden] if number == 0 else [directions, x[1], hidden])


def _optional(node: Node, follow: Following, index: int, expected: list[Extent]) -> None:
    axes = follow.axes(node.input_at(index))
    if axes is not None and len(axes) == len(expected):
        follow.unify_axes(axes, expected, node)
    elif node.input_at(index) is not None:
        for extent in expected:
            follow.freeze(extent, "the rank of an operand is unknown", node)


FUNCTIONS: dict[str, RoleFunction] = {
    "LSTM": _recurrent(4, states=(5, 6), peepholes=7),
    "GRU": _recurrent(3, states=(5,)),
    "RNN": _recurrent(1, states=(5,)),
    "com.microsoft::DynamicQuantizeLSTM": _dynamic_lstm,
}
