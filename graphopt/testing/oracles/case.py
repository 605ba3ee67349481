"""One model under one pass: each run is made once and shared by all laws that look at it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import onnx
from onnx import ModelProto

from graphopt.compiler import Environment
from graphopt.errors import GraphoptError
from graphopt.ir import Model, Node, clone_model, fingerprint, structural_hash, verify
from graphopt.passes import Instrumentation, Pass, PassContext, PassManager, PassRecord, PassResult, PipelineReport
from graphopt.rewriting import Application, Applications, NoMatch, Rule
from graphopt.runtime.base import Feeds
from graphopt.runtime.executor import OrtExecutor
from graphopt.serde import emit_model, lift_model
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.oracles.law import LawBroken
from graphopt.testing.oracles.original import Original
from graphopt.testing.oracles.subject import Subject

__all__ = ["Case", "Run", "Step"]

_INTERNAL: Final = "graphopt"


@dataclass(frozen=True, slots=True)
class Step:
    """What one run of one pass said, and what it did.

    Attributes:
        name: the pass.
        said: whether it said that it changed something.
        structure: whether what the model computes, or how, is another.
        anything: whether anything is another, names and metadata included.
    """

    name: str
    said: bool
    structure: bool
    anything: bool


class _Watch(Instrumentation):
    """Takes fingerprints around each pass."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._before: tuple[bytes, bytes] = (b"", b"")

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        self._before = structural_hash(model), fingerprint(model)

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        structure, anything = structural_hash(model) != self._before[0], fingerprint(model) != self._before[1]
        self.steps.append(Step(item.name, result.changed, structure, anything))


@dataclass(slots=True)
class Run:
    """What a pass made of a model.

    Attributes:
        proto: the result.
        ir: the result as the passes left it, not yet made ready for a runtime.
        report: what the passes say they did, ``None`` for a function.
        steps: what they really did.
        changed: whether passes made it structurally another model; what type inference learns of inputs and outputs does not count.
    """

    proto: ModelProto
    ir: Model
    report: PipelineReport | None = None
    steps: list[Step] = field(default_factory=list)
    changed: bool = False

    @property
    def rewrites(self) -> dict[str, int]:
        """What the passes counted, zeros left out."""
        return {} if self.report is None else {name: count for name, count in self.report.stats.items() if count}

    @property
    def applications(self) -> list[Application]:
        """What was applied, in order."""
        return [] if self.report is None else self.report.applications


