"""Nodes of operators that plugins bring: drawn from their schema and the roles of their dimensions, computed by their own kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import AttributeKind, DType, OpSchema, Parameter, find_schema
from graphopt.passes import OperatorDefinition
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.attribute_values import draw_attribute
from graphopt.testing.strategies.element_types import spelt
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["add_plugin_node", "plugin_operator"]

_KINDS = frozenset(
    {AttributeKind.INT, AttributeKind.FLOAT, AttributeKind.STRING, AttributeKind.INTS, AttributeKind.FLOATS}
)


@lru_cache(maxsize=1)
def _operators() -> Mapping[str, OperatorDefinition]:
    """Operators of all installed plugins, registered so that the checker knows them."""
    plugins = builtin_plugins()
    plugins.load()
    return {name: plugins.operators[name] for name in plugins.operators}


def plugin_operator(op: str) -> OperatorDefinition | None:
    """The operator ``domain::Name`` of an installed plugin that says what it computes; ``None`` if there is none."""
    found = _operators().get(op) if "::" in op else None
    return found if found is not None and found.kernel is not None else None


@dataclass
class _Shapes:
    """Sizes of the axes by their roles, the same ones in all operands."""

    scope: Scope
    sizes: dict[str, int] = field(default_factory=dict)
    rest: tuple[int, ...] | None = None

    def learn(self, roles: tuple[str, ...], shape: tuple[int, ...]) -> bool:
        """Take sizes from an operand that is there; ``False`` if it contradicts them."""
        fixed = [role for role in roles if role != "..."]
        if len(shape) < len(fixed) or ("..." not in roles and len(shape) != len(fixed)):
            return False
        place = roles.index("...") if "..." in roles else len(roles)
        tail = len(roles) - place - 1
        middle = shape[place : len(shape) - tail] if "..." in roles else ()
        ends = (*shape[:place], *shape[len(shape) - tail :]) if "..." in roles else shape
        if "..." in roles and self.rest not in (None, middle):
            return False
        if any(self.sizes.get(role, size) != size for role, size in zip(fixed, ends, strict=True)):
            return False
        self.sizes |= dict(zip(fixed, ends, strict=True))
        self.rest = middle if "..." in roles else self.rest
        return True

    def make(self, roles: tuple[str, ...]) -> tuple[int, ...]:
        """A shape for roles, with sizes drawn for those that are new."""
        choices = self.scope.choices
        shape: list[int] = []
        for role in roles:
            if role != "...":
                shape.append(self.sizes.setdefault(role, choices.of((2, 1, 3))))
                continue
            if self.rest is None:
                self.rest = tuple(choices.of((2, 1, 3)) for _ in range(choices.integer(0, 2)))
            shape += self.rest
        return tuple(shape)


def add_plugin_node(
    scope: Scope,
    op: str,
    *,
    given: Mapping[int, str] | None = None,
    constant: frozenset[int] = frozenset(),
    attributes: Mapping[str, object] | None = None,
) -> list[str]:
    """Add a node of a plugin's operator; its kernel says what numbers come out.

    Args:
        scope: where.
        op: ``domain::Name``.
        given: names of operands that are decided, by position.
        constant: positions of operands that must be constant.
        attributes: that are decided.

    Raises:
        RefusedError: if the operator is unknown, or its kernel does not take what was drawn.
    """
    definition = plugin_operator(op)
    if definition is None or definition.kernel is None:
        raise RefusedError(f"{op}: no installed plugin says what it computes")
    schema = find_schema(definition.schema.domain, definition.schema.name, definition.schema.since_version)
    assert schema is not None, "operators of plugins are registered when plugins are loaded"
    names = _operands(scope, schema, definition, dict(given or {}), constant)
    stated = _attributes(scope, schema) | dict(attributes or {})
    arrays = [None if name is None else scope.arrays[name] for name in names]
    try:
        with np.errstate(all="ignore"):
            found = definition.kernel(*arrays, **{name: value for name, value in stated.items() if value is not None})
    except Exception as err:  # the plugin border: whatever a kernel raises means that it takes no such operands
        raise RefusedError(f"{op}: {type(err).__name__}: {err}") from err
    scope.world.imports[schema.domain] = schema.since_version
    return scope.append(
        schema.op_type, names, found if isinstance(found, tuple) else (found,), domain=schema.domain, attributes=stated
    )


def _operands(
    scope: Scope, schema: OpSchema, definition: OperatorDefinition, given: dict[int, str], constant: frozenset[int]
) -> list[str | None]:
    shapes, bound = _Shapes(scope), dict[str, DType]()
    for index, name in given.items():
        _bind(schema.inputs[index], dtype_of(scope.arrays[name]), bound)
        if not shapes.learn(_roles(definition, schema.inputs[index]), scope.arrays[name].shape):
            raise RefusedError(f"{schema.op_type}: sizes of input {index} contradict others")
    found: list[str | None] = []
    for index, formal in enumerate(schema.inputs):
        if index in given:
            found.append(given[index])
        elif formal.optional and index not in constant and scope.choices.chance(0.5):
            found.append(None)
        else:
            found.append(
                _operand(scope, formal, _roles(definition, formal), shapes, bound, needs_constant=index in constant)
            )
    return found


def _operand(
    scope: Scope,
    formal: Parameter,
    roles: tuple[str, ...],
    shapes: _Shapes,
    bound: dict[str, DType],
    *,
    needs_constant: bool,
) -> str:
    allowed = frozenset({bound[formal.type_key]}) if formal.type_key in bound else spelt(formal.types)
    if not needs_constant and scope.choices.chance(0.5):
        name = scope.pick(lambda array: dtype_of(array) in allowed)
        if name is not None and shapes.learn(roles, scope.arrays[name].shape):
            _bind(formal, scope.dtype(name), bound)
            return name
    options = [item for item in scope.world.dtypes.items() if item[0] in allowed] or [
        (dtype, 1) for dtype in sorted(allowed)
    ]
    dtype = scope.choices.weighted(options)
    _bind(formal, dtype, bound)
    array = draw_array(scope.choices, dtype, shapes.make(roles), wild=scope.world.wild)
    return (None if needs_constant else scope.input(array)) or scope.constant(array)


def _bind(formal: Parameter, dtype: DType, bound: dict[str, DType]) -> None:
    if dtype not in spelt(formal.types) or bound.setdefault(formal.type_key, dtype) is not dtype:
        raise RefusedError(f"{dtype} is no element type for {formal.name!r}")


def _roles(definition: OperatorDefinition, formal: Parameter) -> tuple[str, ...]:
    return tuple(definition.dim_roles.get(formal.name, ("...",)))


def _attributes(scope: Scope, schema: OpSchema) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, spec in schema.attributes.items():
        value = (
            draw_attribute(scope.choices, spec)
            if spec.kind in _KINDS and (spec.required or scope.choices.chance(0.6))
            else None
        )
        if value is None and spec.required:
            raise RefusedError(f"{schema.op_type}: nothing is known of attribute {name!r}")
        if value is not None:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
