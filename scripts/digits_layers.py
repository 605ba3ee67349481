"""Layers of a small convolutional network with their gradients, in numpy, and the optimizer of their parameters.

Everything is float64. Plain momentum, not an adaptive step: an adaptive step divides by gradients that are zero but for
rounding, and would make the result depend on how the machine's linear algebra sums. Images are [N, H, W, C].
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Layer(Protocol):
    """A differentiable step with parameters."""

    params: dict[str, Array]
    grads: dict[str, Array]

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return the output; remember what `backward` needs."""

    def backward(self, dy: Array) -> Array:
        """Return the gradient of the input; store the gradients of the parameters."""


class Conv:
    """3x3 convolution with padding 1; weight [9 * inputs, outputs], rows ordered (kh, kw, input)."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.RandomState, *, bias: bool = False) -> None:
        weight = rng.normal(0, np.sqrt(2 / (9 * inputs)), (9 * inputs, outputs))
        self.params = {"weight": weight} | ({"bias": rng.normal(0, 0.1, outputs)} if bias else {})
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return the convolution of x, [N, H, W, outputs]."""
        n, h, w, c = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        self.columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, 9 * c)
        self.shape = x.shape
        y = self.columns @ self.params["weight"] + self.params.get("bias", 0.0)
        return np.asarray(y).reshape(n, h, w, -1)

    def backward(self, dy: Array) -> Array:
        """Return dx; scatter the gradient of the columns back to the image."""
        n, h, w, c = self.shape
        flat = dy.reshape(n * h * w, -1)
        self.grads = {"weight": self.columns.T @ flat}
        if "bias" in self.params:
            self.grads["bias"] = flat.sum(0)
        columns = (flat @ self.params["weight"].T).reshape(n, h, w, 3, 3, c)
        padded = np.zeros((n, h + 2, w + 2, c))
        for i in range(3):
            for j in range(3):
                padded[:, i : i + h, j : j + w] += columns[:, :, :, i, j]
        return padded[:, 1:-1, 1:-1]


class BatchNorm:
    """Batch normalization over all but the last axis, with running statistics for inference."""

    epsilon, momentum = 1e-5, 0.1

    def __init__(self, channels: int) -> None:
        self.params = {"scale": np.ones(channels), "shift": np.zeros(channels)}
        self.grads: dict[str, Array] = {}
        self.mean, self.var = np.zeros(channels), np.ones(channels)

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return x normalized by the statistics of the batch (training) or the running ones."""
        mean, var = self.mean, self.var
        if training:
            flat = x.reshape(-1, x.shape[-1])
            mean, var = flat.mean(0), flat.var(0)
            unbiased = var * (len(flat) / (len(flat) - 1))
            self.mean = (1 - self.momentum) * self.mean + self.momentum * mean
            self.var = (1 - self.momentum) * self.var + self.momentum * unbiased
        self.deviation = np.sqrt(var + self.epsilon)
        self.normal = (x - mean) / self.deviation
        return np.asarray(self.normal * self.params["scale"] + self.params["shift"])

    def backward(self, dy: Array) -> Array:
        """Return dx through the statistics of the batch."""
        axes = tuple(range(dy.ndim - 1))
        self.grads = {"scale": (dy * self.normal).sum(axes), "shift": dy.sum(axes)}
        count = dy.size // dy.shape[-1]
        centred = dy - self.grads["shift"] / count - self.normal * (self.grads["scale"] / count)
        return np.asarray(centred * (self.params["scale"] / self.deviation))


class Linear:
    """Matrix product and bias; weight [inputs, outputs]."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.RandomState) -> None:
        self.params = {"weight": rng.normal(0, np.sqrt(1 / inputs), (inputs, outputs)), "bias": np.zeros(outputs)}
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return x @ weight + bias."""
        self.x = x
        return np.asarray(x @ self.params["weight"] + self.params["bias"])

    def backward(self, dy: Array) -> Array:
        """Return dx."""
        self.grads = {"weight": self.x.T @ dy, "bias": dy.sum(0)}
        return np.asarray(dy @ self.params["weight"].T)


class MaxPool:
    """Maximum over windows of 2x2; height and width are even."""

    params: dict[str, Array] = {}  # noqa: RUF012 - has none, as the protocol asks
    grads: dict[str, Array] = {}  # noqa: RUF012

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return [N, H / 2, W / 2, C]."""
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
        self.largest, self.shape = windows.argmax(-1), x.shape
        return np.asarray(windows.max(-1))

    def backward(self, dy: Array) -> Array:
        """Return dx: the gradient goes to the largest element of each window."""
        n, h, w, c = self.shape
        windows = np.zeros((*dy.shape, 4))
        np.put_along_axis(windows, self.largest[..., None], dy[..., None], -1)
        return windows.reshape(n, h // 2, w // 2, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, h, w, c)


class Momentum:
    """Stochastic gradient descent with Nesterov momentum and weight decay on weights only."""

    def __init__(self, layers: list[Layer], *, momentum: float = 0.9, decay: float = 1e-3) -> None:
        self.layers, self.momentum, self.decay = layers, momentum, decay
        self.velocity = [{name: np.zeros_like(value) for name, value in layer.params.items()} for layer in layers]

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient."""
        for layer, velocity in zip(self.layers, self.velocity, strict=True):
            for name, grad in layer.grads.items():
                if name == "weight":
                    grad = grad + self.decay * layer.params[name]
                velocity[name] = self.momentum * velocity[name] + grad
                layer.params[name] = layer.params[name] - rate * (grad + self.momentum * velocity[name])