class Case:
    """One model under one pass.

    Args:
        subject: what is tested.
        model: on what.
        environment: plugins.
        target: name of the backend that the passes work for.
        feeds: inputs, instead of those that the model was drawn with.
        may_change: what the pass is meant to change besides the graph: ``"opset"``, ``"ir_version"``.
    """

    def __init__(
        self,
        subject: Subject,
        model: GeneratedModel,
        environment: Environment,
        *,
        target: str = "onnx",
        feeds: tuple[Feeds, ...] | None = None,
        may_change: Iterable[str] = (),
    ) -> None:
        self.may_change = frozenset(may_change)
        self.subject = subject
        self.model = model
        self.environment = environment
        self.target = target
        self.reasons: list[tuple[Rule, str, str]] = []
        self._feeds = model.feeds if feeds is None else feeds
        self._bytes: bytes = model.proto.SerializeToString(deterministic=True)

    @property
    def proto(self) -> ModelProto:
        """The model."""
        return self.model.proto

    @property
    def bytes(self) -> bytes:
        """The model as it was when the case was made."""
        return self._bytes

    @property
    def feeds(self) -> tuple[Feeds, ...]:
        """Inputs."""
        return tuple(self._feeds)

    @functools.cached_property
    def original(self) -> Original:
        """What the model does on its inputs.

        Raises:
            ExecutionError: if it does not run.
        """
        return Original(self.proto, tuple(self._feeds), kernels=self.environment.kernels, wild=self.model.is_wild)

    @functools.cached_property
    def run(self) -> Run:
        """What the pass makes of the model, verified before and after."""
        return self.run_on(self.proto, explain=True)

    @property
    def found_nothing(self) -> bool:
        """Whether the result is the very same message, so that its numbers need no look."""
        return bool(self.run.proto.SerializeToString(deterministic=True) == self._bytes)

    def run_on(self, proto: ModelProto, *, explain: bool = False, applications: Applications | None = None) -> Run:
        """Run the pass on another form of the model.

        Raises:
            LawBroken: ``"runs"``, if the pass fails or leaves a broken model.
            ModelError: if the model is broken before any pass.
        """
        if self.subject.function is not None:
            return self._call(self.subject.function, proto)
        ir = lift_model(proto)
        verify(ir)
        found = self.run_ir(ir, self._context(applications, explain=explain))
        with self.blaming("runs", proto):
            found.proto = self.emit(found.ir)
        return found

    def run_ir(self, ir: Model, ctx: PassContext | None = None) -> Run:
        """Run the pass on IR, in place; the message of the result is left empty."""
        pipeline = self.subject.pipeline
        assert pipeline is not None, "functions run on messages"
        watch = _Watch()
        with self.blaming("runs", self.proto):
            report = PassManager(pipeline, [watch]).run(ir, ctx or self._context(None, explain=False))
            verify(ir)
        return Run(ModelProto(), ir, report, watch.steps, any(step.structure for step in watch.steps))

    def _call(self, function: Callable[[ModelProto], ModelProto], proto: ModelProto) -> Run:
        with self.blaming("runs", proto):
            result = function(proto)
            if not isinstance(result, ModelProto):
                raise TypeError(f"it gives a {type(result).__name__}, expected onnx.ModelProto")
            ir = lift_model(result)
            verify(ir)
        return Run(result, ir, changed=structural_hash(ir) != structural_hash(lift_model(proto)))

    def _context(self, applications: Applications | None, *, explain: bool) -> PassContext:
        backend = self.environment.backend(self.target)
        ctx = self.environment.context(
            backend, applications=applications, explain=self._note_reason if explain else None
        )
        ctx.executor = OrtExecutor(threads=1, kernels=self.environment.kernels)  # in this process: a child takes long
        return ctx

    def _note_reason(self, rule: Rule, node: Node, reason: NoMatch) -> None:
        site = node.outputs[0].name if node.outputs else node.name
        self.reasons.append((rule, f"{node.op} {site!r}", str(reason)))

    def emit(self, ir: Model) -> ModelProto:
        """The message of a result; operators that the target does not know are lowered in a copy."""
        operators = self.environment.plugins.operators
        if any(node.domain == _INTERNAL or node.op in operators for graph in ir.graphs() for node in graph.nodes):
            ir = clone_model(ir)
            backend = self.environment.backend(self.target)
            self.environment.legalize(ir, backend, self._context(None, explain=False))
        return emit_model(ir, lineage=False)

    def culprit(self, is_wrong: Callable[[ModelProto], bool], most: int = 64) -> Application | None:
        """The first rewrite after which the result is wrong; ``None`` when that can't be told."""
        applied = self.run.applications
        if len(applied) == 1:
            return applied[0]
        if self.subject.pipeline is None or len(applied) > most:
            return None
        for limit in range(1, len(applied) + 1):
            try:
                run = self.run_on(self.proto, applications=Applications(limit=limit))
            except (LawBroken, GraphoptError):
                return None
            if is_wrong(run.proto):
                return applied[limit - 1] if run.applications == applied[:limit] else None
        return None

    @contextmanager
    def blaming(self, law: str, proto: ModelProto) -> Iterator[None]:
        """Turn whatever the pass raises inside into a broken law."""
        try:
            yield
        except LawBroken:
            raise
        except Exception as err:
            said = f"{type(err).__name__}: {err}"
            raise self.broken(
                law, f"it fails: {said}", model=proto, advice="return NoMatch where the rewrite does not apply"
            ) from err

    def broken(
        self,
        law: str,
        detail: str,
        *,
        advice: str,
        model: ModelProto | None = None,
        feeds: Feeds | None = None,
        after: ModelProto | None = None,
        application: Application | None = None,
        replays: bool = True,
    ) -> LawBroken:
        """The error for a law that the pass breaks on this model; ``replays`` if ``graphopt replay`` would see it."""
        copy = onnx.ModelProto()
        copy.ParseFromString(self._bytes)
        return LawBroken(
            law,
            f"{self.subject.name} ({self.subject.numerics})",
            detail,
            model=copy if model is None else model,
            advice=advice,
            feeds=feeds,
            after=after,
            application=application,
            pipeline=self.subject.text,
            target=self.target,
            imports=self.subject.imports if replays else None,
        )

    def why_not(self, rules: Mapping[str, object] | None = None, most: int = 5) -> str:
        """The most frequent reasons for which rules did not apply, for messages."""
        counts: dict[str, int] = {}
        for rule, place, reason in self.reasons:
            if rules is None or rule.name in rules:
                text = f"{rule.name} at {place}: {reason}"
                counts[text] = counts.get(text, 0) + 1
        best = sorted(counts, key=lambda text: -counts[text])[:most]
        return "; ".join(best) or "no node has the operator that a rule begins at"
