"""Golden files: a model before, a pipeline, and what is to become of it, in one text file that people read and version control shows.

A file has a head of comments and four parts in this order::

    # Two negations are none.
    == pipeline
    canonicalize
    == before
    <ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y) { a = Neg(x) b = Neg(a) y = Relu(b) }
    == rewrites
    shorten-unary-chain: 1
    == after
    graphopt-ir 1
    ...

``before`` is ONNX text syntax, with initializers and opset. ``after`` is the text form of graphopt's IR without lineage, one node a
line and large weights as digests; it and ``rewrites`` are written by ``pytest --update-golden``.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from graphopt.backends import new_files
from graphopt.compiler import Environment
from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import Model, clone_model, print_model, structural_equal
from graphopt.serde import lift_model
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.oracles import laws
from graphopt.testing.oracles.case import Case
from graphopt.testing.oracles.law import Checked
from graphopt.testing.oracles.source import ModelLike, generated_of, parse_text
from graphopt.testing.oracles.subject import Testable, default_environment, subject_of

__all__ = ["GoldenFile", "assert_becomes", "assert_golden"]

_PARTS: Final = ("pipeline", "before", "rewrites", "after")
_HEAD: Final = re.compile(r"^== *([a-z]+) *$", re.MULTILINE)
_HOW: Final = "look at the difference; if it is meant, run pytest --update-golden and commit the file"


@dataclass(frozen=True, slots=True)
class GoldenFile:
    """What a golden file says.

    Attributes:
        comment: the lines before the first part.
        pipeline: text of the pipeline.
        before: the model, in ONNX text syntax.
        rewrites: counts by rule, one a line; ``None`` when the file has no such part yet.
        after: the result, ``None`` when the file has no such part yet.
    """

    comment: str
    pipeline: str
    before: str
    rewrites: str | None = None
    after: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> GoldenFile:
        """The golden file at a path.

        Raises:
            ModelError: if it has not the parts that it should have.
            OSError: if it can't be read.
        """
        name = os.fspath(path)
        comment, *pieces = _HEAD.split(Path(path).read_text(encoding="utf-8"))
        parts = dict(zip(pieces[::2], (piece.strip("\n") for piece in pieces[1::2]), strict=True))
        stray = [line for line in comment.splitlines() if line.strip() and not line.startswith("#")]
        if stray:
            raise ModelError(f"golden file {name!r}: expected a comment (# ...) or '== pipeline', found {stray[0]!r}")
        for part in parts:
            if part not in _PARTS:
                raise ModelError(f"golden file {name!r}: unknown part {part!r}, expected {', '.join(_PARTS)}")
        if len(parts) != len(pieces) // 2:
            raise ModelError(f"golden file {name!r}: a part occurs twice; keep one of each")
        for part in _PARTS[:2]:
            if not parts.get(part, "").strip():
                raise ModelError(f"golden file {name!r}: part '== {part}' is missing; write it by hand")
        return cls(comment.strip("\n"), parts["pipeline"], parts["before"], parts.get("rewrites"), parts.get("after"))

    def text(self) -> str:
        """The file's text."""
        parts = [(name, getattr(self, name)) for name in _PARTS]
        lines = [self.comment] if self.comment else []
        for name, text in parts:
            if text is not None:
                lines += [f"== {name}", *([text] if text else [])]
        return "\n".join(lines) + "\n"


def assert_golden(
    path: str | os.PathLike[str],
    testable: Testable | None = None,
    *,
    update: bool = False,
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pipeline makes of a model what a golden file says, by the rewrites it says; and the numbers are right.

    Args:
        path: the file; see the head of this module.
        testable: what to run instead of the file's pipeline, for passes that no plugin registers; the file then only names it.
        update: write what became of the model into the file instead. It is held to :func:`assert_equivalent` all the same.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        AssertionError: with a difference of lines, if something else became of it, or the file has no result yet.
        LawBroken: if the result is wrong.
        ModelError: if the file is not what it should be.
    """
    stated = GoldenFile.read(path)
    known = environment or default_environment()
    pipeline = "\n".join(line for line in stated.pipeline.splitlines() if not line.lstrip().startswith("#"))
    subject = subject_of(pipeline if testable is None else testable, known)
    model = GeneratedModel(parse_text(stated.before, source=f"golden file {os.fspath(path)!r}, part 'before'"))
    case = Case(subject, model, known, target=target)
    try:
        found = laws.equivalent(case)
    except ExecutionError as err:  # operators that nothing here runs
        found = Checked("equivalent", case.run.changed, case.run.rewrites, skipped=str(err))
    counts = "\n".join(f"{name}: {count}" for name, count in sorted(case.run.rewrites.items()))
    now = replace(stated, rewrites=counts, after=print_model(case.run.ir, details=False).rstrip("\n"))
    if now == stated:
        return replace(found, law="golden")
    if update:
        with new_files([Path(path).resolve()]) as (file,):
            file.write(now.text().encode())
        return replace(found, law="golden")
    if stated.after is None:
        raise AssertionError(
            f"golden file {os.fspath(path)!r} has no result yet; run pytest --update-golden, look at what it writes, and commit it"
        )
    raise AssertionError(
        f"golden file {os.fspath(path)!r} says something else; {_HOW}\n{_difference(stated.text(), now.text())}"
    )


def assert_becomes(
    testable: Testable,
    before: ModelLike,
    expected: ModelLike,
    *,
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass makes of one model another one: structurally equal, up to names of inner values and nodes.

    Args:
        testable: see :func:`assert_equivalent`.
        before: the model, as ONNX text or in any other form.
        expected: what is to become of it.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        AssertionError: with a difference of lines, in which values are numbered.
        LawBroken: if the pass fails.

    Example:
        >>> head = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y)'
        >>> assert_becomes(
        ...     "canonicalize", head + "{ a = Neg(x) b = Neg(a) y = Relu(b) }", head + "{ y = Relu(x) }"
        ... ).rewrites
        {'shorten-unary-chain': 1}
    """
    known = environment or default_environment()
    case = Case(subject_of(testable, known), generated_of(before), known, target=target)
    run, wanted = case.run, lift_model(generated_of(expected).proto)
    found = lift_model(run.proto)
    if structural_equal(found, wanted):
        return Checked("becomes", run.changed, run.rewrites)
    raise AssertionError(
        f"{case.subject.name} makes another model of it, by rewrites {run.rewrites or 'none'}:\n"
        f"{_difference(_numbered(wanted), _numbered(found))}"
    )


def _numbered(model: Model) -> str:
    """Text in which inner values have numbers in the order of the graph, so that only structure differs."""
    copy = clone_model(model)
    for owner in copy.owners():
        fixed = {value.name for value in (*owner.graph.inputs, *owner.graph.outputs)}
        number = 0
        for graph in owner.graph.walk_graphs():
            graph.name = ""
            for value in graph.values():
                value.declared = value.declared and value.name in fixed
                if value.name and value.name not in fixed:
                    number += 1
                    value.name = f"{number}"
                    value.type = value.type if value.const is not None else None
            for node in graph.nodes:
                node.name = ""
    return print_model(copy, details=False)


def _difference(expected: str, found: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), fromfile="expected", tofile="found", lineterm="", n=3
    )
    return "\n".join(lines)
