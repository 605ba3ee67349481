"""Optimizes a model: lift, pipeline, legalize, check; on a failed check find the rewrite at fault and go on without it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from graphopt.compiler.arguments import check_arguments, check_disabled
from graphopt.compiler.compilation import Compilation
from graphopt.compiler.environment import Environment
from graphopt.compiler.owners import name_plugin
from graphopt.compiler.remarks import Remarks
from graphopt.compiler.request import CheckRequest
from graphopt.compiler.requested import (
    check_requests,
    check_sizes,
    is_refusal,
    unmet_preference,
    unmet_sparse,
    with_requests,
)
from graphopt.compiler.result import Optimized, OptimizeReport, count_ops
from graphopt.errors import VerificationError
from graphopt.ir import Model, Node
from graphopt.numerics import Numerics
from graphopt.passes import CalibrationSource, Instrumentation, Pipeline
from graphopt.passes.dumps import Reproducer
from graphopt.passes.verify_each import VerifyEach
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import EVERYWHERE, Applications, Explain, NoMatch, Rule

__all__ = ["optimize"]

logger = logging.getLogger(__name__)


def optimize(
    source: object,
    *,
    level: str = "O2",
    target: str = "onnxruntime",
    pipeline: Pipeline | str | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    set_dims: Mapping[str, int | str] | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    opset: int | None = None,
    check: bool = True,
    check_as_onnx: bool = False,
    guard: bool = True,
    inputs: str | os.PathLike[str] | Mapping[str, object] | None = None,
    seed: int = 0,
    calibration: CalibrationSource | None = None,
    disabled: Sequence[str] = (),
    instrumentations: Sequence[Instrumentation] = (),
    progress: Callable[[str], None] | None = None,
    bisect_limit: int | None = None,
    verify_each: bool = False,
    explain: Explain | None = None,
    remarks: Remarks | None = None,
    reproducer: str | os.PathLike[str] | None = None,
    plugins: PluginManager | None = None,
) -> Optimized:
    """Optimize a model, and check that the result computes what the original does.

    Args:
        source: path, bytes, ``onnx.ModelProto``, ``onnx_graphsurgeon.Graph``, IR (which is copied), or what a plugin's frontend accepts.
        level: ``"O0"`` nothing, ``"O1"`` exact rewrites only, ``"O2"`` also those that re-associate sums, ``"O3"`` also operators of the
            target's own domain; or the name of a pipeline.
        target: name of a backend.
        pipeline: what to run instead of a level, as text or as a :class:`Pipeline`.
        options: options of passes, by pass and option.
        set_dims: by name of a dimension of inputs, the size that it is to have, or a range such as ``"1..512"`` that its sizes are in.
        input_shapes: by input, a size for each axis: a number, the name of a dimension, or a range. The check feeds inputs of these shapes.
        opset: what the model is raised to, before anything is fused; never lowered.
        check: whether original and result are run and compared. If they differ, the rewrite at fault is found and left out.
        check_as_onnx: whether that check runs the result as ONNX though the target has a runtime, for models that get their own form later.
        guard: whether, with the check for ONNX Runtime, its own fused kernels are counted. A rule that leaves fewer is left out.
        inputs: inputs for the check, an ``.npz`` file or arrays by name; drawn by ``seed`` when ``None``.
        seed: of all random numbers.
        calibration: data for passes that need some; :class:`graphopt.compiler.calibration.source.Batches` gives it.
        disabled: passes or rules to leave out.
        instrumentations: who watches the pipeline.
        progress: told what is going on, in a few words.
        bisect_limit: stop after this many rewrites.
        verify_each: check the invariants of the IR after each pass, what each pass declares, and (with ``check``) its numbers.
        explain: told of each candidate at which a rule did not apply.
        remarks: collects the rewrites that were made, and those that were missed.
        reproducer: folder for what is needed to replay a failed check or pass.
        plugins: where passes, frontends and backends come from; built-in and installed ones by default.

    Returns:
        The optimized model with its report; nothing is written yet.

    Raises:
        ModelError: if the model is broken.
        PipelineError: if a level, pass, rule or option is unknown, a number is negative, or sizes do not fit the model or each other.
        UnsupportedOpError: if a node can't be raised to ``opset``; the model is as it was.
        PassError: if a pass fails. One of a plugin, or the rule in it that fails, is left out instead, with a note in the report, unless
            there is no check or ``verify_each`` is asked for.
        VerificationError: if the result differs from the original even after rewrites at fault were left out.
        OutputError: if the folder for a reproducer is a file, or can't be made.
        TypeError: if an argument has a type that it can't have.

    Example:
        >>> from graphopt.data import digits_model
        >>> result = optimize(digits_model(), check=False)
        >>> result.report.nodes_after < result.report.nodes_before
        True
    """
    check_arguments(
        level=level,
        target=target,
        pipeline=pipeline,
        options=options,
        seed=seed,
        disabled=disabled,
        instrumentations=instrumentations,
        bisect_limit=bisect_limit,
        plugins=plugins,
    )
    sizes = check_requests(set_dims, input_shapes, opset)
    environment = Environment(plugins)
    refused = check_disabled(environment.plugins, disabled)
    rules = frozenset((name, EVERYWHERE) for name in refused)
    chosen = environment.pipeline(pipeline, level, options, [name for name in disabled if name not in refused])
    chosen = with_requests(chosen, sizes, opset, environment.backend(target).target)
    work = Compilation(
        source,
        environment,
        chosen,
        target,
        tuple(instrumentations),
        explain,
        progress or (lambda text: None),
        seed,
        rules,
        bisect_limit,
        calibration,
    )
    if remarks is not None:
        work.trace, work.explain = remarks.trace, _both(explain, remarks)
    again = None
    if reproducer is not None:
        from graphopt.verify.reproducer import check_folder  # lazily: imports ONNX Runtime

        check_folder(reproducer)
        again = Path(reproducer)
    with ExitStack() as stack:
        work.instrumentations = (
            *instrumentations,
            *_checks_of_each_pass(
                work, stack, CheckRequest(inputs, seed, as_onnx=check_as_onnx), wanted=verify_each, run=check
            ),
            *_reproducer_of_passes(instrumentations, again),
        )
        model = work.lift()
        check_sizes(chosen, model)
        report = OptimizeReport(
            source=model.source or type(source).__name__,
            level="" if pipeline is not None else level,
            target=target,
            pipeline=chosen.to_text(),
            numerics=chosen.declared_numerics,
            ops_before=count_ops(model),
            bytes_before=model.constant_bytes,
            seconds=work.seconds,
        )
        first = work.attempt(Applications(), work.instrumentations, model=model, sound=False)
    if first.error is not None and is_refusal(first.error):
        raise first.error
    report.passes = [] if first.report is None else first.report.records
    if first.error is not None and (verify_each or not check):
        raise name_plugin(work, first.error)
    if check:
        from graphopt.compiler.checking import check_result  # lazily: what only checks need takes time to import

        request = CheckRequest(inputs, seed, again, disabled=tuple(disabled), as_onnx=check_as_onnx)
        if guard and bisect_limit is None:
            from graphopt.compiler.fusibility import guard_fusibility  # lazily, as above

            first = guard_fusibility(work, first, report, request)
        model = check_result(work, first, report, request)
    else:
        assert first.model is not None, "nothing went wrong"
        model = first.model
    report.ops_after = count_ops(model)
    report.bytes_after = model.constant_bytes
    backend = environment.backend(target)
    report.notes += unmet_preference(chosen, model, backend.target) + unmet_sparse(chosen, backend.target)
    return Optimized(model, report, backend)


def _both(explain: Explain | None, remarks: Remarks) -> Explain:
    """Tells both of a candidate."""

    def tell(rule: Rule, node: Node, reason: NoMatch) -> None:
        remarks(rule, node, reason)
        if explain is not None:
            explain(rule, node, reason)

    return tell


def _checks_of_each_pass(
    work: Compilation, stack: ExitStack, request: CheckRequest, *, wanted: bool, run: bool
) -> list[Instrumentation]:
    """What ``verify_each`` asks for: invariants, what passes declare, and numbers if models may be run."""
    if not wanted:
        return []
    if not run:
        return [VerifyEach()]
    from graphopt.compiler.checker import Checker  # lazily, as above

    checker = stack.enter_context(Checker(work, request))

    def numbers(model: Model, numerics: Numerics) -> None:
        verdict = checker.check(work.environment.legalized(model, work.target), numerics)
        if verdict.status == "failed":
            raise VerificationError(f"the model differs from the original: {verdict.reason}")

    return [VerifyEach(numbers)]


def _reproducer_of_passes(given: Sequence[Instrumentation], folder: Path | None) -> list[Instrumentation]:
    """Writes what replays a failed pass, unless the caller brought such a watcher."""
    if folder is None or any(isinstance(item, Reproducer) for item in given):
        return []

    def save_again(model: Model, path: Path) -> None:
        from graphopt.backends.onnx.files import save  # lazily: imports onnx

        save(model, path, force=True)

    return [Reproducer(folder, save_again)]
