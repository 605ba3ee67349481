"""What each form of quantization brings without data: dynamic int8, stored weights, halves; on transformers, recurrent models and products.

Models have random weights and sizes of real ones. Speed is in ONNX Runtime on one thread: each form is timed in turns with floats (O2),
median of the ratios of turns. SQNR is that of the outputs on normal inputs, beside floats. ``--products`` times products of many sizes by
themselves, and fits the coefficients of :mod:`graphopt.transforms.quantization.dynamic.gain` to the times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.measure import save_record
from graphopt.compiler import optimize
from graphopt.ir import Array, DType, GraphBuilder, Model, Value
from graphopt.serde import emit_model

__all__ = ["MODELS", "decoder", "encoder", "recurrent"]

FORMS: Final = {
    "dynamic": "O2,quantize-dynamic,tidy",
    "dynamic where it gains": "O2,quantize-dynamic{least_gain=1.1},tidy",
    "int8 weights": "O2,quantize-weights,pack-matmul-nbits,tidy",
    "int8 in the file": "O2,quantize-weights{spelling=multiply},tidy",
    "int4 weights": "O2,raise-opset{to=21},quantize-weights{dtype=int4},pack-matmul-nbits,tidy",
    "float16": "O2,convert-to-float16,tidy",
}
_Floats = NDArray[np.float32]
_Sized = tuple[int, int, int]
ROUNDS: Final = 25
LEAST_SECONDS: Final = 0.004


class Weights:
    """Draws weights: normal, with a few columns of larger numbers, as trained models have them."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def matrix(self, *shape: int) -> _Floats:
        """A weight of which one side is summed over."""
        columns = self._rng.lognormal(0, 0.3, shape[-1])
        return np.asarray(self._rng.normal(0, 1 / np.sqrt(shape[-2]), shape) * columns, np.float32)

    def row(self, size: int, mean: float = 0.0) -> _Floats:
        """A bias, or the factors of a normalization."""
        return np.asarray(self._rng.normal(mean, 0.1, size), np.float32)


