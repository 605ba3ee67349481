"""Targets by name: a description, and the backend that makes models for it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from graphopt.backends.base import Artifact, Backend, ConvertingBackend, SavingBackend
from graphopt.errors import PipelineError, PluginError
from graphopt.ir import Model, Node
from graphopt.passes import PassContext, suggestion
from graphopt.plugin_manager import PluginManager
from graphopt.target import Target

__all__ = ["find_backend", "find_onnx_backend", "find_target"]


def find_target(plugins: PluginManager, name: str) -> Target:
    """The description of a target; a backend's name stands for the target of the backend.

    Raises:
        PipelineError: if there is none of that name.
        PluginError: if a plugin answers with something else.
    """
    if name in plugins.targets:
        found = plugins.targets.find(name)
        if not isinstance(found, Target) or found.name != name:
            shown = repr(found.name) if isinstance(found, Target) else f"a {type(found).__name__}"
            raise PluginError(
                f"plugin {plugins.targets.owner(name)!r}: target {name!r} is {shown}, expected Target({name!r})"
            )
        return found
    if name in plugins.backends:
        return cast("Backend", plugins.backends.find(name)).target
    known = {*plugins.targets, *plugins.backends}
    raise PipelineError(f"unknown target {name!r}{suggestion(name, known) or ';'} known targets: graphopt list targets")


def find_backend(plugins: PluginManager, name: str) -> Backend:
    """The backend that makes models for a target, with the target's description.

    Raises:
        PipelineError: if there is no such target, or no backend for it.
    """
    target = find_target(plugins, name)
    server = target.served_by if name in plugins.targets else name
    if server not in plugins.backends:
        raise PipelineError(
            f"target {name!r} has no backend: {server!r} is not there; install a plugin that brings it, or choose another target "
            "(graphopt list targets)"
        )
    backend = cast("Backend", plugins.backends.find(server))
    if isinstance(backend, ConvertingBackend):
        backend = backend.with_converters(plugins.converters(server))
    if name not in plugins.targets or backend.target is target:
        return backend
    return _SavingServant(backend, target) if isinstance(backend, SavingBackend) else _Servant(backend, target)


def find_onnx_backend(plugins: PluginManager, name: str) -> Backend:
    """What makes ONNX models for a target: its own backend where that writes ONNX, else that of plain ONNX with the target's description.

    Raises:
        PipelineError: if there is no such target, or no backend for it.
    """
    from graphopt.backends.onnx.backend import OnnxBackend  # lazily: imports onnx

    found = find_backend(plugins, name)
    inner = found.backend if isinstance(found, _Servant) else found
    if isinstance(inner, OnnxBackend):
        return found
    plain = find_backend(plugins, "onnx")
    assert isinstance(plain, SavingBackend), "it writes files itself"
    return _SavingServant(plain, found.target)


class _Servant:
    """A backend that serves a target with a description of its own."""

    def __init__(self, backend: Backend, target: Target) -> None:
        self.backend = backend
        self.target = target

    @property
    def name(self) -> str:
        """Name of the backend."""
        return self.backend.name

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """As the backend does."""
        return self.backend.legalize(model, ctx)

    def emit(self, model: Model) -> Artifact:
        """As the backend does."""
        return self.backend.emit(model)

    def supports(self, node: Node) -> str | None:
        """Why the target cannot run a node, ``None`` when it can (or when nobody knows)."""
        if node.op in self.target.unsupported:
            return f"target {self.target.name!r} has no operator {node.op}"
        return self.backend.supports(node)


class _SavingServant(_Servant):
    """The same of a backend that writes files itself."""

    def save(self, model: Model, path: Path, *, external_data: bool | None, force: bool) -> list[Path]:
        """As the backend does."""
        assert isinstance(self.backend, SavingBackend), "made of such backends only"
        return self.backend.save(model, path, external_data=external_data, force=force)
