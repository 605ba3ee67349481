"""What there is, as plain values: the rows of ``graphopt list``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from graphopt import hookspecs
from graphopt.errors import GraphoptError, PipelineError, PluginError
from graphopt.passes import Lazy, Pass, Pipeline, Registry, RewritePass, option_specs, suggestion, weakest
from graphopt.target import Target

if TYPE_CHECKING:
    from graphopt.plugin_manager.manager import PluginManager

__all__ = ["KINDS", "describe"]

Row = dict[str, object]


def describe(plugins: PluginManager, kind: str) -> list[Row]:
    """What there is of a kind.

    Args:
        plugins: where from.
        kind: one of :data:`KINDS`.

    Returns:
        A row for each, in order of name (hooks: of the specification), of text, lists and ``None``. What can't be used has ``"missing"``
        or ``"error"`` with the reason.

    Raises:
        PipelineError: if there is no such kind.
    """
    if kind not in KINDS:
        hint = suggestion(kind, KINDS) or ";"
        raise PipelineError(f"nothing is called {kind!r}{hint} there are: {', '.join(KINDS)}")
    return list(KINDS[kind](plugins))


def _summary(item: object) -> str:
    """First paragraph of a docstring, as one line."""
    doc = inspect.getdoc(item) or ""
    return " ".join(doc.split("\n\n")[0].split())


def _passes(plugins: PluginManager) -> Iterator[Row]:
    registry = plugins.passes
    other = {name: [alias for alias, target in registry.aliases.items() if target == name] for name in registry}
    for name in sorted(registry):
        row: Row = {"name": name, "owner": registry.owner(name), "aliases": other[name]}
        try:
            item = registry[name]
        except PluginError as err:
            yield row | {"error": str(err)}
            continue
        yield row | {
            "doc": _summary(item),
            "numerics": _numerics(item),
            "options": [
                {"name": spec.name, "type": spec.type, "default": spec.default, "doc": spec.doc}
                for spec in option_specs(item).values()
            ],
        }


def _numerics(item: type[Pass]) -> str:
    """What a pass declares with its default options; what its class does when some have no default."""
    if any(spec.default is None for spec in option_specs(item).values()):
        return str(item.numerics)
    return str(item().declared_numerics)


def _rules(plugins: PluginManager) -> Iterator[Row]:
    registry = plugins.passes
    found: list[Row] = []
    for name in registry:
        try:
            item = registry[name]
        except PluginError:
            continue  # the list of passes says it
        if not issubclass(item, RewritePass):
            continue
        for rule in item.rules:
            pattern = getattr(rule, "pattern", None)
            found.append(
                {
                    "name": rule.name,
                    "pass": name,
                    "owner": registry.owner(name),
                    "pattern": str(pattern) if pattern is not None else f"{'|'.join(rule.roots)} ...",
                    "numerics": str(rule.numerics),
                    "doc": " ".join(str(getattr(rule, "doc", "")).split("\n\n")[0].split()),
                }
            )
    yield from sorted(found, key=lambda row: (str(row["name"]), str(row["pass"])))


def _pipelines(plugins: PluginManager) -> Iterator[Row]:
    registry = plugins.passes
    for name in sorted(registry.pipelines):
        row: Row = {"name": name, "owner": registry.pipelines.owner(name), "text": registry.pipelines[name]}
        try:
            passes = list(Pipeline.from_text(name, registry).passes())
        except GraphoptError as err:
            yield row | {"error": str(err)}
            continue
        yield row | {
            "passes": [item.name for item in passes],
            "numerics": str(weakest(item.declared_numerics for item in passes)),
        }


def _objects(registry: Registry[Any]) -> Iterator[Row]:
    for name in sorted(registry):
        row: Row = {"name": name, "owner": registry.owner(name)}
        missing = registry.missing(name)
        if missing is not None:
            yield row | {"missing": missing}
            continue
        try:
            item = registry[name]
        except PluginError as err:
            yield row | {"error": str(err)}
            continue
        yield row | {"doc": _summary(item)}


def _backends(plugins: PluginManager) -> Iterator[Row]:
    from graphopt.runtime.runtimes import Runtime, why_unavailable  # lazily: other lists do without

    for row in _objects(plugins.backends):
        name = str(row["name"])
        row["runs"] = name in plugins.runtimes
        if row["runs"] and "missing" not in row:
            try:
                row["unavailable"] = why_unavailable(name, cast("Runtime | Lazy", plugins.runtimes.stated(name)))
            except PluginError as err:
                row["unavailable"] = str(err)
        yield row


def _targets(plugins: PluginManager) -> Iterator[Row]:
    """Targets with a description of their own, and backends that stand for theirs."""
    registry, backends = plugins.targets, plugins.backends
    for name in sorted({*registry, *backends}):
        source = registry if name in registry else backends
        row: Row = {"name": name, "owner": source.owner(name)}
        missing = source.missing(name)
        if missing is not None:
            yield row | {"missing": missing}
            continue
        try:
            found = source[name]
        except PluginError as err:
            yield row | {"error": str(err)}
            continue
        yield row | _target(found if source is registry else getattr(found, "target", None), plugins)


def _target(target: object, plugins: PluginManager) -> Row:
    if not isinstance(target, Target):
        return {"error": f"it is a {type(target).__name__}, expected a Target"}
    row: Row = {
        "doc": target.doc,
        "backend": target.served_by,
        "runs": target.served_by in plugins.runtimes,
        "opset": target.max_opset,
        "preferred_opset": target.preferred_opset,
        "ir_version": target.max_ir_version,
        "domains": sorted(target.domains),
        "fused_ops": sorted(target.fused_ops),
        "unsupported": sorted(target.unsupported),
        "sparse_initializers": target.sparse_initializers,
        "kernels": None if target.kernels is None else sorted(target.kernels.operators()),
    }
    if target.served_by not in plugins.backends:
        row["missing"] = f"its backend {target.served_by!r} is not there; install a plugin that brings it"
    elif reason := plugins.backends.missing(target.served_by):
        row["missing"] = reason
    return row


def _operators(plugins: PluginManager) -> Iterator[Row]:
    registry = plugins.operators
    for name in sorted(registry):
        item = registry[name]
        yield {
            "name": name,
            "owner": registry.owner(name),
            "since": item.schema.since_version,
            "doc": " ".join((item.schema.doc or "").split()),
            "decomposes": item.decomposition is not None,
        }


def _plugins(plugins: PluginManager) -> Iterator[Row]:
    for info in plugins.plugins:
        yield {
            "name": info.name,
            "package": info.package,
            "status": info.status,
            "reason": info.reason,
            "api_version": info.api_version,
            "hooks": list(info.hooks),
        }


_LABELS: Final = ("When:", "Args:", "Returns:", "Who:")


def _hooks(plugins: PluginManager) -> Iterator[Row]:
    users = {info.name: info.hooks for info in plugins.plugins}
    for name, hook in vars(hookspecs).items():
        if name.startswith("graphopt_") and callable(hook):
            yield _hook(name, hook) | {"plugins": [plugin for plugin, hooks in users.items() if name in hooks]}


def _hook(name: str, hook: Callable[..., object]) -> Row:
    """The parts of a specification's docstring, which all have one form."""
    row: Row = {"name": name, "arguments": list(inspect.signature(hook).parameters), "doc": _summary(hook)}
    for paragraph in (inspect.getdoc(hook) or "").split("\n\n"):
        for label in _LABELS:
            if paragraph.startswith(label):
                row[label[:-1].lower()] = " ".join(paragraph[len(label) :].split())
    return row


#: What can be listed.
KINDS: Final[Mapping[str, Callable[[PluginManager], Iterator[Row]]]] = {
    "passes": _passes,
    "rules": _rules,
    "pipelines": _pipelines,
    "frontends": lambda plugins: _objects(plugins.frontends),
    "backends": _backends,
    "targets": _targets,
    "calibrators": lambda plugins: _objects(plugins.calibrators),
    "operators": _operators,
    "plugins": _plugins,
    "hooks": _hooks,
}
