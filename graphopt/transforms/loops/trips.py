"""How often a Loop or Scan runs, as far as constants and types tell.

Source: https://onnx.ai/onnx/operators/onnx__Loop.html and onnx__Scan.html
"""

from __future__ import annotations

from typing import cast

from graphopt.ir import Graph, Node, Value, integer_of

__all__ = ["body_of", "known_trips", "runs_at_least_once"]


def body_of(node: Node) -> Graph | None:
    """The body of a Loop or Scan, ``None`` for other nodes and for a body that is the attribute of a function."""
    attribute = node.attributes.get("body") if node.op in ("Loop", "Scan") else None
    return None if attribute is None or attribute.ref else cast(Graph, attribute.value)


def known_trips(node: Node, body: Graph) -> int | None:
    """How often a Loop runs if nothing but its trip count decides, ``None`` otherwise.

    Args:
        node: a Loop.
        body: its body.
    """
    trips = integer_of(node.input_at(0))
    condition = node.input_at(1)
    if trips is None or (condition is not None and integer_of(condition) != 1) or len(body.inputs) < 2:
        return None
    goes_on = body.outputs[0]
    while goes_on.producer is not None and goes_on.producer.op == "Identity":
        goes_on = cast(Value, goes_on.producer.inputs[0])
    if integer_of(goes_on) == 1 or (goes_on is body.inputs[1] and goes_on.const is None):
        return max(trips, 0)
    return None


def runs_at_least_once(node: Node) -> bool:
    """Whether a body is run in each run of the model."""
    if node.op == "Loop":
        trips, condition = node.input_at(0), node.input_at(1)
        return (trips is None or (integer_of(trips) or 0) > 0) and (condition is None or integer_of(condition) == 1)
    if node.op != "Scan" or (node.opset or 0) < 9:
        return False
    count = node.int_attr("num_scan_inputs", 0)
    axes = node.ints_attr("scan_input_axes") or (0,) * count
    scanned = node.inputs[len(node.inputs) - count :]
    if count < 1 or len(axes) != count:
        return False
    shape = None if scanned[0] is None else scanned[0].shape
    if shape is None or not -len(shape) <= axes[0] < len(shape):
        return False
    length = shape[axes[0]]
    return isinstance(length, int) and length > 0