def _attention(b: GraphBuilder, x: Value, draw: Weights, width: int, heads: int, length: int, *, causal: bool) -> Value:
    parts = []
    for perm in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)):
        part = b.Add(b.MatMul(x, draw.matrix(width, width)), draw.row(width))
        parts.append(b.Transpose(b.Reshape(part, np.array([0, 0, heads, width // heads])), perm=perm))
    query, key, value = parts
    scores = b.Div(b.MatMul(query, key), np.float32(np.sqrt(width // heads)))
    if causal:
        scores = b.Add(scores, np.triu(np.full((length, length), -1e9, np.float32), 1))
    joined = b.Transpose(b.MatMul(b.Softmax(scores, axis=-1), value), perm=(0, 2, 1, 3))
    return b.Add(b.MatMul(b.Reshape(joined, np.array([0, 0, width])), draw.matrix(width, width)), draw.row(width))


def _gelu(b: GraphBuilder, x: Value) -> Value:
    erf = b.Erf(b.Div(x, np.float32(np.sqrt(2))))
    return b.Mul(b.Mul(x, b.Add(erf, np.float32(1))), np.float32(0.5))


def encoder(layers: int = 6, width: int = 384, heads: int = 6, length: int = 128, *, causal: bool = False) -> Model:
    """A transformer encoder: token ids to hidden states, normalization behind each block."""
    b, draw = GraphBuilder(17), Weights()
    ids = b.input("ids", DType.INT64, ["batch", length])
    x = b.Add(b.Gather(draw.matrix(1000, width), ids), draw.matrix(length, width))
    for _ in range(layers):
        mixed = b.Add(x, _attention(b, x, draw, width, heads, length, causal=causal))
        x = b.LayerNormalization(mixed, draw.row(width, 1), draw.row(width))
        inner = _gelu(b, b.Add(b.MatMul(x, draw.matrix(width, 4 * width)), draw.row(4 * width)))
        outer = b.Add(b.MatMul(inner, draw.matrix(4 * width, width)), draw.row(width))
        x = b.LayerNormalization(b.Add(x, outer), draw.row(width, 1), draw.row(width))
    b.output(x, "states", DType.FLOAT, ["batch", length, width])
    return b.build()


def decoder(length: int = 128) -> Model:
    """The same with a causal mask: a GPT-2-like model on a whole prompt, or with one token on a step of its own."""
    return encoder(length=length, causal=True)


def recurrent(op: str, gates: int, width: int = 128, hidden: int = 256, layers: int = 2) -> Model:
    """Bidirectional recurrent layers on top of each other: features over time to features over time."""
    b, draw = GraphBuilder(17), Weights()
    x = b.input("x", DType.FLOAT, ["steps", 1, width])
    for layer in range(layers):
        inputs = width if not layer else 2 * hidden
        weights = draw.matrix(2, gates * hidden, inputs), draw.matrix(2, gates * hidden, hidden)
        states = b.op(op, x, *weights, hidden_size=hidden, direction="bidirectional")
        x = b.Reshape(b.Transpose(states, perm=(0, 2, 1, 3)), np.array([0, 0, 2 * hidden]))
    b.output(b.MatMul(x, draw.matrix(2 * hidden, 64)), "y", DType.FLOAT, ["steps", 1, 64])
    return b.build()


MODELS: Final[Mapping[str, tuple[Callable[[], Model], Mapping[str, Array]]]] = {
    "encoder": (encoder, {"ids": np.arange(128).reshape(1, 128)}),
    "decoder": (decoder, {"ids": np.arange(128).reshape(1, 128)}),
    "decoder, one token": (lambda: decoder(1), {"ids": np.array([[7]])}),
    "LSTM": (lambda: recurrent("LSTM", 4), {"x": Weights(1).matrix(60, 1, 128)}),
    "GRU": (lambda: recurrent("GRU", 3), {"x": Weights(1).matrix(60, 1, 128)}),
}


def _session(proto: Any) -> ort.InferenceSession:  # noqa: ANN401 - a protobuf
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _ratios(sessions: Sequence[ort.InferenceSession], feeds: Mapping[str, Array]) -> tuple[list[float], float]:
    """How much faster each is than the first, and seconds of the first: medians over turns."""
    for session in sessions:
        session.run(None, feeds)
    start = time.perf_counter()
    sessions[0].run(None, feeds)
    runs = max(1, int(LEAST_SECONDS / (time.perf_counter() - start)))
    turns: list[list[float]] = []
    for _ in range(ROUNDS):
        turn = []
        for session in sessions:
            start = time.perf_counter()
            for _run in range(runs):
                session.run(None, feeds)
            turn.append((time.perf_counter() - start) / runs)
        turns.append(turn)
    found = [statistics.median(turn[0] / turn[at] for turn in turns) for at in range(len(sessions))]
    return found, statistics.median(turn[0] for turn in turns)


def _sqnr(expected: Array, found: Array) -> float:
    wide = expected.astype(np.float64)
    return 10 * float(np.log10(np.square(wide).sum() / max(np.square(found.astype(np.float64) - wide).sum(), 1e-30)))


def measure(name: str) -> dict[str, object]:
    """Ratios, SQNR and bytes of each form of a model."""
    make, feeds = MODELS[name]
    proto = emit_model(make())
    protos = [optimize(proto, pipeline=text, check=False).proto for text in ("O2", *FORMS.values())]
    sessions = [_session(item) for item in protos]
    ratios, seconds = _ratios(sessions, feeds)
    expected = sessions[0].run(None, feeds)[0]
    rows = {
        form: {"faster": ratio, "sqnr": _sqnr(expected, session.run(None, feeds)[0]), "bytes": item.ByteSize()}
        for form, ratio, session, item in zip(FORMS, ratios[1:], sessions[1:], protos[1:], strict=True)
    }
    return {"milliseconds": seconds * 1e3, "bytes": protos[0].ByteSize(), "forms": rows}


def measure_product(rows: int, inner: int, outer: int) -> dict[str, float]:
    """Ratios of the forms of a product with a bias, and seconds of floats."""
    b, draw = GraphBuilder(17), Weights()
    x = b.input("x", DType.FLOAT, ["rows", inner])
    b.output(b.Add(b.MatMul(x, draw.matrix(inner, outer)), draw.row(outer)), "y", DType.FLOAT, ["rows", outer])
    proto = emit_model(b.build())
    texts = ("O0", "quantize-dynamic", "quantize-weights,pack-matmul-nbits")
    sessions = [_session(optimize(proto, pipeline=text, check=False).proto) for text in texts]
    ratios, seconds = _ratios(sessions, {"x": Weights(1).matrix(rows, inner)})
    return {"rows": rows, "inner": inner, "outer": outer, "seconds": seconds, "dynamic": ratios[1], "stored": ratios[2]}


def _products(count: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(5)
    sizes = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)
    drawn: set[_Sized] = set()
    while len(drawn) < count:
        rows = int(rng.choice((1, 2, 4, 8, 16, 32, 64, 96, 128, 197, 256, 512)))
        inner, outer = (int(size) for size in rng.choice(sizes, 2))
        if rows * inner * outer < 4e8:
            drawn.add((rows, inner, outer))
    return [measure_product(*size) for size in sorted(drawn)]


def main() -> None:
    """Measure, print a table, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), metavar="NAME")
    parser.add_argument("--products", type=int, default=0, metavar="COUNT", help="time so many products by themselves")
    parser.add_argument("--json", type=Path, help="where to write the record")
    chosen = parser.parse_args()
    models: dict[str, object] = {}
    for name in chosen.models:
        models[name] = found = measure(name)
        print(f"{name}: floats {found['milliseconds']:.2f} ms, {found['bytes']} bytes")
        forms = found["forms"]
        assert isinstance(forms, dict), "that is what was made"
        for form, row in forms.items():
            print(f"  {form:24} {row['faster']:5.2f} times as fast, {row['sqnr']:5.1f} dB, {row['bytes']} bytes")
    products = _products(chosen.products)
    for item in products:
        size = f"{item['rows']:4} x {item['inner']:4} x {item['outer']:4}"
        print(f"{size}: {item['seconds'] * 1e6:7.1f} us, dynamic {item['dynamic']:5.2f}, stored {item['stored']:5.2f}")
    settings = {"rounds": ROUNDS, "seconds": LEAST_SECONDS, "threads": 1, "forms": FORMS}
    save_record("quantized_models", {"models": models, "products": products}, settings=settings, path=chosen.json)


if __name__ == "__main__":
    main()
