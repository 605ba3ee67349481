"""``graphopt optimize``: the whole way from a model file to a faster one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from graphopt import compiler
from graphopt.backends.onnx.atomic import check_output
from graphopt.backends.onnx.files import save
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import optimize_options as asked
from graphopt.cli.calibrating_options import calibration_of
from graphopt.cli.options import AsJson, InputFile, NoPlugin, OptionalSeed, Quiet, UsageError
from graphopt.cli.pipeline_choice import choose_pipeline, read_pipeline, stated_requests
from graphopt.cli.several import is_fleet, refuse_options_of_one
from graphopt.cli.terminal import progress, show, write_json
from graphopt.compiler.environment import Environment
from graphopt.compiler.explaining import Explainer
from graphopt.compiler.remarks import Remarks
from graphopt.compiler.requested import check_requests, with_requests
from graphopt.errors import PluginError
from graphopt.ir import Model
from graphopt.passes import (
    Instrumentation,
    PassStatistics,
    PeakMemory,
    PrintIR,
    Reproducer,
    parse_overrides,
)
from graphopt.passes.record import pass_totals
from graphopt.plugin_manager import PluginManager
from graphopt.report.optimize_view import optimize_view, section_view
from graphopt.report.remarks_view import made_table, missed_table, refusal_table
from graphopt.target import Target

__all__ = ["optimize"]

_REMARKS = ("made", "missed", "all")


def optimize(
    models: asked.Models,
    output: asked.Output = None,
    level: asked.Level = None,
    target: asked.Target = None,
    passes: asked.Passes = None,
    pipeline: asked.PipelinePath = None,
    settings: asked.Settings = None,
    disable: asked.Disable = None,
    set_dim: asked.SetDim = None,
    input_shape: asked.InputShape = None,
    opset: asked.Opset = None,
    no_plugin: NoPlugin = None,
    check: asked.Check = True,
    guard: asked.Guard = True,
    inputs: InputFile = None,
    seed: OptionalSeed = None,
    calibrate: asked.Calibrate = None,
    table: asked.CalibrationTableFile = None,
    external_data: asked.ExternalData = None,
    force: asked.Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    explain: asked.Explain = None,
    remarks: asked.Remarks = None,
    time_passes: asked.TimePasses = False,
    pass_statistics: asked.PassStatistics = False,
    print_ir_after_all: asked.PrintAll = False,
    print_ir_after_change: asked.PrintChange = False,
    print_ir_dir: asked.PrintDir = None,
    verify_each: asked.VerifyEach = False,
    opt_bisect_limit: asked.BisectLimit = None,
    reproducer: asked.Reproducer = None,
    executor: asked.ExecutorName = None,
    jobs: asked.Jobs = None,
) -> None:
    """Optimize a model, or several, check each result against its original, and save it."""
    for name, wanted in {"--explain": explain, "--remarks": remarks}.items():
        if wanted is not None and quiet and not as_json:
            raise UsageError(f"{name} shows a table, and --quiet shows nothing; leave one of them out, or add --json")
    several = is_fleet(models, output)
    if several:
        refuse_options_of_one(
            {
                "--explain": explain,
                "--remarks": remarks,
                "--time-passes": time_passes,
                "--pass-statistics": pass_statistics,
                "--print-ir-after-all": print_ir_after_all,
                "--print-ir-after-change": print_ir_after_change,
                "--print-ir-dir": print_ir_dir,
                "--verify-each": verify_each,
                "--opt-bisect-limit": opt_bisect_limit,
                "--reproducer": reproducer,
                "--calibrate": calibrate,
                "--table": table,
            }
        )
    place = None if output is None else Path(output)
    if place is not None and not several:
        check_output(place, force=force)  # before the work, not after it
    plugins = builtin_plugins(no_plugin or ())
    file = None if pipeline is None else read_pipeline(pipeline)
    chosen = choose_pipeline(plugins, level, passes, file, whole=False, rules=True)
    disabled = (*(disable or ()), *(file.disable if file is not None else ()))
    sizes, opset = stated_requests(file, set_dim, input_shape, opset)
    explainer = None if explain is None else Explainer(explain, _rules(plugins))
    if remarks not in (None, *_REMARKS):
        raise UsageError(f"--remarks={remarks} is not understood; expected one of: {', '.join(_REMARKS)}")
    collected = None if remarks is None else Remarks()
    watchers: list[Instrumentation] = []
    if print_ir_after_all or print_ir_after_change or print_ir_dir is not None:
        watchers.append(PrintIR("all" if print_ir_after_all else "change", folder=print_ir_dir))
    if pass_statistics:
        watchers += [PassStatistics(), PeakMemory()]
    if reproducer is not None:
        watchers.append(Reproducer(reproducer, _save_again))
    if inputs is None and file is not None:
        inputs = file.inputs_path
    seed = seed if seed is not None else file.check.seed if file is not None else 0
    target = target or (file.target if file is not None else None) or asked.TARGET
    check = check and (file is None or file.check.enabled)
    if several:
        from graphopt.cli.fleet import optimize_models  # lazily: one model does without

        if sizes or opset is not None:
            check_requests(sizes.dims, sizes.shapes, opset)
            made = Environment(plugins).pipeline(chosen, asked.LEVEL if level is None else level)
            chosen = with_requests(made, sizes, opset, Target())
        optimize_models(
            models,
            place,
            level=asked.LEVEL if level is None else level,
            target=target,
            pipeline=chosen,
            options=parse_overrides(settings or []),
            check=check,
            guard=guard,
            inputs=inputs,
            seed=seed,
            disabled=disabled,
            external_data=external_data,
            force=force,
            executor=executor or "processes",
            jobs=jobs,
            blocked=no_plugin or (),
            as_json=as_json,
            quiet=quiet,
        )
        return
    for name, stated in {"--executor": executor, "--jobs": jobs}.items():
        if stated is not None:
            raise UsageError(f"{name} is for several models, and a folder as output; leave it out")
    [model] = models
    with progress(f"optimizing {model}", wanted=not (quiet or as_json)) as tell:
        result = compiler.optimize(
            model,
            level=asked.LEVEL if level is None else level,
            target=target,
            pipeline=chosen,
            options=parse_overrides(settings or []),
            set_dims=sizes.dims,
            input_shapes=sizes.shapes,
            opset=opset,
            check=check,
            guard=guard,
            inputs=inputs,
            seed=seed,
            calibration=calibration_of(model, target, plugins, file, calibrate, table),
            disabled=disabled,
            instrumentations=watchers,
            progress=tell,
            bisect_limit=opt_bisect_limit,
            verify_each=verify_each,
            explain=explainer,
            remarks=collected,
            reproducer=reproducer,
            plugins=plugins,
        )
        tell("saving")
        files: list[Path] = []
        if place is not None:
            saved = result.save(place, external_data=external_data, force=force)
            files = [place.with_name(path.name) if path.parent == place.resolve().parent else path for path in saved]
    plain = result.report.to_dict() | {"files": [str(path) for path in files]}
    sections = _sections(plugins, plain)
    if as_json:
        more: dict[str, object] = {} if explainer is None else {"explained": explainer.refusals}
        if collected is not None and remarks is not None:
            more["remarks"] = collected.to_dict(remarks)
        write_json(plain | ({"sections": sections} if sections else {}) | more)
    elif not quiet:
        show(optimize_view(result.report, by_time=time_passes, statistics=pass_statistics, files=files))
        for title, text in sections.items():
            show(section_view(title, text))
        if explainer is not None:
            applied = sum(record.stats.get(explainer.rule, 0) for record in pass_totals(result.report.passes))
            hint = explainer.hint(result.model, applied=applied)
            found, dropped = explainer.refusals, explainer.dropped
            show(refusal_table(explainer.rule, explainer.pattern, found, applied=applied, dropped=dropped, hint=hint))
        if collected is not None:
            if remarks in ("made", "all"):
                show(made_table(collected.made))
            if remarks in ("missed", "all"):
                show(missed_table(collected.missed))


def _save_again(model: Model, path: Path) -> None:
    save(model, path, force=True)


def _sections(plugins: PluginManager, report: Mapping[str, object]) -> dict[str, str]:
    """What plugins add to the report, by title."""
    found: dict[str, str] = {}
    for plugin, section in plugins.report_sections():
        try:
            text = section.make(report)
        except Exception as err:  # the border to a stranger's code
            raise PluginError(
                f"plugin {plugin!r} failed in its report section {section.title!r}: {type(err).__name__}: {err}; "
                f"leave it out with --no-plugin {plugin}"
            ) from err
        if text is not None:
            found[section.title] = text
    return found


def _rules(plugins: PluginManager) -> dict[str, str]:
    return {str(row["name"]): str(row["pattern"]) for row in plugins.describe("rules")}
