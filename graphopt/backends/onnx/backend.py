"""The backend for plain ONNX: standard operators, any runtime."""

from __future__ import annotations

from pathlib import Path

from graphopt.backends.base import Artifact
from graphopt.backends.onnx.files import save
from graphopt.backends.targets import ONNX
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Model, Node
from graphopt.passes import PassContext
from graphopt.serde import emit_model

__all__ = ["OnnxBackend"]

#: Domain of operators that only graphopt knows; none may be left in a file.
_INTERNAL_DOMAIN = "graphopt"


class OnnxBackend:
    """Emits ``ModelProto`` for any runtime."""

    name = "onnx"
    target = ONNX

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """Standard operators in the place of graphopt's own."""
        return "legalize-onnx"

    def emit(self, model: Model) -> Artifact:
        """The model's message.

        Raises:
            UnsupportedOpError: if an operator of the domain ``graphopt`` is left.
        """
        refuse_internal_ops(model)
        return Artifact("onnx", proto=emit_model(model))

    def save(self, model: Model, path: Path, *, external_data: bool | None, force: bool) -> list[Path]:
        """Write the model's file, weights streamed; see :func:`graphopt.backends.onnx.files.save`."""
        return save(model, path, external_data=external_data, force=force)

    def supports(self, node: Node) -> str | None:
        """Any operator but those of the domain ``graphopt``."""
        return _refusal(node)


def _refusal(node: Node) -> str | None:
    return f"{node.op} is internal to graphopt" if node.domain == _INTERNAL_DOMAIN else None


def refuse_internal_ops(model: Model) -> None:
    """See that nothing is left that only graphopt knows.

    Raises:
        UnsupportedOpError: naming the first node of the domain ``graphopt``.
    """
    for owner in model.owners():
        if _INTERNAL_DOMAIN in owner.opset_imports:
            raise UnsupportedOpError(f"the model imports domain {_INTERNAL_DOMAIN!r}; legalize it before it is emitted")
