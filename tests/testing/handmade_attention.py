"""Models of attention in many spellings: what rules for it look for hangs together by its shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from graphopt.ir import Array
from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = [
    "grouped_attention",
    "packed_attention",
    "rotary_embedding",
    "spelled_attention",
    "spelled_standard_attention",
    "split_attention",
    "standard_attention",
]

HEADS, SIZE = 2, 4
WIDTH = HEADS * SIZE
_SPLIT = np.array([0, 0, HEADS, SIZE])
_JOIN = np.array([0, 0, WIDTH])


def _scaled(choices: Choices) -> tuple[str, str, str]:
    """Text that scales the query ``qh``, the transposed keys ``kt`` and the scores ``z``."""
    match choices.of(("scores", "divided", "query", "both", "none")):
        case "scores":
            return "qs = Identity(qh)", "ks = Identity(kt)", "zs = Mul(z, c)"
        case "divided":
            return "qs = Identity(qh)", "ks = Identity(kt)", "zs = Div(z, d)"
        case "query":
            return "qs = Mul(c, qh)", "ks = Identity(kt)", "zs = Identity(z)"
        case "both":
            return "qs = Mul(qh, e)", "ks = Mul(kt, e)", "zs = Identity(z)"
        case _:
            return "qs = Identity(qh)", "ks = Identity(kt)", "zs = Identity(z)"


def _spelled(choices: Choices, opset: int, *, dynamic: bool, masked: bool) -> ModelProto:
    """softmax(scale * Q @ K^T + mask) @ V; identities stand for nothing and are left out."""
    batch, rows = (choices.of(("b", 2, 1)), choices.of(("s", 3))) if dynamic else (choices.of((2, 1)), 3)
    columns = choices.of((rows, 5))
    keys = choices.of(
        (
            "kt = Transpose<perm = [0, 2, 3, 1]>(kr)",
            "kh = Transpose<perm = [0, 2, 1, 3]>(kr) kt = Transpose<perm = [0, 1, 3, 2]>(kh)",
        )
    )
    on_query, on_keys, on_scores = _scaled(choices)
    inputs = f"float[{batch},{rows},{WIDTH}] q, float[{batch},{columns},{WIDTH}] k, float[{batch},{columns},{WIDTH}] v"
    kind = choices.of(("none", "rows", "heads", "matrix", "where", "keys")) if masked else choices.of(("none", "small"))
    mask = {
        "none": "w = Identity(zs)",
        "rows": "w = Add(zs, m)",
        "heads": "w = Add(m, zs)",
        "matrix": "w = Add(zs, m)",
        "keys": "w = Add(zs, m)",
        "small": "w = Add(zs, n)",
        "where": "f = Cast<to = 9>(m) w = Where(f, zs, low)",
    }[kind]
    shape = {
        "rows": f"{batch},1,{rows},{columns}",
        "heads": f"1,{HEADS},{rows},{columns}",
        "matrix": f"{rows},{columns}",
        "keys": f"{batch},1,1,{columns}",
        "where": f"{batch},1,{rows},{columns}",
    }.get(kind)
    if shape is not None:
        inputs += f", float[{shape}] m"
    guard = choices.chance(0.3) and kind != "where"
    weights = "t = IsNaN(p) g = Where(t, zero, p)" if guard else "g = Identity(p)"
    text = (
        f"qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, split) {keys} "
        f"vr = Reshape(v, split) vh = Transpose<perm = [0, 2, 1, 3]>(vr) {on_query} {on_keys} z = MatMul(qs, ks) "
        f"{on_scores} {mask} p = Softmax<axis = {choices.of((-1, 3))}>(w) {weights} o = MatMul(g, vh) "
        + (
            "oh = Transpose<perm = [0, 2, 1, 3]>(o) r = Reshape(oh, join) y = Neg(r)"
            if not dynamic or choices.chance(0.7)
            else "y = Neg(o)"
        )
    )
    constants: dict[str, Array | np.generic] = {
        "split": _SPLIT,
        "join": _JOIN,
        "c": np.float32(0.5),
        "d": np.float32(2),
        "e": np.float32(0.7),
        "low": np.float32(choices.of((-np.inf, -3.4e38))),
        "zero": np.float32(0),
        "n": np.linspace(-1, 1, 3 * (columns if isinstance(columns, int) else 3), dtype=np.float32).reshape(3, -1),
    }
    return _model(text, inputs, opset, constants)


def _model(text: str, inputs: str, opset: int, constants: Mapping[str, Array | np.generic]) -> ModelProto:
    """A model without its identities and unused constants."""
    nodes = [part.strip() + ")" for part in text.replace("\n", " ").split(")") if part.strip()]
    names: dict[str, str] = {}
    kept = []
    for node in nodes:
        result, _, right = node.partition(" = ")
        operator, _, operands = right.rpartition("(")
        if operator == "Identity":
            source = operands[:-1].strip()
            names[result] = names.get(source, source)
        else:
            given = [names.get(name.strip(), name.strip()) for name in operands[:-1].split(",")]
            kept.append((result, operator, given))
    used = {name for _result, _operator, given in kept for name in given}
    body = " ".join(f"{result} = {operator}({', '.join(given)})" for result, operator, given in kept)
    return model(body, inputs, opset=opset, initializers={k: v for k, v in constants.items() if k in used})


def spelled_attention(choices: Choices) -> ModelProto:
    """Attention spelt out, lengths open, with masks of all kinds."""
    return _spelled(choices, choices.of((13, 17, 21)), dynamic=True, masked=True)


def spelled_standard_attention(choices: Choices) -> ModelProto:
    """Attention spelt out in opsets that have it as an operator, lengths known."""
    return _spelled(choices, choices.of((23, 24)), dynamic=False, masked=False)


def split_attention(choices: Choices) -> ModelProto:
    """The operator with factors that were split and moved for it, keys and values of fewer heads perhaps."""
    batch, rows, columns = choices.of(("b", 2)), choices.of(("s", 3)), choices.of(("l", 5))
    shared = choices.of((HEADS, 1))
    masked, causal = choices.chance(0.4), choices.chance(0.3)
    inputs = f"float[{batch},{rows},{WIDTH}] q, float[{batch},{columns},{shared * SIZE}] k, float[{batch},{columns},{shared * SIZE}] v"
    attributes = f"<scale = {choices.of((0.25, 0.5))}{', is_causal = 1' if causal else ''}>"
    if masked:
        inputs += f", float[{rows},{columns}] m"
    return model(
        "qr = Reshape(q, split) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, part) kh = Transpose<perm = [0, 2, 1, 3]>(kr) "
        "vr = Reshape(v, part) vh = Transpose<perm = [0, 2, 1, 3]>(vr) "
        f"o = Attention{attributes}(qh, kh, vh{', m' if masked else ''}) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)",
        inputs,
        opset=choices.of((23, 24)),
        initializers={"split": _SPLIT, "part": np.array([0, 0, shared, SIZE]), "join": _JOIN},
    )


def grouped_attention(choices: Choices) -> ModelProto:
    """The operator with keys and values whose heads are repeated for it."""
    batch, rows, columns = choices.of((1, 2)), 3, choices.of((3, 5))
    shared, repeats = choices.of((1, 2)), choices.of((2, 3))
    wide, joined = np.array([batch, shared, repeats, columns, SIZE]), np.array([batch, shared * repeats, columns, SIZE])
    return model(
        "ku = Unsqueeze(k, two) ke = Expand(ku, wide) kh = Reshape(ke, joined) vu = Unsqueeze(v, two) ve = Expand(vu, wide) "
        f"vh = Reshape(ve, joined) y = Attention<scale = {choices.of((0.25, 0.5))}>(q, kh, vh)",
        f"float[{batch},{shared * repeats},{rows},{SIZE}] q, float[{batch},{shared},{columns},{SIZE}] k, "
        f"float[{batch},{shared},{columns},{SIZE}] v",
        opset=choices.of((23, 24)),
        initializers={"two": np.array([2]), "wide": wide, "joined": joined},
    )


def standard_attention(choices: Choices) -> ModelProto:
    """The operator, of rank 3 or 4."""
    batch, rows, columns, masked = choices.of((1, 2)), 3, choices.of((3, 5)), choices.chance(0.4)
    flat = choices.chance(0.5)
    sizes = [
        f"{batch},{count},{WIDTH}" if flat else f"{batch},{HEADS},{count},{SIZE}" for count in (rows, columns, columns)
    ]
    heads = f"q_num_heads = {HEADS}, kv_num_heads = {HEADS}, " if flat else ""
    inputs = ", ".join(f"float[{size}] {name}" for size, name in zip(sizes, "qkv", strict=True))
    if masked:
        inputs += f", float[{rows},{columns}] m"
    return model(
        f"y = Attention<{heads}scale = {choices.of((0.25, 0.5))}>(q, k, v{', m' if masked else ''})",
        inputs,
        opset=choices.of((23, 24)),
    )


def rotary_embedding(choices: Choices) -> ModelProto:
    """Halves of heads turned by tables that are computed, heads split for it or not."""
    batch, rows = choices.of(("b", 2)), choices.of(("s", 3))
    split = choices.chance(0.5)
    halves = (
        "lower, upper = Split<axis = -1>(x4, two)"
        if choices.chance(0.5)
        else "lower = Slice(x4, zero, half, last) upper = Slice(x4, half, end, last)"
    )
    turned = choices.of(("Mul(turned, sin)", "Mul(sin, turned)"))
    body = (
        ("xr = Reshape(x, split) x4 = Transpose<perm = [0, 2, 1, 3]>(xr) " if split else "x4 = Neg(x) ")
        + "tables = Concat<axis = -1>(f, f) c = Cos(tables) s3 = Sin(tables) cos = Unsqueeze(c, one) sin = Unsqueeze(s3, one) "
        + f"{halves} low = Neg(upper) turned = Concat<axis = -1>(low, lower) p = Mul(x4, cos) q = {turned} "
        + ("y = Add(p, q)" if choices.chance(0.5) else "y = Add(q, p)")
    )
    constants = {
        "split": _SPLIT,
        "one": np.array([1]),
        "zero": np.array([0]),
        "half": np.array([SIZE // 2]),
        "end": np.array([choices.of((SIZE, 1 << 40))]),
        "last": np.array([choices.of((3, -1))]),
        "two": np.array([SIZE // 2, SIZE // 2]),
    }
    shape = f"{batch},{rows},{WIDTH}" if split else f"{batch},{HEADS},{rows},{SIZE}"
    return model(
        body,
        f"float[{shape}] x, float[1,{rows},{SIZE // 2}] f",
        opset=choices.of((13, 17, 21)),
        initializers={name: value for name, value in constants.items() if name in body},
    )


def packed_attention(choices: Choices) -> ModelProto:
    """Attention on parts of one product, whose heads are split and moved together."""
    batch, rows = choices.of(("b", 2)), choices.of(("s", 3))
    order = choices.of(((0, 1, 2), (1, 0, 2)))
    return model(
        "r = Reshape(x, packed) t = Transpose<perm = [2, 0, 3, 1, 4]>(r) q = Gather<axis = 0>(t, i0) k = Gather<axis = 0>(t, i1) "
        "v = Gather<axis = 0>(t, i2) kt = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, kt) z = Mul(s, c) p = Softmax<axis = -1>(z) "
        "o = MatMul(p, v) oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)",
        f"float[{batch},{rows},{3 * WIDTH}] x",
        opset=choices.of((13, 17, 21)),
        initializers={
            "packed": np.array([0, 0, 3, HEADS, SIZE]),
            "join": _JOIN,
            "c": np.float32(0.5),
            **{f"i{place}": np.array(index) for place, index in enumerate(order)},
        },
    )
