"""Train the digits classifier that ships with graphopt and write it, with its test images, into `graphopt/data`.

Run `python -m scripts.make_digits_model [FOLDER]` from the root of the repository (under a minute; needs the `dev`
extra). The ONNX file is written the way training frameworks export: BatchNormalization kept apart with its trained
statistics, the flattening computed from Shape, a Dropout and an Identity left over, a dynamic batch. Trained weights
are rounded to multiples of 2**-12, so that machines whose linear algebra sums in another order write the same file.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from scripts.digits_layers import Array, BatchNorm, Conv, Layer, Linear, MaxPool, Momentum

Labels = NDArray[np.int64]

FOLDER = Path(__file__).resolve().parent.parent / "graphopt" / "data"
TEST_IMAGES = 360
EPOCHS, BATCH, RATE, DROPOUT = 24, 64, 0.05, 0.25
GRID = 2.0**-12


@dataclass(frozen=True, slots=True)
class Digits:
    """Images, float64 [N, 8, 8, 1] with pixels from 0 to 16, and labels, int64 [N], apart for training and testing."""

    train_x: Array
    train_y: Labels
    test_x: Array
    test_y: Labels


def load() -> Digits:
    """Return scikit-learn's 1,797 digits, shuffled, the last 360 held out for testing."""
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))  # a stream frozen for good
    x, y = digits.images[order][..., None], digits.target[order].astype(np.int64)
    return Digits(x[:-TEST_IMAGES], y[:-TEST_IMAGES], x[-TEST_IMAGES:], y[-TEST_IMAGES:])


class DigitsNet:
    """Three convolutions with BatchNormalization, the last in a residual block, then a linear classifier."""

    def __init__(self, rng: np.random.RandomState) -> None:
        self.rng = rng
        self.conv = [Conv(1, 16, rng, bias=True), Conv(16, 32, rng), Conv(32, 32, rng)]
        self.norm = [BatchNorm(16), BatchNorm(32), BatchNorm(32)]
        self.pool, self.linear = MaxPool(), Linear(512, 10, rng)
        self.layers: list[Layer] = [*self.conv, *self.norm, self.linear]

    def loss_step(self, x: Array, y: Labels) -> float:
        """Return the cross entropy on a training batch; store all gradients."""
        a, b, c = (self._block(i) for i in range(3))
        first = np.maximum(a.forward(x / 16), 0)
        second = np.maximum(b.forward(first), 0)
        pooled = self.pool.forward(second, training=True)
        third = np.maximum(c.forward(pooled) + pooled, 0)
        kept = (self.rng.random_sample(third.shape) >= DROPOUT) / (1 - DROPOUT)
        logits = self.linear.forward((third * kept).transpose(0, 3, 1, 2).reshape(len(x), -1), training=True)

        shifted = np.exp(logits - logits.max(1, keepdims=True))
        probability = shifted / shifted.sum(1, keepdims=True)
        loss = -np.log(probability[np.arange(len(y)), y]).mean()
        probability[np.arange(len(y)), y] -= 1

        flat = self.linear.backward(probability / len(y)).reshape(len(x), 32, 4, 4).transpose(0, 2, 3, 1)
        d_third = flat * kept * (third > 0)
        d_second = self.pool.backward(d_third + c.backward(d_third)) * (second > 0)
        a.backward(b.backward(d_second) * (first > 0))
        return float(loss)

    def _block(self, index: int) -> _Block:
        return _Block(self.conv[index], self.norm[index])

    def rounded(self, grid: float = GRID) -> dict[str, NDArray[np.float32]]:
        """Return every trained array as ONNX lays it out (float32, rounded to `grid`), by exporter-style names."""
        arrays = {"fc.weight": self.linear.params["weight"], "fc.bias": self.linear.params["bias"]}
        for i, (conv, norm) in enumerate(zip(self.conv, self.norm, strict=True), start=1):
            weight = conv.params["weight"]
            arrays[f"conv{i}.weight"] = weight.reshape(3, 3, -1, weight.shape[1]).transpose(3, 2, 0, 1)
            arrays |= {f"conv{i}.bias": conv.params["bias"]} if "bias" in conv.params else {}
            arrays |= {f"bn{i}.weight": norm.params["scale"], f"bn{i}.bias": norm.params["shift"]}
            arrays |= {f"bn{i}.running_mean": norm.mean, f"bn{i}.running_var": norm.var}
        return {name: (np.round(array / grid) * grid).astype(np.float32) for name, array in arrays.items()}


@dataclass(frozen=True, slots=True)
class _Block:
    """Convolution, then batch normalization, as trained."""

    conv: Conv
    norm: BatchNorm

    def forward(self, x: Array) -> Array:
        return self.norm.forward(self.conv.forward(x, training=True), training=True)

    def backward(self, dy: Array) -> Array:
        return self.conv.backward(self.norm.backward(dy))


