"""Every hook that a plugin may implement. Nothing is imported at run time but pluggy's two markers.

A plugin is a module (or object) that an entry point of the group ``graphopt`` names. It marks its functions with ``hookimpl`` and may
leave out arguments that it does not need. Hooks only grow: a new argument is optional by pluggy's rule, and ``HOOK_API_VERSION``
grows with each hook or meaning that is new. A plugin states the version that it was written for as ``GRAPHOPT_API_VERSION = 1``;
one that says nothing is taken to fit. One that is newer than the installed graphopt, or older than ``OLDEST_HOOK_API_VERSION``, is
listed as incompatible and not used.

Each hook says when it is called, what it is given, what it returns, and who implements it. Names are unique among all plugins: a
name that two of them register is an error that names both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import typer

    from graphopt.ir import Model
    from graphopt.passes import Calibrator, Converter, Lazy, Lowering, OperatorDefinition, Pass, PassRecord
    from graphopt.plugin_manager import ReportSection
    from graphopt.runtime import Runtime
    from graphopt.target import Target

__all__ = [
    "HOOK_API_VERSION",
    "OLDEST_HOOK_API_VERSION",
    "graphopt_after_pass",
    "graphopt_backends",
    "graphopt_before_pass",
    "graphopt_calibrators",
    "graphopt_cli",
    "graphopt_frontends",
    "graphopt_lowerings",
    "graphopt_op_schemas",
    "graphopt_passes",
    "graphopt_pipelines",
    "graphopt_report_sections",
    "graphopt_runtimes",
    "graphopt_targets",
    "hookimpl",
    "hookspec",
]

#: Version of the hooks in this file; grows with each change that a plugin may depend on.
HOOK_API_VERSION: Final = 4
#: Oldest version that a plugin may be written for; grows only when something that was deprecated for two minor releases goes.
OLDEST_HOOK_API_VERSION: Final = 1

hookspec = pluggy.HookspecMarker("graphopt")
hookimpl = pluggy.HookimplMarker("graphopt")


@hookspec
def graphopt_passes() -> Sequence[type[Pass]] | Mapping[str, type[Pass] | Lazy]:  # type: ignore[empty-body]  # specifications have no body
    """Passes, to be used in pipelines under their ``name``.

    When: once, when the first pass name is looked up.

    Returns:
        Pass classes; or a mapping from name to class or :class:`Lazy`, which imports the class only when it is asked for.

    Who: everyone who writes passes.
    """


@hookspec
def graphopt_op_schemas() -> Sequence[OperatorDefinition]:  # type: ignore[empty-body]
    """Operators of the plugin's own domain.

    When: once, before a model is read. The schemas are registered in ``onnx.defs``, so that shape inference and the checker know them.

    Returns:
        Definitions, each with schema, shape inference, reference kernel, roles of dimensions, decomposition into standard operators.

    Who: plugins that fuse into operators of their own, or whose device has them.
    """


@hookspec
def graphopt_frontends() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Sources of models: what turns them into the IR.

    When: once, when the first model is read. Frontends of plugins are asked before the built-in ones, which take any path and bytes.

    Returns:
        A mapping from name to frontend or :class:`Lazy`.

    Who: plugins for other file formats or frameworks.
    """


@hookspec
def graphopt_backends() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Runtimes and devices: what legalizes the IR for them and emits it.

    When: once, when the first target name is looked up.

    Returns:
        A mapping from target name to backend or :class:`Lazy`; a ``Lazy`` that states what it ``requires`` is shown as missing,
        with the line that installs it, where that is not installed.

    Who: vendors.
    """


@hookspec
def graphopt_runtimes() -> Mapping[str, Runtime | Lazy]:  # type: ignore[empty-body]
    """What runs the files that backends save, so that they can be checked, run, measured and compared.

    When: once, when a backend's models are to run.

    Returns:
        A mapping from name of the backend to its :class:`~graphopt.runtime.Runtime`, or to a :class:`Lazy` of one (``make=True`` for a
        class). A lazy one is opened in a child process wherever a crash of the runtime must not end graphopt. One with a method
        ``available`` (:class:`~graphopt.runtime.ConditionalRuntime`, asked since hook API version 4) is not opened where that gives a
        reason: checks then run the model as ONNX and say so.

    Who: vendors; hook API version 2 and later.
    """


@hookspec
def graphopt_targets() -> Mapping[str, Target | Lazy]:  # type: ignore[empty-body]
    """Devices and runtimes that models are made for, as data: opsets, domains, kernels, what they prefer.

    When: once, when the first target name is looked up.

    Returns:
        A mapping from name to a :class:`~graphopt.target.Target` of that name, or to a :class:`Lazy` of one. Its ``backend`` names the
        backend that serves it, of this plugin or another one; several targets may have one backend. A backend needs no target here: its
        own name is one.

    Who: vendors, and everyone whose device is served by a backend that is there already; hook API version 3 and later.
    """


@hookspec
def graphopt_lowerings(backend: str) -> Sequence[Lowering | Converter]:  # type: ignore[empty-body]
    """What one operator is for one backend: a rule that puts others in its place, or a converter that adds a network's layers.

    When: each time a model is legalized for a backend, before the backend's own pipeline; converters when the backend is looked up.

    Args:
        backend: name of the backend.

    Returns:
        Lowerings and converters for that backend; those for others are ignored. Converters: hook API version 4 and later.

    Who: plugins with operators of their own, and vendors that teach an existing backend a new operator.
    """


@hookspec
def graphopt_calibrators() -> Mapping[str, type[Calibrator] | Lazy]:  # type: ignore[empty-body]
    """Ways to find the range of a tensor from data.

    When: once, when the first calibrator name is looked up.

    Returns:
        A mapping from name to a class that is a :class:`graphopt.passes.Calibrator`, or :class:`Lazy`. Its options are the keyword
        arguments of the class, each with a default.

    Who: authors of quantization methods.
    """


@hookspec
def graphopt_pipelines() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Named pipelines, usable wherever a pass name is (``--passes O2,my-pass``).

    When: once, when the first name that is no pass is looked up.

    Returns:
        A mapping from name to pipeline text, which may name other pipelines.

    Who: vendors that know which passes suit their device.
    """


@hookspec
def graphopt_before_pass(name: str, model: Model) -> None:
    """Watch: a pass is about to run.

    When: before each run of each pass. It must not edit the model.

    Args:
        name: name of the pass.
        model: the model.

    Returns:
        Nothing.

    Who: profilers, visualizers.
    """


@hookspec
def graphopt_after_pass(name: str, model: Model, record: PassRecord) -> None:
    """Watch: a pass has run.

    When: after each run of each pass that did not fail. It must not edit the model.

    Args:
        name: name of the pass.
        model: the model.
        record: what the pass did and took.

    Returns:
        Nothing.

    Who: profilers, visualizers.
    """


@hookspec
def graphopt_report_sections() -> Sequence[ReportSection]:  # type: ignore[empty-body]
    """Further sections of the report.

    When: once for each report.

    Returns:
        Sections, each with a title and a function that makes its text.

    Who: vendors that can say more about a model on their device.
    """


@hookspec
def graphopt_cli(app: typer.Typer) -> None:
    """Further commands of the command line.

    When: once, when the command line starts with a command that is not built in, or lists its commands.

    Args:
        app: the application; add commands with ``@app.command()``, names that are not taken.

    Returns:
        Nothing.

    Who: plugins with tools of their own.
    """
