"""Values of attributes, drawn from their schemas: what the operator reads in the specification, and numbers at the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from graphopt.ir import AttributeKind, AttributeSpec, AttributeValue
from graphopt.testing.strategies.choices import Choices

__all__ = ["attribute_candidates", "draw_attribute", "satisfying"]

#: Words that operators of the default domain understand, by attribute. The schemas do not list them.
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "mode": ("constant", "reflect", "edge", "nearest", "linear", "cubic", "DCR", "CRD"),
    "approximate": ("none", "tanh"),
    "direction": ("forward", "reverse", "bidirectional", "LEFT", "RIGHT"),
    "reduction": ("none", "add", "mul"),
    "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    "nearest_mode": ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"),
    "padding_mode": ("zeros", "border", "reflection"),
}
_INTS: Final = (0, 1, 2, -1, 3, -2)
_FLOATS: Final = (0.0, 1.0, 0.5, -1.0, 2.0, 1e-5)
_LISTS: Final = (
    (1,),
    (0,),
    (0, 1),
    (1, 1),
    (2, 2),
    (1, 0),
    (0, 0, 0, 0),
    (1, 1, 1, 1),
    (-1,),
    (0, 2, 1),
    (0, 2, 3, 1),
    (),
)


def attribute_candidates(spec: AttributeSpec) -> Sequence[AttributeValue]:
    """Values that an attribute may have, its default first; none where it holds a graph or a tensor."""
    options: Sequence[AttributeValue]
    match spec.kind:
        case AttributeKind.INT:
            options = _INTS
        case AttributeKind.FLOAT:
            options = _FLOATS
        case AttributeKind.STRING:
            options = _WORDS.get(spec.name, ())
        case AttributeKind.INTS:
            options = _LISTS
        case AttributeKind.FLOATS:
            options = ((1.0, 1.0), (0.5,), (1.0, 1.0, 2.0, 2.0))
        case _:
            options = ()
    if spec.default is None:
        return tuple(options)
    return (spec.default, *(item for item in options if item != spec.default))


def draw_attribute(choices: Choices, spec: AttributeSpec) -> AttributeValue:
    """A value of an attribute, ``None`` for one that nothing can be drawn of, or that is left out."""
    options = attribute_candidates(spec)
    return choices.of(options) if options and (spec.required or choices.chance(0.8)) else None


def satisfying(
    spec: AttributeSpec, test: AttributeValue | Callable[[AttributeValue], bool]
) -> Sequence[AttributeValue]:
    """Values that a pattern's test of an attribute lets through."""
    if not callable(test):
        return (test,)
    return [value for value in attribute_candidates(spec) if test(value)]
