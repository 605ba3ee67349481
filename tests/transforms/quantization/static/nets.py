"""Convolutional nets and networks of products, drawn: layers, activations, residuals, joins, pools, moves, gates, in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto

from tests.transforms.harness import model

__all__ = ["conv_nets", "product_nets"]

_ACTIVATIONS = (
    "",
    "Relu({})",
    "Clip({}, c0, c6)",
    "LeakyRelu<alpha = 0.1>({})",
    "Sigmoid({})",
    "Tanh({})",
    "HardSigmoid({})",
)
_GATES = ("Sigmoid({})", "HardSigmoid({})")


class _Net:
    """A body that grows line by line."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"c0": np.float32(0), "c6": np.float32(2)}

    def line(self, text: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def weights(self, *shape: int) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = (self.rng.normal(size=shape) / np.sqrt(max(1, float(np.prod(shape[1:]))))).astype(
            np.float32
        )
        return name


@st.composite
def conv_nets(draw: st.DrawFn) -> ModelProto:
    """Nets of pictures with 4 channels; the output is what the last step gives, or the class scores behind a head."""
    net = _Net(draw(st.integers(0, 99)))
    known = ["x"]
    for _ in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(known[-3:]))
        kind = draw(
            st.sampled_from(("conv", "conv", "conv", "add", "concat", "pool", "move", "gate", "depthwise", "norm"))
        )
        match kind:
            case "conv" | "depthwise":
                group = 4 if kind == "depthwise" else draw(st.sampled_from((1, 2)))
                bias = f", {net.weights(4)}" if draw(st.booleans()) else ""
                weights = net.weights(4, 4 // group, 3, 3)
                made = net.line(f"Conv<pads = [1, 1, 1, 1], group = {group}>({source}, {weights}{bias})")
                activation = draw(st.sampled_from(_ACTIVATIONS))
                made = net.line(activation.format(made)) if activation else made
                if draw(st.booleans()):
                    made = net.line(f"Mul({made}, {net.line(draw(st.sampled_from(_GATES)).format(made))})")
            case "add":
                made = net.line(f"{draw(st.sampled_from(('Add', 'Mul')))}({source}, {draw(st.sampled_from(known))})")
                made = net.line(f"Relu({made})") if draw(st.booleans()) else made
            case "concat":
                joined = net.line(f"Concat<axis = 1>({source}, {draw(st.sampled_from(known))})")
                made = net.line(f"Conv({joined}, {net.weights(4, 8, 1, 1)})")
            case "pool":
                op = draw(st.sampled_from(("MaxPool", "AveragePool")))
                made = net.line(f"{op}<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>({source})")
            case "move":
                made = net.line(f"Transpose<perm = [0, 1, 3, 2]>({source})")
            case "norm":
                numbers = ", ".join(net.weights(4) for _ in range(3))
                net.constants["var"] = np.array([1.0, 0.5, 2.0, 4.0], np.float32)
                made = net.line(f"BatchNormalization({source}, {numbers}, var)")
                made = net.line(f"Conv({net.line(f'Relu({made})')}, {net.weights(4, 4, 1, 1)})")
            case _:
                pooled = net.line(f"GlobalAveragePool({source})")
                squeezed = net.line(f"Relu({net.line(f'Conv({pooled}, {net.weights(2, 4, 1, 1)})')})")
                excited = net.line(f"Conv({squeezed}, {net.weights(4, 2, 1, 1)})")
                gate = net.line(draw(st.sampled_from(_GATES)).format(excited))
                made = net.line(f"Mul({source}, {gate})")
        known.append(made)
    last = known[-1]
    if draw(st.booleans()):
        flat = net.line(f"Flatten({net.line(f'GlobalAveragePool({last})')})")
        last = net.line(f"Gemm({flat}, {net.weights(4, 3)}, {net.weights(3)})")
    body = " ".join(net.lines)
    return model(
        f"{body} y = Identity({last})",
        "float[2,4,6,6] x",
        opset=draw(st.sampled_from((13, 17, 21))),
        initializers=net.constants,
    )


@st.composite
def product_nets(draw: st.DrawFn) -> ModelProto:
    """Stacks of products with biases, activations, normalizations and residuals, of known or unknown sizes."""
    net = _Net(draw(st.integers(0, 99)))
    known = ["x"]
    for _ in range(draw(st.integers(1, 5))):
        source = draw(st.sampled_from(known[-2:]))
        match draw(st.sampled_from(("product", "product", "norm", "add", "move"))):
            case "product":
                made = net.line(f"MatMul({source}, {net.weights(8, 8)})")
                if draw(st.booleans()):
                    made = net.line(f"Add({made}, {net.weights(8)})")
                activation = draw(st.sampled_from(_ACTIVATIONS))
                made = net.line(activation.format(made)) if activation else made
            case "norm":
                made = net.line(f"LayerNormalization({source}, {net.weights(8)})")
            case "add":
                made = net.line(f"Add({source}, {draw(st.sampled_from(known))})")
            case _:
                made = net.line(f"Transpose<perm = [1, 0, 2]>({net.line(f'Transpose<perm = [1, 0, 2]>({source})')})")
        known.append(made)
    size = draw(st.sampled_from(("2,3", "n,3", "n,m")))
    body = " ".join(net.lines)
    return model(
        f"{body} y = Identity({known[-1]})",
        f"float[{size},8] x",
        opset=draw(st.sampled_from((17, 21))),
        initializers=net.constants,
    )
