"""The backend for ONNX Runtime: its fused operators, and its limits on file format and operator set."""

from __future__ import annotations

from dataclasses import replace

from graphopt.backends.onnx.backend import OnnxBackend
from graphopt.backends.onnxruntime.targets import CPU
from graphopt.ir import Model, Node, find_schema
from graphopt.passes import PassContext

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend(OnnxBackend):
    """Emits ``ModelProto`` for ONNX Runtime on CPU."""

    name = "onnxruntime"
    target = replace(CPU, name="onnxruntime", backend="")

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
        opset, newest = node.opset or 0, self.target.max_opset
        if newest is not None and opset > newest:
            schema = find_schema("", node.op_type, opset)
            if schema is None or schema.since_version > newest:
                return f"{node.op_type} of opset {opset} is newer than opset {newest}, the newest that ONNX Runtime implements"
        return None
