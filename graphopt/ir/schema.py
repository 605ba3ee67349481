"""What an operator takes, gives and means: the one adapter on ``onnx.defs``.

Schemas are those of the installed ``onnx`` package plus what plugins registered there, so shape inference and the checker know the
same operators as graphopt does. Nothing of the ONNX specification is typed again here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphopt.ir.attributes import Attribute, AttributeKind, AttributeValue

if TYPE_CHECKING:
    import onnx.defs
    from onnx.onnx_cpp2py_export.shape_inference import InferenceContext

__all__ = [
    "AttributeSpec",
    "OpSchema",
    "Parameter",
    "find_schema",
    "forget_schemas",
    "is_known_domain",
    "newest_opset",
    "register_schema",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A formal input or output of an operator.

    Attributes:
        name: as in the specification.
        optional: whether it may be absent.
        variadic: whether any number of values may stand here.
        types: allowed types as ONNX spells them, such as ``tensor(float)``.
        type_key: name of the type constraint, equal for parameters that must agree.
    """

    name: str
    optional: bool
    variadic: bool
    types: frozenset[str]
    type_key: str


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """A formal attribute: its kind, whether it must be there, and its default (``None`` when there is none)."""

    name: str
    kind: AttributeKind
    required: bool
    default: AttributeValue


@dataclass(frozen=True, slots=True)
class OpSchema:
    """One version of one operator.

    Attributes:
        domain: ``""`` for the default domain.
        op_type: name.
        since_version: opset that introduced this version.
        inputs: formal inputs.
        outputs: formal outputs.
        attributes: formal attributes by name.
        min_inputs: fewest inputs.
        max_inputs: most inputs.
        min_outputs: fewest outputs.
        max_outputs: most outputs.
        deterministic: whether equal inputs always give equal outputs.
        deprecated: whether this version says that the operator must not be used.
        has_function: whether the specification gives a body in terms of other operators.
    """

    domain: str
    op_type: str
    since_version: int
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    attributes: dict[str, AttributeSpec]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    deterministic: bool
    deprecated: bool
    has_function: bool

    def attribute_default(self, name: str) -> AttributeValue:
        """The default of an attribute, ``None`` when it has none or does not exist."""
        spec = self.attributes.get(name)
        return None if spec is None else spec.default


#: Operators that draw numbers. ``onnx.defs`` marks If, Loop and Dropout as well, which are what their bodies and modes make them.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def _parameter(formal: onnx.defs.OpSchema.FormalParameter) -> Parameter:
    import onnx.defs  # lazily: importing onnx takes longer than all of graphopt

    options = onnx.defs.OpSchema.FormalParameterOption
    return Parameter(
        formal.name,
        formal.option == options.Optional,
        formal.option == options.Variadic,
        frozenset(formal.types),
        formal.type_str,
    )


def _default(attribute: onnx.defs.OpSchema.Attribute) -> AttributeValue:
    proto = attribute.default_value
    kind = AttributeKind(proto.type)
    match kind:
        case AttributeKind.INT:
            return proto.i
        case AttributeKind.FLOAT:
            return proto.f
        case AttributeKind.STRING:
            return bytes(proto.s).decode("utf-8", "surrogateescape")
        case AttributeKind.INTS:
            return tuple(proto.ints)
        case AttributeKind.FLOATS:
            return tuple(proto.floats)
        case AttributeKind.STRINGS:
            return tuple(bytes(item).decode("utf-8", "surrogateescape") for item in proto.strings)
        case _:
            return None


def _adapt(schema: Any) -> OpSchema:  # noqa: ANN401 - the type stubs of onnx.defs lack half of its members
    return OpSchema(
        domain=schema.domain,
        op_type=schema.name,
        since_version=schema.since_version,
        inputs=tuple(_parameter(item) for item in schema.inputs),
        outputs=tuple(_parameter(item) for item in schema.outputs),
        attributes={
            name: AttributeSpec(name, AttributeKind(item.type.value), item.required, _default(item))
            for name, item in schema.attributes.items()
        },
        min_inputs=schema.min_input,
        max_inputs=schema.max_input,
        min_outputs=schema.min_output,
        max_outputs=schema.max_output,
        deterministic=schema.name not in _RANDOM,
        deprecated=schema.deprecated,
        has_function=schema.has_function or schema.has_context_dependent_function,
    )


@lru_cache(maxsize=4096)
def find_schema(domain: str, op_type: str, opset: int) -> OpSchema | None:
    """The schema of an operator at an opset version, ``None`` when nobody registered one.

    Args:
        domain: ``""`` for the default domain.
        op_type: operator name.
        opset: version that the model imports for the domain.
    """
    import onnx.defs  # lazily, as above

    try:
        return _adapt(onnx.defs.get_schema(op_type, opset, domain))
    except onnx.defs.SchemaError:
        return None


def forget_schemas() -> None:
    """Forget cached schemas, after a plugin registered or removed some."""
    find_schema.cache_clear()
    is_known_domain.cache_clear()


def register_schema(schema: onnx.defs.OpSchema, infer: Callable[[InferenceContext], None] | None = None) -> None:
    """Make an operator known to shape inference, the checker and graphopt. The same one twice is fine.

    Args:
        schema: a schema outside of the domains of ONNX.
        infer: sets the types of the outputs.

    Raises:
        ValueError: if another schema has its name, domain and version.
    """
    import onnx.defs  # lazily, as above

    if infer is not None:
        schema.set_type_and_shape_inference_function(infer)
    try:
        onnx.defs.register_schema(schema)
    except onnx.defs.SchemaError as err:
        known = onnx.defs.get_schema(schema.name, schema.since_version, schema.domain)
        if _adapt(known) != _adapt(schema):
            raise ValueError(
                f"version {schema.since_version} of {schema.name!r} in domain {schema.domain!r} is registered already"
            ) from err
    forget_schemas()


@lru_cache(maxsize=256)
def is_known_domain(domain: str) -> bool:
    """Whether any operator of the domain has a schema."""
    import onnx.defs  # lazily, as above

    return any(schema.domain == domain for schema in onnx.defs.get_all_schemas())


def newest_opset() -> int:
    """The newest opset of the default domain that the installed ``onnx`` knows."""
    import onnx.defs  # lazily, as above

    return onnx.defs.onnx_opset_version()


def coerce_attributes(schema: OpSchema | None, values: dict[str, object]) -> dict[str, Attribute]:
    """Attributes from plain Python values, with the kinds that the schema states.

    Raises:
        ValueError: if the schema has no such attribute, or a value does not fit.
    """
    from graphopt.ir.attributes import make_attribute  # beside its only use

    found: dict[str, Attribute] = {}
    for name, value in values.items():
        if value is None:
            continue
        kind = None
        if schema is not None:
            spec = schema.attributes.get(name)
            if spec is None:
                known = ", ".join(sorted(schema.attributes)) or "none"
                raise ValueError(
                    f"{schema.op_type} has no attribute {name!r} at opset {schema.since_version}; it has: {known}"
                )
            kind = spec.kind
        try:
            found[name] = make_attribute(value, kind)
        except ValueError as err:
            raise ValueError(f"attribute {name!r}: {err}") from err
    return found
