"""Models of attention with keys and values of earlier positions, and with heads that several queries share."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.ir import Array
from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["cached_attention", "cached_multi_head", "mask_of_nothing", "rotated_heads", "shared_heads", "true_mask"]

HEADS, SIZE = 2, 8
WIDTH = HEADS * SIZE
MICROSOFT = ', "com.microsoft" : 1'


def cached_attention(choices: Choices) -> ModelProto:
    """The operator of opset 23, its keys and values joined before it, what is joined given out or not."""
    batch, past, rows = choices.of(("b", 2)), choices.of(("p", 2, 0)), choices.of((1, 3))
    shared, axis = choices.of((HEADS, 1)), choices.of((2, -2))
    masked = choices.chance(0.5) and past != "p"
    inputs = [
        f"float[{batch},{HEADS},{rows},{SIZE}] q",
        *(f"float[{batch},{shared},{rows},{SIZE}] {name}" for name in "kv"),
        *(f"float[{batch},{shared},{past},{SIZE}] {name}" for name in ("pk", "pv")),
        *([f"float[{rows},{past + rows}] m"] if masked and isinstance(past, int) else []),
    ]
    given = choices.chance(0.7)
    return model(
        f"jk = Concat<axis = {axis}>(pk, k) jv = Concat<axis = {axis}>(pv, v) "
        f"y = Attention<scale = {choices.of((0.25, 0.5))}>(q, jk, jv{', m' if masked else ''})",
        ", ".join(inputs),
        "float[*] y, float[*] jk, float[*] jv" if given else "float[*] y",
        opset=choices.of((23, 24)),
    )


def cached_multi_head(choices: Choices) -> ModelProto:
    """Attention spelt out whose keys and values are joined with earlier ones."""
    batch, past, rows = choices.of(("b", 2)), choices.of(("p", 2)), choices.of(("s", 3, 1))
    masked = choices.chance(0.5) and isinstance(past, int) and isinstance(rows, int)
    inputs = [
        *(f"float[{batch},{rows},{WIDTH}] {name}" for name in "qkv"),
        *(f"float[{batch},{HEADS},{past},{SIZE}] {name}" for name in ("pk", "pv")),
        *([f"float[1,1,{rows},{past + rows}] m"] if masked and isinstance(past, int) and isinstance(rows, int) else []),
    ]
    given = choices.chance(0.7)
    return model(
        "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, split) kh = Transpose<perm = [0, 2, 1, 3]>(kr) "
        "vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) jk = Concat<axis = 2>(pk, kh) jv = Concat<axis = 2>(pv, vh) "
        f"y = com.microsoft.MultiHeadAttention<num_heads = {HEADS}, scale = 0.5>(q, jk, jv{', , , m' if masked else ''})",
        ", ".join(inputs),
        "float[*] y, float[*] jk, float[*] jv" if given else "float[*] y",
        opset=choices.of((13, 17, 21)),
        initializers={"split": np.array([0, 0, HEADS, SIZE])},
        imports=MICROSOFT,
    )


def shared_heads(choices: Choices) -> ModelProto:
    """One new position, whose queries share the heads of all positions, repeated for them."""
    batch, past, shared, repeats = choices.of((1, 2)), choices.of((2, 3)), choices.of((1, 2)), choices.of((2, 3))
    heads, all_of_them = shared * repeats, past + 1
    masked = choices.of(("none", "small", "choice"))
    inputs = [
        f"float[{batch},1,{heads * SIZE}] q",
        *(f"float[{batch},1,{shared * SIZE}] {name}" for name in "kv"),
        *(f"float[{batch},{shared},{past},{SIZE}] {name}" for name in ("pk", "pv")),
        *([f"float[{batch},1,1,{all_of_them}] f"] if masked != "none" else []),
    ]
    mask = {
        "none": "",
        "small": "m = Tanh(f) ",
        "choice": "c = Cast<to = 9>(f) m = Where(c, zero, low) ",
    }[masked]
    constants: dict[str, Array | np.generic] = {
        "split": np.array([0, 0, shared, SIZE]),
        "two": np.array([2]),
        "wide": np.array([batch, shared, repeats, all_of_them, SIZE]),
        "joined": np.array([batch, heads, all_of_them, SIZE]),
        **({"zero": np.float32(0), "low": np.float32(choices.of((-3.4e38, -1e32)))} if masked == "choice" else {}),
    }
    given = choices.chance(0.7)
    return model(
        "kr = Reshape(k, split) kh = Transpose<perm = [0, 2, 1, 3]>(kr) vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
        "jk = Concat<axis = 2>(pk, kh) jv = Concat<axis = 2>(pv, vh) ku = Unsqueeze(jk, two) ke = Expand(ku, wide) "
        f"ka = Reshape(ke, joined) vu = Unsqueeze(jv, two) ve = Expand(vu, wide) va = Reshape(ve, joined) {mask}"
        f"y = com.microsoft.MultiHeadAttention<num_heads = {heads}, scale = 0.5>(q, ka, va{', , , m' if mask else ''})",
        ", ".join(inputs),
        "float[*] y, float[*] jk, float[*] jv" if given else "float[*] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
        imports=MICROSOFT,
    )


def rotated_heads(choices: Choices) -> ModelProto:
    """Heads that are split and moved before their positions are turned for attention."""
    batch, rows = choices.of((1, 2)), choices.of((1, 3))
    ids = choices.chance(0.5)
    tables = f"float[4,{SIZE // 2}]" if ids else f"float[{batch},{rows},{SIZE // 2}]"
    inputs = f"float[{batch},{rows},{WIDTH}] x, {tables} cos, {tables} sin, float[{batch},{HEADS},{rows},{SIZE}] k"
    return model(
        f"r = Reshape(x, split) h = Transpose<perm = [0, 2, 1, 3]>(r) t = RotaryEmbedding<interleaved = {choices.of((0, 1))}>"
        f"(h, cos, sin{', ids' if ids else ''}) y = Attention(t, k, k)",
        inputs,
        opset=choices.of((23, 24)),
        initializers={
            "split": np.array([0, 0, HEADS, SIZE]),
            **({"ids": np.arange(batch * rows).reshape(batch, rows) % 4} if ids else {}),
        },
    )


def mask_of_nothing(choices: Choices) -> ModelProto:
    """Scores to which numbers are added that a truth value chooses, the same one everywhere."""
    batch, truth = choices.of(("b", 2)), choices.chance(0.5)
    kept = "zero, low" if truth else "low, zero"
    terms = choices.of(("x, m", "m, x"))
    return model(
        f"f = Expand(truth, size) m = Where(f, {kept}) s = Add({terms}) y = Softmax<axis = -1>(s)",
        f"float[{batch},{HEADS},3,5] x",
        opset=choices.of((9, 13, 17, 23)),
        initializers={
            "truth": np.array([truth]),
            "size": np.array([1, 1, 3, choices.of((1, 5))]),
            "zero": np.float32(0),
            "low": np.float32(choices.of((-np.inf, -1e4))),
        },
    )


def true_mask(choices: Choices) -> ModelProto:
    """A mask that asks of each counted position whether it is one, as where there is none."""
    compared = choices.of(("GreaterOrEqual", "GreaterOrEqual", "GreaterOrEqual", "Greater"))
    return model(
        "h = Neg(x) s = Shape(h) g = Gather(s, at) r = Range(start, g, one) u = Unsqueeze(r, axes) "
        f"c = {compared}(u, zero) i = Slice(s, a0, a1) k = Concat<axis = 0>(i, i) e = Expand(c, k) "
        "m = Where(e, yes, no) y = Mul(m, h)",
        "float[n,n] x",
        opset=choices.of((13, 17, 21)),
        initializers={
            "at": np.array(0, np.int64),
            "start": np.array(choices.of((0, 0, 0, -1)), np.int64),
            "zero": np.array(0, np.int64),
            "one": np.array(1, np.int64),
            "axes": np.array([choices.of((1, 0))], np.int64),
            "a0": np.array([0], np.int64),
            "a1": np.array([1], np.int64),
            "yes": np.array(choices.of((0.0, 0.5)), np.float32),
            "no": np.array(-3e38, np.float32),
        },
    )
