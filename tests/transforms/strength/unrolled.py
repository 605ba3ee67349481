"""Models of recurrent cells that are unrolled into steps, in the spellings of several frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto

from graphopt.ir import Array
from tests.transforms.harness import model

__all__ = ["Unrolled", "unrolled"]


@dataclass
class Unrolled:
    """What to unroll.

    Attributes:
        op: ``LSTM`` or ``GRU``.
        spelling: ``gemm`` (Split of the sum of two Gemm), ``separate`` (MatMul and Add for each gate), ``joined`` (Concat of input and
            state, one product), ``hoisted`` (the input's product for all steps at once).
        steps: how many.
        axis: of the steps in ``x``; ``None`` for an input each.
        batch: size or name.
        width: of the state.
        inputs: of the input.
        initial: ``zeros``, ``ones`` or ``input``.
        is_reverse: whether steps go from the end.
        given: numbers of the steps whose hidden state is put out; the last is anyway.
        state: whether the last cell state is put out.
        mix: ``weighted``, ``moved`` or ``opposite``.
        reset: whether the reset gate is multiplied behind the product.
        opset: of the model.
        seed: of the weights.
    """

    op: str = "LSTM"
    spelling: str = "gemm"
    steps: int = 3
    axis: int | None = 1
    batch: int | str = 2
    width: int = 3
    inputs: int = 2
    initial: str = "zeros"
    is_reverse: bool = False
    given: Sequence[int] = ()
    state: bool = False
    mix: str = "weighted"
    reset: bool = True
    opset: int = 17
    seed: int = 0
    constants: dict[str, Array] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)

    @property
    def gates(self) -> str:
        """Letters of the gates, in the order in which this spelling packs them."""
        return "ifgo" if self.op == "LSTM" else "rzn"


def unrolled(spec: Unrolled) -> ModelProto:
    """The model: input ``x`` (or ``x0``, ``x1``, ...), outputs ``y`` and whatever is asked for."""
    rng = np.random.default_rng(spec.seed)
    for gate in spec.gates:
        for name, shape in (
            ("w", (spec.inputs, spec.width)),
            ("u", (spec.width, spec.width)),
            ("b", (spec.width,)),
            ("d", (spec.width,)),
        ):
            spec.constants[name + gate] = rng.normal(0, 0.7, shape).astype(np.float32)
    spec.constants["one"] = np.array(1, np.float32)
    inputs, rows = [], spec.batch if isinstance(spec.batch, int) else 1
    for name in ("h", "c"):
        if spec.initial == "input":
            inputs.append(f"float[{spec.batch},{spec.width}] {name}")
        else:
            fill = np.zeros if spec.initial == "zeros" else np.ones
            spec.constants[name] = fill((rows, spec.width), np.float32)
    if spec.axis is None:
        inputs += [f"float[{spec.batch},{spec.inputs}] x{step}" for step in range(spec.steps)]
    else:
        sizes = [str(spec.batch), str(spec.inputs)]
        sizes.insert(spec.axis, str(spec.steps))
        inputs.append(f"float[{','.join(sizes)}] x")
    _prepare(spec)
    for step in range(spec.steps):
        _step(spec, step)
    outputs = ["y", *(f"y{step}" for step in spec.given), *(["z"] if spec.state else [])]
    spec.body.append(f"y = Identity(h{spec.steps})")
    spec.body += [f"y{step} = Identity(h{step + 1})" for step in spec.given]
    spec.body += [f"z = Identity(c{spec.steps})"] if spec.state else []
    body = " ".join(spec.body)
    return model(
        body,
        ", ".join(item for item in inputs if f"{item.split()[-1]}" in _words(body)),
        ", ".join(f"float[*] {name}" for name in outputs),
        opset=spec.opset,
        initializers={name: array for name, array in spec.constants.items() if name in _words(body)},
    )


def _words(body: str) -> set[str]:
    return set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())


def _joined(spec: Unrolled, name: str, gates: str, axis: int = -1) -> Array:
    return np.concatenate([spec.constants[name + gate] for gate in gates], axis=axis)


def _prepare(spec: Unrolled) -> None:
    """Constants that all steps share, and what is computed for all of them at once."""
    gates = spec.gates
    spec.constants["sizes"] = np.full(len(gates), spec.width)
    spec.constants.update(W=_joined(spec, "w", gates).T, U=_joined(spec, "u", gates).T)
    spec.constants.update(B=_joined(spec, "b", gates), D=_joined(spec, "d", gates))
    spec.constants["WU"] = np.concatenate([spec.constants["W"].T, spec.constants["U"].T])
    if spec.spelling == "hoisted":
        spec.constants["V"] = spec.constants["W"].T
        spec.body.append("allw = MatMul(x, V) all = Add(allw, B)")
    for gate in "rzn":
        if gate in gates:
            spec.constants["wu" + gate] = np.concatenate([spec.constants["w" + gate], spec.constants["u" + gate]])


def _split(spec: Unrolled, parts: list[str], whole: str) -> str:
    if spec.opset >= 13:
        return f"{', '.join(parts)} = Split<axis = 1>({whole}, sizes)"
    return f"{', '.join(parts)} = Split<axis = 1, split = {[spec.width] * len(parts)}>({whole})"


def _step(spec: Unrolled, step: int) -> None:
    place = spec.steps - 1 - step if spec.is_reverse else step
    before = "h" if step == 0 else f"h{step}"
    spec.constants[f"at{place}"] = np.array(place)
    x = f"x{step}"
    if spec.axis is not None and spec.spelling != "hoisted":
        spec.body.append(f"{x} = Gather<axis = {spec.axis}>(x, at{place})")
    if spec.op == "LSTM":
        _lstm(spec, step, x, before, place)
    else:
        _gru(spec, step, x, before, place)


def _sums(spec: Unrolled, step: int, x: str, before: str, place: int) -> list[str]:
    """What the gates of an LSTM are made of."""
    parts = [f"{gate}{step}" for gate in spec.gates]
    match spec.spelling:
        case "separate":
            for gate, part in zip(spec.gates, parts, strict=True):
                spec.body.append(
                    f"{part}p = MatMul({x}, w{gate}) {part}q = MatMul({before}, u{gate}) {part}r = Add({part}p, {part}q) "
                    f"{part} = Add({part}r, b{gate})"
                )
        case "joined":
            spec.body.append(
                f"j{step} = Concat<axis = 1>({x}, {before}) k{step} = MatMul(j{step}, WU) s{step} = Add(k{step}, B) "
                + _split(spec, parts, f"s{step}")
            )
        case "hoisted":
            spec.body.append(
                f"p{step} = Gather<axis = {spec.axis}>(all, at{place}) s{step} = Gemm<transB = 1>({before}, U, p{step}) "
                + _split(spec, parts, f"s{step}")
            )
        case _:
            spec.body.append(
                f"p{step} = Gemm<transB = 1>({x}, W, B) q{step} = Gemm<transB = 1>({before}, U, D) s{step} = Add(p{step}, q{step}) "
                + _split(spec, parts, f"s{step}")
            )
    return parts


def _lstm(spec: Unrolled, step: int, x: str, before: str, place: int) -> None:
    state = "c" if step == 0 else f"c{step}"
    i, f, g, o = _sums(spec, step, x, before, place)
    spec.body.append(
        f"{i}a = Sigmoid({i}) {f}a = Sigmoid({f}) {g}a = Tanh({g}) {o}a = Sigmoid({o}) "
        f"m{step} = Mul({f}a, {state}) l{step} = Mul({i}a, {g}a) c{step + 1} = Add(m{step}, l{step}) "
        f"t{step} = Tanh(c{step + 1}) h{step + 1} = Mul({o}a, t{step})"
    )


def _gru(spec: Unrolled, step: int, x: str, before: str, place: int) -> None:
    r, z, n = (f"{gate}{step}" for gate in "rzn")
    if spec.spelling == "joined":  # as TensorFlow has it: the reset gate before the product
        spec.body.append(
            f"j{step} = Concat<axis = 1>({x}, {before}) {r}p = MatMul(j{step}, wur) {z}p = MatMul(j{step}, wuz) {r} = Add({r}p, br) "
            f"{z} = Add({z}p, bz) {r}a = Sigmoid({r}) {z}a = Sigmoid({z}) rh{step} = Mul({r}a, {before}) "
            f"v{step} = Concat<axis = 1>({x}, rh{step}) {n}p = MatMul(v{step}, wun) {n} = Add({n}p, bn) {n}a = Tanh({n})"
        )
    elif spec.spelling == "separate":
        behind = (
            f"{n}q = MatMul({before}, un) {n}d = Add({n}q, dn) {n}s = Mul({r}a, {n}d)"
            if spec.reset
            else f"rh{step} = Mul({r}a, {before}) {n}s = MatMul(rh{step}, un)"
        )
        for gate in (r, z):
            spec.body.append(
                f"{gate}p = MatMul({x}, w{gate[0]}) {gate}q = MatMul({before}, u{gate[0]}) {gate}s = Add({gate}p, {gate}q) "
                f"{gate} = Add({gate}s, b{gate[0]}) {gate}a = Sigmoid({gate})"
            )
        spec.body.append(f"{n}p = MatMul({x}, wn) {n}b = Add({n}p, bn) {behind} {n} = Add({n}b, {n}s) {n}a = Tanh({n})")
    else:
        source = f"p{step} = Gemm<transB = 1>({x}, W, B)"
        if spec.spelling == "hoisted":
            source = f"p{step} = Gather<axis = {spec.axis}>(all, at{place})"
        spec.body.append(
            f"{source} q{step} = Gemm<transB = 1>({before}, U, D) {_split(spec, [f'{r}x', f'{z}x', f'{n}x'], f'p{step}')} "
            f"{_split(spec, [f'{r}h', f'{z}h', f'{n}h'], f'q{step}')} {r} = Add({r}x, {r}h) {z} = Add({z}x, {z}h) {r}a = Sigmoid({r}) "
            f"{z}a = Sigmoid({z}) {n}s = Mul({r}a, {n}h) {n} = Add({n}x, {n}s) {n}a = Tanh({n})"
        )
    match spec.mix:
        case "moved":
            spec.body.append(
                f"e{step} = Sub({before}, {n}a) m{step} = Mul({z}a, e{step}) h{step + 1} = Add({n}a, m{step})"
            )
        case "opposite":
            spec.body.append(
                f"e{step} = Sub({n}a, {before}) m{step} = Mul({z}a, e{step}) h{step + 1} = Add({before}, m{step})"
            )
        case _:
            spec.body.append(
                f"e{step} = Sub(one, {z}a) m{step} = Mul(e{step}, {n}a) l{step} = Mul({z}a, {before}) h{step + 1} = Add(m{step}, l{step})"
            )
