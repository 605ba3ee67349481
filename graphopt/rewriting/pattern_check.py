"""Checks a pattern against the operator schemas when its module loads, so that a misspelling fails there and not in silence."""

from __future__ import annotations

from functools import lru_cache

from graphopt.errors import PatternError
from graphopt.ir import OpSchema, find_schema, is_known_domain, newest_opset
from graphopt.rewriting.pattern import Any, Const, OneOf, OpPattern, Pattern, Rest

__all__ = ["check_pattern"]


@lru_cache(maxsize=1024)
def _versions(domain: str, op_type: str) -> tuple[OpSchema, ...]:
    """All versions of an operator, newest first."""
    found: list[OpSchema] = []
    version = newest_opset() if not domain else 1 << 20
    while version >= 1:
        schema = find_schema(domain, op_type, version)
        if schema is None:
            break
        found.append(schema)
        version = schema.since_version - 1
    return tuple(found)


def check_pattern(pattern: Pattern, rule: str) -> tuple[OpPattern, ...]:
    """The operator patterns at the root, after checking everything inside.

    Raises:
        PatternError: if the root is no operator, or an operator, attribute or arity exists in no version of the schema, or a name
            means two things.
    """
    roots = pattern.choices if isinstance(pattern, OneOf) else (pattern,)
    checked: list[OpPattern] = []
    for root in roots:
        if not isinstance(root, OpPattern):
            raise PatternError(
                f"rule {rule!r}: the root is {root}, expected an operator pattern such as op.Relu(any_('x'))"
            )
        checked.append(root)
        names: dict[str, str] = {}
        for part in root.parts():
            _check_names(part, names, rule)
            if isinstance(part, OpPattern):
                for op in part.ops:
                    _check_op(part, op, rule)
    return tuple(checked)


def _check_names(part: Pattern, names: dict[str, str], rule: str) -> None:
    if isinstance(part, OneOf):
        return
    kind = type(part).__name__
    bound = [(part.name, kind)] if isinstance(part, OpPattern | Any | Const | Rest) and part.name else []
    if isinstance(part, OpPattern) and part.has_tail:
        bound.append((part._tail, "Rest"))
    for name, what in bound:
        old = names.setdefault(name, what)
        if old != what:
            raise PatternError(f"rule {rule!r}: name {name!r} stands for {old} and for {what}; use two names")


def _check_op(part: OpPattern, op: str, rule: str) -> None:
    domain, _, op_type = op.rpartition("::")
    if domain and not is_known_domain(domain):
        return  # a runtime's own operators: nobody registered schemas to check against
    versions = _versions(domain, op_type)
    if not versions:
        if domain:
            return
        raise PatternError(f"rule {rule!r}: no operator {op!r} in any opset; check the spelling")
    count = len(part.inputs)
    if all(count > schema.max_inputs for schema in versions):
        most = max(schema.max_inputs for schema in versions)
        raise PatternError(f"rule {rule!r}: {op} has at most {most} inputs, the pattern has {count}")
    for name, _test in part.attributes:
        if not any(name in schema.attributes for schema in versions):
            known = ", ".join(sorted({known for schema in versions for known in schema.attributes})) or "none"
            raise PatternError(f"rule {rule!r}: {op} has no attribute {name!r} in any opset; it has: {known}")
    if all(part.output >= schema.max_outputs for schema in versions):
        raise PatternError(f"rule {rule!r}: {op} has no output {part.output}")