def train(digits: Digits, *, epochs: int = EPOCHS) -> DigitsNet:
    """Return the network trained on the training part, by a one-cycle cosine schedule, always the same."""
    rng = np.random.RandomState(7)  # a stream frozen for good
    net = DigitsNet(rng)
    optimizer = Momentum(net.layers)
    steps = len(digits.train_y) // BATCH
    for epoch in range(epochs):
        order = rng.permutation(len(digits.train_y))
        for step in range(steps):
            batch = order[step * BATCH : (step + 1) * BATCH]
            net.loss_step(digits.train_x[batch], digits.train_y[batch])
            done = (epoch * steps + step) / (epochs * steps)
            optimizer.step(RATE * min(1.0, done * 20) * (1 + np.cos(np.pi * done)) / 2)
    return net


def export(net: DigitsNet) -> onnx.ModelProto:
    """Return the ONNX model, opset 17, that computes what `net` does in inference."""
    node = helper.make_node
    nodes = [_constant("divisor", np.float32(16)), node("Div", ["image", "divisor"], ["scaled"], "/Div")]
    for i, (source, bias) in enumerate([("scaled", ["conv1.bias"]), ("relu1", []), ("pool", [])], start=1):
        inputs = [source, f"conv{i}.weight", *bias]
        nodes.append(node("Conv", inputs, [f"conv{i}"], f"/conv{i}/Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        statistics = [f"bn{i}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        nodes.append(node("BatchNormalization", [f"conv{i}", *statistics], [f"bn{i}"], f"/bn{i}/BatchNormalization"))
        if i == 3:
            nodes.append(node("Add", ["bn3", "pool"], ["residual"], "/Add"))
        nodes.append(node("Relu", ["residual" if i == 3 else f"bn{i}"], [f"relu{i}"], f"/relu{i}/Relu"))
        if i == 2:
            nodes.append(node("MaxPool", ["relu2"], ["pool"], "/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]))
    nodes += [
        _constant("dropout_ratio", np.float32(DROPOUT)),
        node("Dropout", ["relu3", "dropout_ratio"], ["dropped"], "/dropout/Dropout"),
        node("Shape", ["dropped"], ["shape"], "/Shape"),
        _constant("first", np.int64(0)),
        node("Gather", ["shape", "first"], ["batch_size"], "/Gather", axis=0),
        _constant("axes", np.array([0], np.int64)),
        node("Unsqueeze", ["batch_size", "axes"], ["batch_vector"], "/Unsqueeze"),
        _constant("rest", np.array([-1], np.int64)),
        node("Concat", ["batch_vector", "rest"], ["flat_shape"], "/Concat", axis=0),
        node("Reshape", ["dropped", "flat_shape"], ["flat"], "/Reshape"),
        node("MatMul", ["flat", "fc.weight"], ["product"], "/fc/MatMul"),
        node("Add", ["product", "fc.bias"], ["sum"], "/fc/Add"),
        node("Identity", ["sum"], ["logits"], "/Identity"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits_cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in net.rounded().items()],
        doc_string="Handwritten digits, 8x8 pixels from 0 to 16, to ten logits",
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="graphopt-digits")
    onnx.checker.check_model(model, full_check=True)
    return model


def _constant(name: str, value: np.generic | NDArray[np.int64]) -> onnx.NodeProto:
    tensor = numpy_helper.from_array(np.asarray(value))
    return helper.make_node("Constant", [], [name], f"/Constant_{name}", value=tensor)


def accuracy(model: bytes, x: NDArray[np.float32], y: Labels) -> float:
    """Return the fraction of images, float32 [N, 1, 8, 8], that ONNX Runtime classifies as labelled."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": x})
    return float((logits.argmax(1) == y).mean())


def main() -> None:
    """Train, write both files and print what came out."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    start = time.perf_counter()
    digits = load()
    model = export(train(digits)).SerializeToString(deterministic=True)
    x = np.ascontiguousarray(digits.test_x.transpose(0, 3, 1, 2), np.float32)
    (folder / "digits_cnn.onnx").write_bytes(model)
    np.savez_compressed(folder / "digits_test.npz", x=x, y=digits.test_y)
    train_x = np.ascontiguousarray(digits.train_x.transpose(0, 3, 1, 2), np.float32)
    print(f"{folder / 'digits_cnn.onnx'}: {len(model):,} bytes, trained in {time.perf_counter() - start:.0f} s")
    print(f"accuracy in ONNX Runtime: {accuracy(model, x, digits.test_y):.2%} of {len(x)} test digits")
    print(f"                          {accuracy(model, train_x, digits.train_y):.2%} of {len(train_x)} training digits")


if __name__ == "__main__":
    main()
