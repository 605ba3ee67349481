"""The backend for plain ONNX: standard operators, any runtime."""

from __future__ import annotations

from graphopt.backends.base import Artifact
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Model, Node
from graphopt.passes import PassContext
from graphopt.serde import emit_model
from graphopt.target import Target

__all__ = ["OnnxBackend"]

#: Domain of operators that only graphopt knows; none may be left in a file.
_INTERNAL_DOMAIN = "graphopt"


class OnnxBackend:
    """Emits ``ModelProto`` for any runtime."""

    name = "onnx"
    target = Target("onnx")

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """Standard operators in the place of graphopt's own."""
        return "legalize-onnx"

    def emit(self, model: Model) -> Artifact:
        """The model's message.

        Raises:
            UnsupportedOpError: if an operator of the domain ``graphopt`` is left.
        """
        state_imports(model)
        return Artifact("onnx", proto=emit_model(model))

    def supports(self, node: Node) -> str | None:
        """Any operator but those of the domain ``graphopt``."""
        return _refusal(node)


def _refusal(node: Node) -> str | None:
    return f"{node.op} is internal to graphopt" if node.domain == _INTERNAL_DOMAIN else None


def state_imports(model: Model, versions: dict[str, int] | None = None) -> None:
    """Import the domains that rewrites brought in.

    Args:
        model: edited: its imports, and those of its functions.
        versions: version by domain; 1 for others.

    Raises:
        UnsupportedOpError: if an operator of the domain ``graphopt`` is left.
    """
    for owner in model.owners():
        for node in owner.graph.walk():
            if node.domain in owner.opset_imports:
                continue
            if node.domain == _INTERNAL_DOMAIN:
                raise UnsupportedOpError(f"node {node.name!r}: {_refusal(node)} and was not legalized; report this")
            owner.opset_imports[node.domain] = (versions or {}).get(node.domain, 1)
