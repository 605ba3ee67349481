"""The backend for ONNX Runtime: its fused operators, and its limits on file format and operator set."""

from __future__ import annotations

from pathlib import Path

from graphopt.backends.base import Artifact
from graphopt.backends.onnx.backend import refuse_internal_ops
from graphopt.backends.onnx.files import save
from graphopt.ir import Model, Node, find_schema
from graphopt.passes import PassContext
from graphopt.serde import emit_model
from graphopt.target import Target

__all__ = ["OnnxRuntimeBackend"]

#: ONNX Runtime 1.31 reads file format versions up to 13 and official operator sets up to 26 (found by loading models of each).
_MAX_IR_VERSION = 13
_MAX_OPSET = 26


class OnnxRuntimeBackend:
    """Emits ``ModelProto`` for ONNX Runtime on CPU."""

    name = "onnxruntime"
    target = Target(
        "onnxruntime",
        max_opset=_MAX_OPSET,
        max_ir_version=_MAX_IR_VERSION,
        domains=frozenset({"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}),
        fused_ops=frozenset({"ConvActivation"}),
    )

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """ONNX Runtime's fused operators in the place of graphopt's own."""
        return "legalize-onnxruntime"

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
        """Operators up to the newest operator set that ONNX Runtime implements; whether it has each kernel is seen when it loads."""
        if node.domain:
            return (
                None
                if node.domain in self.target.domains
                else f"ONNX Runtime has no operators of domain {node.domain!r}"
            )
        opset = node.opset or 0
        if opset > _MAX_OPSET:
            schema = find_schema("", node.op_type, opset)
            if schema is None or schema.since_version > _MAX_OPSET:
                return f"{node.op_type} of opset {opset} is newer than opset {_MAX_OPSET}, the newest that ONNX Runtime implements"
        return None
