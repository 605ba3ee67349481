"""What plugins offer, put together: frontends that read, passes and pipelines by name, backends by target, and what passes need to run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from graphopt.analysis.shape_inference import ShapeFunction, from_roles
from graphopt.backends.base import Backend
from graphopt.builtin_plugin import BUILTIN, builtin_plugins
from graphopt.compiler.result import Optimized
from graphopt.compiler.targets import find_backend
from graphopt.errors import ModelError, PipelineError
from graphopt.frontends.base import Frontend
from graphopt.ir import Model, clone_model, find_schema
from graphopt.passes import Instrumentation, Pass, PassContext, PassManager, Pipeline, PipelineReport
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Applications, Explain
from graphopt.runtime.isolated_executor import IsolatedExecutor

if TYPE_CHECKING:
    from graphopt.analysis.dim_groups import PluginRoles
    from graphopt.passes import CalibrationSource, Executor

__all__ = ["Environment"]


class Environment:
    """Plugins, and what they offer together.

    Args:
        plugins: where passes, frontends and backends come from; built-in and installed ones by default.
    """

    def __init__(self, plugins: PluginManager | None = None) -> None:
        self.plugins = builtin_plugins() if plugins is None else plugins

    # -- reading --------------------------------------------------------------------------------------------------------------

    def lift(self, source: object) -> Model:
        """The IR of a model, by the first frontend that accepts the source; those of plugins are asked before the built-in ones.

        Args:
            source: IR, which is copied, what ``optimize`` and its like gave, or what a frontend accepts.

        Raises:
            ModelError: if the model is broken, or no frontend reads such a thing.
        """
        if isinstance(source, Optimized):
            source = source.model
        if isinstance(source, Model):
            return clone_model(source)
        self.plugins.load()  # operators of plugins are known before a model is read
        frontends = self.plugins.frontends
        names = sorted(frontends, key=lambda name: frontends.owner(name) == BUILTIN)  # the built-in one takes any path
        for name in names:
            if frontends.owner(name) != BUILTIN and frontends.missing(name):
                continue
            frontend = cast("Frontend", frontends.find(name))
            if frontend.accepts(source):
                return frontend.lift(source)
        known = ", ".join(frontends)
        raise ModelError(f"a model can't be read from a {type(source).__name__}; frontends: {known}")

    # -- pipelines ------------------------------------------------------------------------------------------------------------

    def pipeline(
        self,
        pipeline: Pipeline | str | None,
        level: str,
        options: Mapping[str, Mapping[str, object]] | None = None,
        disabled: Sequence[str] = (),
    ) -> Pipeline:
        """The pipeline that is asked for.

        Args:
            pipeline: one, or its text; ``None`` takes the level's.
            level: ``"O0"`` to ``"O3"``, or any named pipeline.
            options: of some passes, by pass and option.
            disabled: passes to leave out.

        Raises:
            PipelineError: if a name or option is unknown.
        """
        registry = self.plugins.passes
        if isinstance(pipeline, str):
            built = Pipeline.from_text(pipeline, registry)
        elif pipeline is not None:
            built = pipeline
        elif level in registry.pipelines:
            built = Pipeline.from_text(level, registry)
        else:
            known = ", ".join(registry.pipelines)
            raise PipelineError(f"unknown level {level!r}; known levels and pipelines: {known}")
        if options:
            built = built.with_options(options)
        return built.without(*disabled) if disabled else built

    # -- running --------------------------------------------------------------------------------------------------------------

    def backend(self, target: str) -> Backend:
        """The backend for a target, with the target's description.

        Raises:
            PipelineError: if there is no target or backend of that name, or no backend for the target.
        """
        return find_backend(self.plugins, target)

    @functools.cached_property
    def _executor(self) -> Executor:
        """Runs nodes in a child process; here only where plugins bring kernels, which are Python."""
        if not self.kernels:
            return IsolatedExecutor()
        from graphopt.runtime.executor import OrtExecutor  # lazily: imports ONNX Runtime

        return OrtExecutor(kernels=self.kernels)

    @functools.cached_property
    def kernels(self) -> dict[str, Callable[..., object]]:
        """Reference kernels of plugins' operators, by operator."""
        return {name: item.kernel for name, item in self.plugins.operators.items() if item.kernel is not None}

    @functools.cached_property
    def _shape_functions(self) -> dict[str, ShapeFunction]:
        """Shapes of plugins' operators that have named axes and no function for types."""
        found: dict[str, ShapeFunction] = {}
        for name, item in self.plugins.operators.items():
            schema = find_schema(item.schema.domain, item.schema.name, item.schema.since_version)
            told = item.infer is not None or item.schema.has_type_and_shape_inference_function
            if not told and item.dim_roles and schema is not None:
                found[name] = from_roles(schema, item.dim_roles)
        return found

    def context(
        self,
        backend: Backend,
        *,
        applications: Applications | None = None,
        explain: Explain | None = None,
        progress: Callable[[str], None] | None = None,
        seed: int = 0,
        calibration: CalibrationSource | None = None,
    ) -> PassContext:
        """What passes may use when they run for a backend."""
        import numpy as np

        from graphopt.backends.onnx.inference import OnnxTypes  # lazily: imports onnx

        return PassContext(
            target=backend.target,
            executor=self._executor,
            types=OnnxTypes(self._shape_functions),
            applications=Applications() if applications is None else applications,
            rng=np.random.default_rng(seed),
            explain=explain,
            progress=progress or (lambda text: None),
            calibration=calibration,
            dim_roles=self._dim_roles(),
        )

    def _dim_roles(self) -> dict[str, PluginRoles]:
        """What plugins say of the axes of their operators."""
        named = {name: item for name, item in self.plugins.operators.items() if item.dim_roles}
        if not named:
            return {}
        from graphopt.analysis.dim_groups import PluginRoles  # lazily: imports networkx

        return {name: PluginRoles(item.dim_roles, item.separable) for name, item in named.items()}

    def run_pipeline(
        self, model: Model, pipeline: Pipeline, ctx: PassContext, instrumentations: Sequence[Instrumentation] = ()
    ) -> PipelineReport:
        """Run a pipeline on a model, in place, watched by plugins too."""
        observers = self.plugins.observers()
        watchers = (*instrumentations, observers) if observers is not None else tuple(instrumentations)
        return PassManager(pipeline, watchers).run(model, ctx)

    def legalize(self, model: Model, backend: Backend, ctx: PassContext) -> PipelineReport:
        """Make a model one that a backend can emit: lower operators of plugins, then what the backend asks for.

        What legalization applies is not counted with the pipeline's rewrites: it is never optional.
        """
        free = self.context(backend)
        free.types, free.typed = ctx.types, ctx.typed
        steps: list[Pass] = []
        lowering = self.plugins.lowering(backend.name)
        if lowering is not None:
            steps.append(lowering)
        text = backend.legalize(model, free)
        pipeline = Pipeline(tuple(steps)) + Pipeline.from_text(text, self.plugins.passes)
        return PassManager(pipeline).run(model, free)

    def legalized(self, model: Model, target: str) -> Model:
        """A copy of a model that the backend for a target can emit."""
        backend = self.backend(target)
        copy = clone_model(model)
        self.legalize(copy, backend, self.context(backend))
        return copy
