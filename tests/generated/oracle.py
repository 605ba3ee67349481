"""Judges an optimizer by what it does to generated models: same interface, same numbers, still valid, the same every time.

The judge is ONNX Runtime with its optimizer off. Exact levels must keep every bit (NaN payloads apart); the others are held to a tolerance
of the largest number in each output, and only where numbers are calm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto

import graphopt
from graphopt.errors import GraphoptError
from graphopt.ir import Array
from tests.generated.scope import session

__all__ = ["Judgement", "judge", "outputs_of"]

_RTOL = 2e-3
_MAX_ELEMENTS = 100_000


@dataclass
class Judgement:
    """What came of one model.

    Attributes:
        valid: whether ONNX Runtime runs the original on any of the inputs.
        compared: inputs on which original and result were compared.
        faults: what is wrong, one line each.
        odd: what is not wrong but worth a look.
    """

    valid: bool = False
    compared: int = 0
    faults: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def outputs_of(runner: ort.InferenceSession, feeds: Mapping[str, Array]) -> list[object] | None:
    """Outputs of a model, ``None`` when ONNX Runtime refuses the inputs."""
    try:
        return list(runner.run(None, dict(feeds)))
    except Exception:  # noqa: BLE001 - ONNX Runtime raises a class for each status
        return None


def _certain(
    runner: ort.InferenceSession, twin: ort.InferenceSession, feeds: Mapping[str, Array]
) -> list[object] | None:
    """Outputs that are the same in two sessions: some kernels give back memory that they never wrote."""
    found = outputs_of(runner, feeds)
    if found is None or any(isinstance(item, np.ndarray) and item.size > _MAX_ELEMENTS for item in found):
        return None
    noise = [np.full(100_000, 7.25)]
    again = outputs_of(twin, feeds)
    del noise
    same = again is not None and all(
        _difference(a, b, exact=True, judged=True) is None for a, b in zip(found, again, strict=True)
    )
    return found if same else None


def judge(
    model: ModelProto, feeds: Sequence[Mapping[str, Array]], *, levels: Sequence[str], wild: bool, again: bool
) -> Judgement:
    """Optimize a model at some levels and look at the results."""
    verdict = Judgement()
    try:
        original, twin = session(model.SerializeToString()), session(model.SerializeToString())
    except Exception:  # noqa: BLE001 - ONNX Runtime raises a class for each status
        return verdict
    expected = [(item, found) for item in feeds if (found := _certain(original, twin, item)) is not None]
    if not expected:
        return verdict
    verdict.valid = True
    accepted = _accepts(model)
    for level in levels:
        try:
            result = graphopt.optimize(model, level=level, check=False).proto
        except GraphoptError as err:
            verdict.faults.append(f"{level}: refused: {err}")
            continue
        except Exception as err:  # noqa: BLE001 - whatever it is, it should not be
            verdict.faults.append(f"{level}: raised {type(err).__name__}: {err}")
            continue
        verdict.faults += [f"{level}: {fault}" for fault in _interface(model, result)]
        if accepted and (reason := _refusal(result)):
            verdict.faults.append(f"{level}: the checker refuses the result: {reason}")
        verdict.faults += _numbers(level, model, result, expected, wild=wild)
        verdict.compared += len(expected)
        if again:
            verdict.odd += _again(level, model, result)
    return verdict


def _accepts(model: ModelProto) -> bool:
    return _refusal(model) is None


def _refusal(model: ModelProto) -> str | None:
    try:
        onnx.checker.check_model(model)
    except Exception as err:  # noqa: BLE001 - the checker raises several classes, some of them native
        return str(err)
    return None


def _interface(model: ModelProto, result: ModelProto) -> list[str]:
    faults = []
    for kind in ("input", "output"):
        before, after = getattr(model.graph, kind), getattr(result.graph, kind)
        if [(v.name, v.type) for v in before] != [(v.name, v.type) for v in after]:
            faults.append(f"the {kind}s are others: {[v.name for v in before]} became {[v.name for v in after]}")
    if model.ir_version != result.ir_version:
        faults.append(f"IR version {model.ir_version} became {result.ir_version}")
    versions = [{item.domain: item.version for item in proto.opset_import} for proto in (model, result)]
    if versions[0].get("") != versions[1].get("", versions[0].get("")):
        faults.append(f"opsets {versions[0]} became {versions[1]}")
    return faults


def _numbers(
    level: str,
    model: ModelProto,
    result: ModelProto,
    expected: Sequence[tuple[Mapping[str, Array], list[object]]],
    *,
    wild: bool,
) -> list[str]:
    has_half = _has_half(model)
    has_where = b"Where" in model.SerializeToString()  # ONNX Runtime's gives back a positive zero for a negative one
    try:
        runner = session(result.SerializeToString())
    except Exception as err:  # noqa: BLE001 - ONNX Runtime raises a class for each status
        return [f"{level}: the result does not load: {err}"]
    for item, wanted in expected:
        found = outputs_of(runner, item)
        sizes = {name: array.shape for name, array in item.items()}
        if found is None:
            return [f"{level}: the result does not run for {sizes}"]
        exact = level == "O1" and not has_half
        steady = [not wild] * len(wanted) if exact or wild else _steady(model, item, wanted)
        if has_half:  # what is rounded otherwise shows in comparisons and in integers
            steady = [
                held and isinstance(a, np.ndarray) and a.dtype.kind in "fV"
                for held, a in zip(steady, wanted, strict=True)
            ]
        for info, a, b, judged in zip(model.graph.output, wanted, found, steady, strict=True):
            reason = _difference(a, b, exact=exact, signs=not has_where, judged=judged)
            if reason and _is_certain(model, expected, item, info.name, a):
                return [f"{level}: output {info.name!r} differs for {sizes}: {reason}"]
    return []


def _is_certain(
    model: ModelProto,
    expected: Sequence[tuple[Mapping[str, Array], list[object]]],
    feeds: Mapping[str, Array],
    name: str,
    first: object,
) -> bool:
    """Whether the original gives the same again, after other inputs too: some kernels give back memory that they never wrote."""
    place = [value.name for value in model.graph.output].index(name)
    for others in ([], [item for item, _ in expected], [feeds] * 3):
        runner = session(model.SerializeToString())
        for item in others:
            outputs_of(runner, item)
        found = outputs_of(runner, feeds)
        if found is None or _difference(first, found[place], exact=True, judged=True) is not None:
            return False
    return True


def _steady(model: ModelProto, feeds: Mapping[str, Array], wanted: list[object]) -> list[bool]:
    """Whether each output of the original moves little when its inputs move a little: others can't be judged by a tolerance."""
    runner = session(model.SerializeToString())
    steady = [True] * len(wanted)
    for factor in (1 + 4e-6, 1 - 4e-6):
        moved = {
            name: (array.astype(np.float64) * factor + 1e-6 * (factor - 1) / abs(factor - 1)).astype(array.dtype)
            if array.dtype.kind == "f"
            else array
            for name, array in feeds.items()
        }
        found = outputs_of(runner, moved)
        for index, (a, b) in enumerate(zip(wanted, found or [None] * len(wanted), strict=True)):
            steady[index] &= _difference(a, b, exact=False, judged=True) is None
    return steady


