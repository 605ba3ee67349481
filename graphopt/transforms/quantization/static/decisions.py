"""What becomes of each node when a model is quantized statically, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from graphopt.ir import Node

__all__ = ["FLOAT_OUTPUT", "FORM", "STATIC", "Form", "PlacementDecision", "form_of"]

Form = Literal["static", "absorbed", "float"]

#: Metadata of a node that says in which form it computes, from ``assign-quantization`` to ``insert-qdq``.
FORM: Final = "graphopt.form"
#: It reads integers and gives integers: all who read it read what integers stand for.
STATIC: Final = "static"
#: It reads integers and gives floats.
FLOAT_OUTPUT: Final = "static-float-output"


@dataclass(frozen=True, slots=True)
class PlacementDecision:
    """What becomes of a node.

    Attributes:
        layer: its name, as :func:`graphopt.transforms.quantization.layers.layer_name` gives it.
        op: its operator.
        form: ``"static"`` on integers, ``"absorbed"`` left to the integer operator before it, ``"float"`` as it was.
        reason: why, in a few words.
    """

    layer: str
    op: str
    form: Form
    reason: str


def form_of(node: Node | None) -> str:
    """The form that a node is marked with, ``""`` for none."""
    return "" if node is None or node.metadata is None else node.metadata.get(FORM, "")
