"""The backend for ONNX Runtime: its fused operators, and its limits on file format and operator set."""

from __future__ import annotations

from graphopt.backends.onnx.backend import OnnxBackend
from graphopt.backends.onnxruntime.kernels import InstalledKernels
from graphopt.ir import Model, Node, find_schema
from graphopt.passes import PassContext
from graphopt.target import Target

__all__ = ["OnnxRuntimeBackend"]

#: ONNX Runtime 1.31 and later read file format versions up to 13 and official operator sets up to 26 (found by loading models of each).
_MAX_IR_VERSION = 13
_MAX_OPSET = 26


class OnnxRuntimeBackend(OnnxBackend):
    """Emits ``ModelProto`` for ONNX Runtime on CPU."""

    name = "onnxruntime"
    target = Target(
        "onnxruntime",
        max_opset=_MAX_OPSET,
        max_ir_version=_MAX_IR_VERSION,
        domains=frozenset({"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}),
        fused_ops=frozenset({"ConvActivation"}),
        kernels=InstalledKernels(),
        doc="ONNX Runtime on CPU: standard operators, and its own of com.microsoft.",
    )

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """ONNX Runtime's fused operators in the place of graphopt's own."""
        return "legalize-onnxruntime"

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