def _has_half(model: ModelProto) -> bool:
    """Whether there may be half precision in it: ONNX Runtime computes that in float32 and does not round in between."""
    half = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    stack = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while stack:
        graph = stack.pop()
        nodes += graph.node
        if any(value.type.tensor_type.elem_type in half for value in graph.input) or any(
            item.data_type in half for item in graph.initializer
        ):
            return True
        stack += [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return any(attribute.i in half or attribute.t.data_type in half for node in nodes for attribute in node.attribute)


def _difference(a: object, b: object, *, exact: bool, judged: bool, signs: bool = True) -> str | None:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return None if type(a) is type(b) else f"{type(a)} became {type(b)}"
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{a.shape} became {b.dtype}{b.shape}"
    if a.dtype.kind not in "fV":
        same = bool(np.array_equal(a, b))
        return None if same or not (exact or judged) else f"{a.tolist()} became {b.tolist()}"
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    if exact:
        equal = ((wide_a == wide_b) & ((np.signbit(wide_a) == np.signbit(wide_b)) | (not signs))) | (
            np.isnan(wide_a) & np.isnan(wide_b)
        )
        return None if equal.all() else f"{a.tolist()} became {b.tolist()}"
    if not judged or not np.isfinite(wide_a).all():
        return None
    limit = _RTOL * float(np.abs(wide_a).max(initial=1.0)) * (20 if a.dtype.itemsize < 4 else 1)
    return None if (np.abs(wide_a - wide_b) <= limit).all() else f"{a.tolist()} became {b.tolist()}"


def _again(level: str, model: ModelProto, result: ModelProto) -> list[str]:
    """Whether a second run gives the same bytes, and a run on the result nothing new."""
    odd = []
    data = result.SerializeToString(deterministic=True)
    if graphopt.optimize(model, level=level, check=False).proto.SerializeToString(deterministic=True) != data:
        odd.append(f"{level}: a second run gives other bytes")
    try:
        again = graphopt.optimize(result, level=level, check=False).proto
    except GraphoptError as err:
        return [*odd, f"{level}: the result is refused when it is optimized again: {err}"]
    before, after = ([node.op_type for node in proto.graph.node] for proto in (result, again))
    if before != after:
        odd.append(f"{level}: optimized again, {before} becomes {after}")
    return odd
