"""Which inputs and outputs of a node change their type together, read from its operator's schema.

Inputs and outputs that a schema types by the same letter have to agree; those it types by themselves (the ``scales`` of Resize, float32
whatever the data are) never change, nor do outputs that are typed by an attribute, but those of Cast and ConstantOfShape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from graphopt.ir import DType, Node, OpSchema, Parameter, TensorType, Value

__all__ = ["Typed", "changeable"]

#: Operators of ONNX Runtime all of whose floats have one type.
_UNIFORM: Final = frozenset(
    {
        "Attention",
        "BiasAdd",
        "BiasGelu",
        "BiasSoftmax",
        "FastGelu",
        "FusedMatMul",
        "Gelu",
        "GroupQueryAttention",
        "MatMulNBits",
        "MultiHeadAttention",
        "QuickGelu",
        "RotaryEmbedding",
    }
)
_MICROSOFT: Final = "com.microsoft"
#: Outputs that are float32 by an attribute of their node, whatever the schema allows: the statistics of a normalization.
_STATISTICS: Final = frozenset({"LayerNormalization"})
#: Operators whose output has a type of its own that can be stated: by an attribute, or by a scale.
_TYPED: Final = frozenset({"Cast", "Constant", "ConstantOfShape", "DequantizeLinear"})
#: Operators whose output has the type of an input where none is stated, though the schema does not say so.
_LIKE: Final = frozenset({"Bernoulli", "EyeLike", "RandomNormalLike", "RandomUniformLike"})


@dataclass(frozen=True, slots=True)
class Typed:
    """Inputs and outputs of a node that can change from one type to another.

    Attributes:
        inputs: positions.
        outputs: positions.
    """

    inputs: frozenset[int]
    outputs: frozenset[int]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.inputs or self.outputs)


def changeable(node: Node, source: DType, goal: DType) -> Typed:
    """What of a node has type ``source``, and may have ``goal`` instead by its schema.

    Nothing of an operator without schema, or that takes or gives sequences.
    """
    if node.op in _LIKE or any(value is not None and not _is_tensor(value) for value in (*node.inputs, *node.outputs)):
        return Typed(frozenset(), frozenset())
    inputs = [(place, value) for place, value in enumerate(node.inputs) if value is not None and value.dtype is source]
    outputs = [(place, value) for place, value in enumerate(node.outputs) if value.dtype is source]
    schema = node.schema
    if schema is None:
        if node.domain != _MICROSOFT or node.op_type not in _UNIFORM:
            return Typed(frozenset(), frozenset())
        return Typed(frozenset(place for place, _value in inputs), frozenset(place for place, _value in outputs))
    kept = _kept_keys(node, schema, goal)
    if node.op not in _TYPED:
        kept |= {formal.type_key for formal in schema.outputs} - {formal.type_key for formal in schema.inputs}
    first = 1 if node.op in _STATISTICS else len(outputs)
    return Typed(
        frozenset(_places(inputs, schema.inputs, goal, kept)),
        frozenset(_places(outputs[:first], schema.outputs, goal, kept)),
    )


def _is_tensor(value: Value) -> bool:
    return value.type is None or isinstance(value.type, TensorType)


def _kept_keys(node: Node, schema: OpSchema, goal: DType) -> frozenset[str]:
    """Letters of which a part can't have the type, or has one that is not known."""
    kept = set()
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for place, value in enumerate(values):
            formal = _formal(formals, place)
            if formal is None or value is None:
                continue
            is_unknown = value.dtype is None and (value.is_used or value.producer is not node)
            if is_unknown or not _allows(formal, goal):
                kept.add(formal.type_key)
    return frozenset(kept)


def _places(
    values: list[tuple[int, Value]], formals: tuple[Parameter, ...], goal: DType, kept: frozenset[str]
) -> Iterator[int]:
    for place, _value in values:
        formal = _formal(formals, place)
        if formal is not None and _allows(formal, goal) and formal.type_key not in kept:
            yield place


def _formal(formals: tuple[Parameter, ...], place: int) -> Parameter | None:
    if place < len(formals):
        return formals[place]
    return formals[-1] if formals and formals[-1].variadic else None


def _allows(formal: Parameter, goal: DType) -> bool:
    return f"tensor({goal})" in formal.types
