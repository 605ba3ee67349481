"""From a case of the ONNX backend suite and a tool to a verdict on the tool's model.

A model is right when it has the inputs and outputs of the original (names, order, types, known dimensions), ONNX Runtime
runs it, and the outputs are the expected ones within the case's tolerance. Where ONNX Runtime can't run the original
either, a model that onnx.checker accepts as it accepted the original is right, and so is one of graphopt's own errors.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, TypeProto

from benchmarks.tools import TOOLS
from tests.onnx_suite import Case, mismatch, run_with_ort

__all__ = ["KINDS", "check_case", "check_rest", "interface_change"]

KINDS = ("right", "exception", "interface", "default lost", "invalid", "wrong", "crash", "timeout")
"""Verdicts; "default lost": inputs are gone that had a default, an initializer of the same name."""


def check_case(case: Case, tool: str, folder: Path) -> tuple[str, str]:
    """Return one of KINDS and the reason for one case optimized by one tool in this process."""
    source, target = folder / "case.onnx", folder / "optimized.onnx"
    target.unlink(missing_ok=True)
    source.write_bytes(case.model.SerializeToString())
    try:
        TOOLS[tool].function(str(source), str(target))
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        return "exception", f"{type(err).__name__}: {err}"
    optimized = onnx.load(target)
    changed = interface_change(case.model, optimized)
    if changed is not None:
        return changed
    for data_set in case.data_sets:
        try:
            outputs = run_with_ort(optimized, data_set.inputs)
        except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
            return "invalid", f"{type(err).__name__}: {err}"
        reason = mismatch(outputs, data_set.outputs, rtol=case.rtol, atol=case.atol)
        if reason is not None:
            return "wrong", reason
    return "right", ""


def check_rest(case: Case, tool: str, folder: Path) -> tuple[str, str]:
    """Return one of KINDS and the reason for a case that ONNX Runtime can't judge: onnx.checker does, on both models."""
    source, target = folder / "case.onnx", folder / "optimized.onnx"
    target.unlink(missing_ok=True)
    source.write_bytes(case.model.SerializeToString())
    try:
        TOOLS[tool].function(str(source), str(target))
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        own = type(err).__module__ == "graphopt.errors"
        return "right" if own else "exception", f"{type(err).__name__}: {err}"
    try:
        onnx.checker.check_model(target)
    except Exception as err:  # noqa: BLE001  the checker raises ValueError and RuntimeError too
        return ("invalid", str(err)) if _is_accepted(source) else ("right", "")
    return "right", ""


def _is_accepted(path: Path) -> bool:
    try:
        onnx.checker.check_model(path)
    except Exception:  # noqa: BLE001  the checker raises ValueError and RuntimeError too
        return False
    return True


def interface_change(before: ModelProto, after: ModelProto, *, sizes: bool = True) -> tuple[str, str] | None:
    """Return "interface" or "default lost" and what differs, or None; a dimension may become known.

    Args:
        before: the original.
        after: the result.
        sizes: whether dimensions that are stated must stay; else only names, order, element types and ranks.
    """
    defaults = {tensor.name for tensor in before.graph.initializer}
    kept = {value.name for value in after.graph.input}
    lost = [value.name for value in before.graph.input if value.name in defaults - kept]
    for what in ("input", "output"):
        old = [value for value in getattr(before.graph, what) if value.name not in lost]
        new = getattr(after.graph, what)
        if [value.name for value in old] != [value.name for value in new]:
            return "interface", f"{what}s {[value.name for value in old]} became {[value.name for value in new]}"
        for was, now in zip(old, new, strict=True):
            if not _is_kept(was.type, now.type, sizes=sizes):
                return "interface", f"{what} {was.name!r} changed its type"
    return ("default lost", f"inputs {lost} are gone") if lost else None


def _is_kept(was: TypeProto, now: TypeProto, *, sizes: bool) -> bool:
    kind = was.WhichOneof("value")
    if kind != now.WhichOneof("value") or kind is None:
        return kind is None
    if kind == "sequence_type":
        return _is_kept(was.sequence_type.elem_type, now.sequence_type.elem_type, sizes=sizes)
    if kind == "optional_type":
        return _is_kept(was.optional_type.elem_type, now.optional_type.elem_type, sizes=sizes)
    if kind != "tensor_type":
        return bool(was == now)
    if was.tensor_type.elem_type != now.tensor_type.elem_type:
        return False
    if not was.tensor_type.HasField("shape"):
        return True
    old, new = was.tensor_type.shape.dim, now.tensor_type.shape.dim
    if len(old) != len(new):
        return False
    return not sizes or all(a.WhichOneof("value") is None or a == b for a, b in zip(old, new, strict=True))
