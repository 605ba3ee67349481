"""Plugins: found by entry points, checked, and asked through hooks what they offer.

Nothing is scanned before somebody asks. A plugin that can't be used (import fails, too new, blocked) is listed with its reason and the
rest goes on; what would make results depend on luck (a name registered twice, a misspelled hook) is an error that names the plugin.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar, cast

import pluggy

from graphopt import hookspecs
from graphopt.errors import GraphoptError, PluginError
from graphopt.ir import register_schema
from graphopt.passes import (
    Converter,
    Instrumentation,
    Kernel,
    Lowering,
    LowerOperators,
    OperatorDefinition,
    Pass,
    PassRegistry,
    Registry,
    suggestion,
)
from graphopt.plugin_manager.answers import (
    PluginInfo,
    ReportSection,
    answered_list,
    answered_mapping,
    answered_passes,
    incompatibility,
)
from graphopt.plugin_manager.discovery import entry_points_of
from graphopt.plugin_manager.listing import describe
from graphopt.plugin_manager.observers import Observers

if TYPE_CHECKING:
    from onnx.onnx_cpp2py_export.shape_inference import InferenceContext

__all__ = ["PluginManager"]

logger = logging.getLogger(__name__)

_GROUP: Final = "graphopt"
_HOOKS: Final = tuple(name for name in hookspecs.__all__ if name.startswith("graphopt_"))
_T = TypeVar("_T")


class PluginManager:
    """All plugins, and what they offer.

    Args:
        blocked: names of plugins that are not to be used.
        discover: whether installed plugins are looked for.

    Example:
        >>> plugins = PluginManager(discover=False)
        >>> plugins.register(object(), name="nothing")
        >>> [(info.name, info.status) for info in plugins.plugins]
        [('nothing', 'loaded')]
    """

    def __init__(self, blocked: Sequence[str] = (), *, discover: bool = True) -> None:
        self.blocked = tuple(dict.fromkeys(blocked))
        self._discover = discover
        self._manager = pluggy.PluginManager(_GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._infos: dict[str, PluginInfo] = {}
        self._found = False

    # -- finding plugins ------------------------------------------------------------------------------------------------------

    def register(self, plugin: object, *, name: str, package: str = "") -> None:
        """Add a plugin: a module, or any object with hook implementations.

        Args:
            plugin: it.
            name: unique among all plugins.
            package: distribution and version that it came with.

        Raises:
            PluginError: if the name is taken, or a hook is misspelled, takes unknown arguments, or lacks its marker.
        """
        if name in self.blocked:
            self._infos[name] = PluginInfo(name, package, "blocked", "left out with --no-plugin")
            return
        taken = self._infos.get(name)
        if taken is not None:
            one, two = taken.package or "the program itself", package or "the program itself"
            raise PluginError(f"plugin {name!r} is registered by both {one} and {two}; uninstall one")
        stated = getattr(plugin, "GRAPHOPT_API_VERSION", None)
        reason = incompatibility(stated)
        if reason is not None:
            self._infos[name] = PluginInfo(name, package, "incompatible", reason, api_version=stated)
            return
        self._check_markers(plugin, name)
        try:
            self._manager.register(plugin, name=name)
        except pluggy.PluginValidationError as err:
            raise PluginError(
                f"plugin {name!r}: {_validation_text(err, name)}; fix the plugin, or leave it out with --no-plugin {name}"
            ) from err
        self._check_names(plugin, name)
        hooks = tuple(hook.name for hook in self._manager.get_hookcallers(plugin) or ())
        self._infos[name] = PluginInfo(name, package, "loaded", hooks=hooks, api_version=stated)

    def _check_markers(self, plugin: object, name: str) -> None:
        """A function with the name of a hook that is not marked would never be called."""
        for hook in _HOOKS:
            found = getattr(plugin, hook, None)
            if (
                found is not None
                and callable(found)
                and not hasattr(found, f"{_GROUP}_impl")
                and found is not getattr(hookspecs, hook)
            ):
                raise PluginError(
                    f"plugin {name!r}: {hook} is not marked; write @hookimpl above it (from graphopt import hookimpl)"
                )

    def _check_names(self, plugin: object, name: str) -> None:
        """Pluggy's own check of pending hooks, with the plugin's name and a suggestion."""
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as err:
            unknown = next(
                caller.name for caller in self._manager.get_hookcallers(plugin) or () if not caller.has_spec()
            )
            self._manager.unregister(plugin)
            hint = suggestion(unknown, _HOOKS) or ";"
            raise PluginError(
                f"plugin {name!r}: unknown hook {unknown!r}{hint} known hooks: graphopt list hooks"
            ) from err

    def load(self) -> PluginManager:
        """Find and import all installed plugins, once; returns this manager.

        Raises:
            PluginError: as :meth:`register`; also when a blocked plugin does not exist.
        """
        if self._found:
            return self
        self._found = True
        if self._discover:
            seen: set[tuple[str, str]] = set()
            for entry in sorted(entry_points_of(_GROUP), key=lambda entry: entry.name):
                if (entry.name, entry.value) not in seen:  # one distribution may be found twice on the path
                    seen.add((entry.name, entry.value))
                    self._load_entry(entry)
        for name in self.blocked:
            if name not in self._infos:
                known = ", ".join(self._infos) or "none"
                raise PluginError(
                    f"there is no plugin {name!r} to leave out{suggestion(name, self._infos) or ';'} installed: {known}"
                )
        self._register_operators()
        return self

    def _load_entry(self, entry: importlib.metadata.EntryPoint) -> None:
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
        if entry.name in self.blocked or entry.name in self._infos:
            self.register(
                object(), name=entry.name, package=package
            )  # notes the blocked one, refuses the name that is taken
            return
        try:
            plugin = entry.load()
        except ModuleNotFoundError as err:
            own = err.name is not None and err.name == entry.module.partition(".")[0]
            install = (
                f"pip install --force-reinstall {entry.dist.name}" if own and entry.dist else f"pip install {err.name}"
            )
            reason = f"module {err.name!r} is not installed; {install}"
            self._infos[entry.name] = PluginInfo(entry.name, package, "missing", reason)
        except Exception as err:  # noqa: BLE001 - the border to a stranger's code: listed with its reason, the rest goes on
            logger.warning("plugin %r can't be imported: %s: %s", entry.name, type(err).__name__, err)
            reason = f"{type(err).__name__}: {err}"
            self._infos[entry.name] = PluginInfo(entry.name, package, "failed", reason)
        else:
            self.register(plugin, name=entry.name, package=package)

    @property
    def plugins(self) -> list[PluginInfo]:
        """All plugins, also those that are not used."""
        self.load()
        return list(self._infos.values())

    def describe(self, kind: str) -> list[dict[str, object]]:
        """What there is of a kind, as plain values; see :func:`graphopt.plugin_manager.listing.describe`."""
        return describe(self, kind)

    # -- asking them ----------------------------------------------------------------------------------------------------------

    def ask(self, hook: str, **arguments: object) -> Iterator[tuple[str, object]]:
        """What each plugin answers to a hook, with the plugin's name; in the order of registration.

        Raises:
            PluginError: if a plugin fails; it names the plugin.
        """
        self.load()
        for implementation in self._manager.hook.__dict__[hook].get_hookimpls():
            taken = {name: arguments[name] for name in implementation.argnames}
            answer = self._call(implementation.plugin_name, hook, functools.partial(implementation.function, **taken))
            if answer is not None:
                yield implementation.plugin_name, answer

    @staticmethod
    def _call(plugin: str, hook: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except Exception as err:
            what = str(err) if isinstance(err, GraphoptError) else f"{type(err).__name__}: {err}"
            raise PluginError(
                f"plugin {plugin!r} failed in {hook}: {what}; report it there, or leave it out with --no-plugin {plugin}"
            ) from err

    def _table(self, hook: str, kind: str, plural: str) -> Registry[object]:
        """A hook that answers with a mapping from names."""
        registry: Registry[object] = Registry(kind, plural)
        for plugin, answer in self.ask(hook):
            for name, item in answered_mapping(plugin, hook, answer).items():
                registry.add(name, item, owner=plugin)
        return registry

    @functools.cached_property
    def passes(self) -> PassRegistry:
        """All passes and named pipelines.

        Raises:
            PluginError: if two plugins register one name, or one answers with something else.
        """
        registry = PassRegistry()
        for plugin, answer in self.ask("graphopt_passes"):
            for name, item in answered_passes(plugin, answer).items():
                registry.add(name, item, owner=plugin)
        for plugin, answer in self.ask("graphopt_pipelines"):
            for name, text in answered_mapping(plugin, "graphopt_pipelines", answer).items():
                if not isinstance(text, str):
                    raise PluginError(f"plugin {plugin!r}: pipeline {name!r} is a {type(text).__name__}, expected text")
                if name in registry:
                    raise PluginError(
                        f"pipeline {name!r} of plugin {plugin!r} has the name of a pass of {registry.owner(name)!r}; rename one"
                    )
                registry.pipelines.add(name, text, owner=plugin)
        return registry

    @functools.cached_property
    def frontends(self) -> Registry[object]:
        """All frontends by name."""
        return self._table("graphopt_frontends", "frontend", "frontends")

    @functools.cached_property
    def backends(self) -> Registry[object]:
        """All backends by name of the target."""
        return self._table("graphopt_backends", "backend", "backends")

    @functools.cached_property
    def runtimes(self) -> Registry[object]:
        """What runs models of backends, by name of the backend."""
        return self._table("graphopt_runtimes", "runtime of backend", "backends")

    @functools.cached_property
    def targets(self) -> Registry[object]:
        """All targets that are described by themselves, by name; the name of each backend is one, too."""
        return self._table("graphopt_targets", "target", "targets")

    @functools.cached_property
    def calibrators(self) -> Registry[object]:
        """All calibrators by name."""
        return self._table("graphopt_calibrators", "calibrator", "calibrators")

    @functools.cached_property
    def operators(self) -> Registry[OperatorDefinition]:
        """Operators of plugins, by ``domain::Name``."""
        registry: Registry[OperatorDefinition] = Registry("operator", "operators")
        for plugin, answer in self.ask("graphopt_op_schemas"):
            for item in answered_list(plugin, "graphopt_op_schemas", answer, OperatorDefinition):
                registry.add(item.op, item, owner=plugin)
        return registry

    @property
    def kernels(self) -> dict[str, Kernel]:
        """Reference kernels of operators of plugins, by ``domain::Name``."""
        return {name: item.kernel for name, item in self.operators.items() if item.kernel is not None}

    def _register_operators(self) -> None:
        """Make the operators of plugins known to shape inference and the checker."""
        for name, definition in self.operators.items():
            infer = None
            if definition.infer is not None and not definition.schema.has_type_and_shape_inference_function:
                infer = _guarded(self.operators.owner(name), name, definition.infer)
            try:
                register_schema(definition.schema, infer)
            except ValueError as err:
                raise PluginError(f"plugin {self.operators.owner(name)!r}: operator {name!r}: {err}") from err

    def lowering(self, backend: str) -> Pass | None:
        """The pass that lowers operators of plugins for a backend, ``None`` when there is nothing to lower.

        A lowering that a plugin states for the backend goes before the decomposition of the operator.
        """
        stated: dict[str, tuple[str, Lowering]] = {}
        for plugin, item in self._lowerings(backend):
            if isinstance(item, Lowering):
                if item.op in stated:
                    first, second = sorted((stated[item.op][0], plugin))
                    raise PluginError(
                        f"operator {item.op!r} is lowered for backend {backend!r} by both {first!r} and {second!r};"
                        " leave one plugin out with --no-plugin"
                    )
                stated[item.op] = (plugin, item)
        rules = [item.rule for _plugin, item in stated.values()]
        for name, definition in self.operators.items():
            if definition.decomposition is not None and name not in stated:
                rules.append(definition.decomposition)
        return LowerOperators(tuple(rules)) if rules else None

    def converters(self, backend: str) -> list[Converter]:
        """What adds layers for a backend, those of plugins with the built-in ones."""
        return [item for _, item in self._lowerings(backend) if isinstance(item, Converter)]

    def _lowerings(self, backend: str) -> Iterator[tuple[str, Lowering | Converter]]:
        """What plugins state for a backend, with the plugin's name."""
        hook = "graphopt_lowerings"
        for plugin, answer in self.ask(hook, backend=backend):
            for item in cast(
                "Sequence[Lowering | Converter]", answered_list(plugin, hook, answer, Lowering, Converter)
            ):
                if item.backend == backend:
                    yield plugin, item

    def report_sections(self) -> list[tuple[str, ReportSection]]:
        """Sections of the report that plugins add, each with the plugin's name."""
        hook = "graphopt_report_sections"
        return [
            (plugin, item)
            for plugin, answer in self.ask(hook)
            for item in answered_list(plugin, hook, answer, ReportSection)
        ]

    def extend_cli(self, app: object) -> None:
        """Let plugins add commands.

        Raises:
            PluginError: if one fails.
        """
        for _ in self.ask("graphopt_cli", app=app):
            pass

    def observers(self) -> Instrumentation | None:
        """The plugins that watch passes, as an instrumentation; ``None`` when nobody does."""
        self.load()
        hooks = (self._manager.hook.graphopt_before_pass, self._manager.hook.graphopt_after_pass)
        return Observers(self.ask) if any(hook.get_hookimpls() for hook in hooks) else None


def _guarded(plugin: str, op: str, infer: Callable[[InferenceContext], None]) -> Callable[[InferenceContext], None]:
    """Shape inference that names the plugin when it fails."""

    def guarded(context: InferenceContext) -> None:
        PluginManager._call(plugin, f"shape inference of {op}", lambda: infer(context))

    return guarded


def _validation_text(err: pluggy.PluginValidationError, name: str) -> str:
    """What pluggy says, as one line."""
    return ": ".join(
        line.strip() for line in str(err).removeprefix(f"Plugin {name!r} for ").splitlines() if line.strip()
    )
