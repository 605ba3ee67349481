"""The laws, each a function of a :class:`~graphopt.testing.oracles.case.Case` that raises when it is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import onnx.checker
from onnx import ModelProto, ValueInfoProto

from graphopt.ir import Constant, Model, clone_model, print_model
from graphopt.serde import lift_model
from graphopt.testing.oracles.case import Case, Run
from graphopt.testing.oracles.frugality import frugal
from graphopt.testing.oracles.law import Checked, model_text

__all__ = ["FURTHER_LAWS", "LAWS", "deterministic", "equivalent", "frugal", "honest", "idempotent", "unchanged_input"]

Law = Callable[[Case], Checked]


def _checked(law: str, run: Run, *, compared: int = 0, skipped: str = "") -> Checked:
    return Checked(law, run.changed, run.rewrites, compared, skipped)


# -- equivalent -------------------------------------------------------------------------------------------------------------


def equivalent(case: Case) -> Checked:
    """Same interface, as valid as before, same numbers."""
    run = case.run
    if case.found_nothing:
        return _checked("equivalent", run)
    changes = interface_changes(case.proto, run.proto, may_change_of(case))
    if changes:
        raise case.broken(
            "interface",
            "; ".join(changes),
            advice="keep what callers see; `may_change` says what a pass is meant to change",
            after=run.proto,
            application=case.culprit(lambda proto: bool(interface_changes(case.proto, proto, may_change_of(case)))),
        )
    refusal = checker_refusal(run.proto)
    if refusal and not checker_refusal(case.proto):
        raise case.broken(
            "valid",
            f"onnx.checker takes the original and refuses the result: {refusal}",
            advice="make nodes that the schema of their operator allows at this opset",
            after=run.proto,
            application=case.culprit(lambda proto: bool(checker_refusal(proto))),
        )
    numerics = case.subject.numerics
    fault, compared, skipped = case.original.find_fault(run.proto, numerics)
    if fault is not None:
        raise case.broken(
            "equivalent",
            fault.detail,
            advice="correct the arithmetic, refuse this case with NoMatch, or declare other numerics if it is only rounding",
            feeds=fault.feeds,
            after=run.proto,
            application=case.culprit(lambda proto: case.original.find_fault(proto, numerics)[0] is not None),
            replays=not fault.slight,
        )
    return _checked("equivalent", run, compared=compared, skipped=skipped)


def interface_changes(before: ModelProto, after: ModelProto, may_change: frozenset[str]) -> list[str]:
    """What callers of a model would notice, one text each.

    Names, order, types, dims, doc strings and metadata of inputs and outputs; the IR version; versions of the operator sets that were
    imported (a pass may import another one).
    """
    found = []
    for kind in ("input", "output"):
        old, new = getattr(before.graph, kind), getattr(after.graph, kind)
        if [value.name for value in old] != [value.name for value in new]:
            found.append(f"{kind}s are {[value.name for value in new]}, expected {[value.name for value in old]}")
            continue
        found += [
            f"{kind} {a.name!r}: {what} changed" for a, b in zip(old, new, strict=True) if (what := _changed(a, b))
        ]
    if "ir_version" not in may_change and before.ir_version != after.ir_version:
        found.append(f"IR version is {after.ir_version}, expected {before.ir_version}")
    opsets = [{item.domain or "ai.onnx": item.version for item in proto.opset_import} for proto in (before, after)]
    if "opset" not in may_change:
        for domain, version in opsets[0].items():
            if opsets[1].get(domain, version) != version:
                found.append(f"opset of domain {domain} is {opsets[1][domain]}, expected {version}")
    return found


def _changed(a: ValueInfoProto, b: ValueInfoProto) -> str:
    if a.type != b.type:
        return f"its type (from {_one_line(a.type)} to {_one_line(b.type)})"
    if a.doc_string != b.doc_string:
        return f"its doc string (from {a.doc_string!r} to {b.doc_string!r})"
    metadata = [{item.key: item.value for item in value.metadata_props} for value in (a, b)]
    return f"its metadata (from {metadata[0]} to {metadata[1]})" if metadata[0] != metadata[1] else ""


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def may_change_of(case: Case) -> frozenset[str]:
    """What the passes declare that they change besides the graph: ``"opset"``, ``"ir_version"``."""
    stated = [name for item in case.subject.passes for name in getattr(item, "may_change", ())]
    return frozenset((*stated, *case.may_change))


def checker_refusal(proto: ModelProto) -> str:
    """Why onnx.checker does not take a model, ``""`` when it does."""
    try:
        onnx.checker.check_model(proto)
    except Exception as err:  # noqa: BLE001 - the checker raises several classes, some of them native
        return " ".join(str(err).split())
    return ""


# -- what a pass says -------------------------------------------------------------------------------------------------------


def honest(case: Case) -> Checked:
    """``changed`` is true if and only if anything changed."""
    run = case.run
    for step in run.steps:
        if step.structure and not step.said:
            raise case.broken(
                "honest",
                f"pass {step.name!r} says changed=False, but the model is another one",
                advice="return PassResult(changed=True) for every edit, or the passes after it never see the change",
                after=run.proto,
            )
        if step.said and not step.anything:
            raise case.broken(
                "honest",
                f"pass {step.name!r} says changed=True, but nothing changed",
                advice="return PassResult(changed=False) when there was nothing to do, or a fixpoint never ends",
                after=run.proto,
            )
    return _checked("honest", run)


def idempotent(case: Case) -> Checked:
    """A second run changes nothing and says so."""
    run = case.run
    if case.subject.function is not None:
        again = case.run_on(run.proto)
        if again.changed:
            raise case.broken(
                "idempotent", "a second run changed the model again", advice=_TO_FIXPOINT, after=again.proto
            )
        return _checked("idempotent", run)
    copy = clone_model(run.ir)
    second = case.run_ir(copy)
    said = [step.name for step in second.steps if step.said]
    if second.changed or said:
        what = f"rewrites {second.rewrites}" if second.rewrites else f"passes that say changed=True: {said}"
        raise case.broken(
            "idempotent",
            f"a second run changed the model again ({what})",
            advice=_TO_FIXPOINT,
            after=case.emit(copy),
            application=next(iter(second.applications), None),
        )
    return _checked("idempotent", run)


_TO_FIXPOINT: Final = "repeat inside the pass until nothing is left to do, and refuse what the pass itself made"


def deterministic(case: Case) -> Checked:
    """Two runs give the same bytes."""
    run = case.run
    again = case.run_on(case.proto)
    one, other = (proto.SerializeToString(deterministic=True) for proto in (run.proto, again.proto))
    if one != other:
        raise case.broken(
            "deterministic",
            f"two runs give different models; the first is below, the second is\n{model_text(again.proto)}",
            advice="take randomness from ctx.rng only, keep no state between runs, and do not iterate over sets of objects",
            after=run.proto,
        )
    return _checked("deterministic", run)


# -- what belongs to others -------------------------------------------------------------------------------------------------


def unchanged_input(case: Case) -> Checked:
    """The message, the IR it was lifted to and all weights are the same afterwards, byte for byte."""
    run = case.run
    if case.subject.function is None:
        source = lift_model(case.proto)
        before = _snapshot(source)
        case.run_ir(clone_model(source))
        changed = [name for name, data in _snapshot(source).items() if before.get(name) != data]
        if changed:
            raise case.broken(
                "unchanged-input",
                f"{', '.join(changed[:4])} of the model that the pass was given a copy of changed",
                advice="weights are shared between copies: compute on array.copy(), and put the result into a new constant",
            )
    if case.proto.SerializeToString(deterministic=True) != case.bytes:
        raise case.broken(
            "unchanged-input",
            "the message that the model was read from is another one afterwards",
            advice="work on a copy of the message",
            after=case.proto,
        )
    return _checked("unchanged-input", run)


def _snapshot(model: Model) -> Mapping[str, bytes]:
    """What a pass could touch: the structure, and the bytes of each weight, read anew (digests are remembered)."""
    found = {"the structure": print_model(model, weights="omit", small=0).encode()}
    for graph in model.graphs():
        for value in graph.values():
            if value.const is not None:
                found[f"weight {value.name!r}"] = _digest(value.const)
        for node in graph.nodes:
            for name, attribute in node.attributes.items():
                if isinstance(attribute.value, Constant):
                    found[f"attribute {name!r} of node {node.name or node.op!r}"] = _digest(attribute.value)
    return found


def _digest(constant: Constant) -> bytes:
    array = constant.numpy()
    data = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    return hashlib.sha256(data).digest()


#: The laws by name that :func:`~graphopt.testing.check_pass` holds a pass to, those about other forms of a model apart.
LAWS: Final[Mapping[str, Law]] = {
    "equivalent": equivalent,
    "honest": honest,
    "idempotent": idempotent,
    "deterministic": deterministic,
    "unchanged-input": unchanged_input,
}
#: Laws that only some passes are meant to keep.
FURTHER_LAWS: Final[Mapping[str, Law]] = {"frugal": frugal}
