"""What a model file must fulfil to be lifted: named checks, each with one clear error.

Never refuses what both the ONNX checker and ONNX Runtime accept; what they say about the meaning of operators is left to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from onnx import FunctionProto, ModelProto, OperatorSetIdProto

from graphopt.errors import ModelError
from graphopt.ir import AttributeKind, FunctionKey, Model, Node, OpSchema, find_schema
from graphopt.serde.text import checked_name

__all__ = ["OperatorChecks", "check_functions", "check_model", "functions_by_key", "node_place", "opsets_from_proto"]

_STANDARD_DOMAINS = ("", "ai.onnx.ml")
_FIRST_IR_VERSION_WITH_OPSETS = 3


def check_model(proto: ModelProto) -> None:
    """Refuse what is no model, or none that can be kept.

    Raises:
        ModelError: if there is no graph, no IR version, or training information.
    """
    if not proto.HasField("graph"):
        raise ModelError("the model has no graph; check that this is a complete ONNX model")
    if proto.ir_version < 1:
        raise ModelError(f"the model states IR version {proto.ir_version}, expected 1 or more; set ir_version")
    if proto.training_info:
        raise ModelError(
            "the model carries training information (training_info), which graphopt can't keep; "
            "export it for inference, or clear the field"
        )


def opsets_from_proto(
    protos: Iterable[OperatorSetIdProto], ir_version: int, where: str, or_else: dict[str, int] | None = None
) -> dict[str, int]:
    """Operator set version by domain; ``ai.onnx`` is the default domain.

    Args:
        protos: the imports; the last one of a domain counts.
        ir_version: of the model; before version 3 a model without imports means opset 1.
        where: what imports, for errors.
        or_else: what counts when there are no imports.

    Raises:
        ModelError: if there are no imports, or a version is no positive number.
    """
    found: dict[str, int] = {}
    for item in protos:
        domain = "" if item.domain == "ai.onnx" else checked_name(item.domain, where)
        if item.version < 1:
            raise ModelError(
                f"{where}: opset import {domain or 'ai.onnx'!r} has version {item.version}, expected 1 or more; fix the model"
            )
        found[domain] = item.version
    if found:
        return found
    if or_else is not None:
        return dict(or_else)
    if ir_version >= _FIRST_IR_VERSION_WITH_OPSETS:
        raise ModelError(f"{where} imports no operator set, expected at least one opset_import; add it to the model")
    return {"": 1}


@lru_cache(maxsize=1)
def _newest_versions() -> dict[str, int]:
    import onnx.defs

    return {domain: newest for domain, (_, newest) in onnx.defs.C.schema_version_map().items()}


def functions_by_key(proto: ModelProto) -> dict[FunctionKey, FunctionProto]:
    """The functions of a model by domain, name and overload.

    Raises:
        ModelError: if two have the same key.
    """
    found: dict[FunctionKey, FunctionProto] = {}
    for item in proto.functions:
        name = checked_name(item.name, "a function")
        domain = "" if item.domain == "ai.onnx" else checked_name(item.domain, f"function {name}")
        key = domain, name, checked_name(item.overload, f"function {name}")
        if key in found:
            raise ModelError(f"function {'::'.join(filter(None, key))} is defined twice; rename or remove one of them")
        found[key] = item
    return found


class OperatorChecks:
    """Checks nodes against the schemas of the operator sets that their model imports.

    Args:
        opsets: imported version by domain.
        calls: domain and name of the model's functions, whose calls have no schema.
    """

    def __init__(self, opsets: dict[str, int], calls: set[tuple[str, str]]) -> None:
        self._opsets = opsets
        self._calls = calls
        self._schemas: dict[str, OpSchema | None] = {}

    def check(self, node: Node) -> None:
        """Refuse a node that its operator's schema does not allow.

        Raises:
            ModelError: if the number of inputs or outputs is wrong, an attribute is unknown, missing or of another kind, or the operator
                set is newer than the installed ``onnx`` package.
        """
        op = node.op
        if op in self._schemas:
            schema = self._schemas[op]
        else:
            schema = self._schemas[op] = self._find(node)
        if schema is None:
            return
        count = len(node.inputs)
        if not schema.min_inputs <= count <= schema.max_inputs:
            raise ModelError(
                f"{_place(node)}: has {count} inputs, expected {_range(schema.min_inputs, schema.max_inputs)}; fix the model"
            )
        count = len(node.outputs)
        if not schema.min_outputs <= count <= schema.max_outputs:
            raise ModelError(
                f"{_place(node)}: has {count} outputs, expected {_range(schema.min_outputs, schema.max_outputs)}; fix the model"
            )
        specs = schema.attributes
        for name, attribute in node.attributes.items():
            spec = specs.get(name)
            if spec is None:
                if schema.domain in _STANDARD_DOMAINS and not name.startswith("__"):
                    raise ModelError(
                        f"{_place(node)}: has no attribute {name!r} at opset {self._opsets[node.domain]}, "
                        f"expected one of: {', '.join(sorted(specs)) or 'none'}; fix the model"
                    )
            elif attribute.kind != spec.kind and spec.kind is not AttributeKind.UNDEFINED and attribute.kind:
                raise ModelError(
                    f"{_place(node)}: attribute {name!r} is {attribute.kind.name}, expected {spec.kind.name}; fix the model"
                )
        if len(node.attributes) < len(specs):
            for name, spec in specs.items():
                if spec.required and name not in node.attributes:
                    raise ModelError(
                        f"{_place(node)}: attribute {name!r} is missing, expected {spec.kind.name}; add it"
                    )

    def _find(self, node: Node) -> OpSchema | None:
        checked_name(node.op_type, _place(node))
        checked_name(node.domain, _place(node))
        if (node.domain, node.op_type) in self._calls:
            return None
        version = self._opsets.get(node.domain)
        if version is None:
            if node.domain:
                return None  # an unknown operator of an unknown domain is kept as it is
            raise ModelError(
                f"{_place(node)}: the model imports no operator set of the domain ai.onnx, expected an opset_import; add it"
            )
        newest = _newest_versions().get(node.domain) if node.domain in _STANDARD_DOMAINS else None
        if newest is not None and version > newest:
            raise ModelError(
                f"the model imports opset {version} of {node.domain or 'ai.onnx'}, but the installed onnx package knows "
                f"up to {newest}; update onnx, or convert the model down"
            )
        return find_schema(node.domain, node.op_type, version)


def node_place(name: str, op: str, outputs: Iterable[str]) -> str:
    """How an error names a node: by its name, or by what it makes.

    Example:
        >>> node_place("", "Relu", ["", "y"])
        "the node of 'y' (Relu)"
    """
    made = "" if name else next(filter(None, outputs), "")
    return f"the node of {made!r} ({op})" if made else f"node {name!r} ({op})"


def _place(node: Node) -> str:
    return node_place(node.name, node.op, (value.name for value in node.outputs))


def _range(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most > 1 << 30 else f"{least} to {most}"


def check_functions(model: Model) -> None:
    """Refuse functions that call themselves.

    Raises:
        ModelError: if a function calls itself, directly or through others.
    """
    if not model.functions:
        return
    calls = {
        key: [
            called
            for node in function.graph.walk()
            if (called := (node.domain, node.op_type, node.overload)) in model.functions
        ]
        for key, function in model.functions.items()
    }
    done: set[tuple[str, str, str]] = set()
    for start in calls:
        path: list[tuple[str, str, str]] = []
        todo = [(start, False)]
        while todo:
            key, leave = todo.pop()
            if leave:
                done.add(path.pop())
            elif key in path:
                names = " -> ".join("::".join(filter(None, item)) for item in [*path[path.index(key) :], key])
                raise ModelError(
                    f"function {'::'.join(filter(None, key))} calls itself ({names}); ONNX has no recursion"
                )
            elif key not in done:
                path.append(key)
                todo.append((key, True))
                todo.extend((called, False) for called in dict.fromkeys(calls[key]))
