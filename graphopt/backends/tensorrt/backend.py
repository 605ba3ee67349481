"""The backend: legalizes for TensorRT, builds the network, and an engine of it with the library's defaults."""

from __future__ import annotations

import json
from collections.abc import Sequence

from graphopt.backends.base import Artifact
from graphopt.backends.targets import TENSORRT
from graphopt.backends.tensorrt.api import Api, load
from graphopt.backends.tensorrt.building import EngineOptions, build_with_layers
from graphopt.backends.tensorrt.legalize import LEGALIZE
from graphopt.backends.tensorrt.manifest_contents import manifest_of
from graphopt.backends.tensorrt.network import BuiltNetwork, build_network
from graphopt.backends.tensorrt.open_sizes import refuse_open_sizes
from graphopt.backends.tensorrt.registry import Registry, builtin_converters
from graphopt.ir import Model, Node
from graphopt.passes import Converter, PassContext
from graphopt.target import Target

__all__ = ["LEGALIZE", "TensorRtBackend"]


class TensorRtBackend:
    """Builds networks layer by layer, without the ONNX parser.

    Args:
        target: what the runtime can do.
        converters: what adds layers; built-in ones if ``None``.
    """

    name = "tensorrt"

    def __init__(self, target: Target = TENSORRT, converters: Sequence[Converter] | None = None) -> None:
        self.target = target
        self.registry = Registry(builtin_converters() if converters is None else converters)

    def with_converters(self, converters: Sequence[Converter]) -> TensorRtBackend:
        """The same with converters of plugins."""
        return TensorRtBackend(self.target, converters)

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """Functions inlined, operators without layers spelled out, constants folded whatever their size."""
        return LEGALIZE

    def supports(self, node: Node) -> str | None:
        """Why there are no layers for a node."""
        found = self.registry.find(node)
        return found if isinstance(found, str) else None

    def network(self, model: Model, api: Api | None = None, *, refittable: bool = False) -> BuiltNetwork:
        """The network of a legalized model.

        Args:
            model: it; not changed.
            api: the library; the one that is installed if ``None``.
            refittable: whether weights are to be exchanged in the engine.

        Raises:
            UnsupportedOpError: if a node has no layers.
            ExecutionError: if no library is installed.
        """
        return build_network(model, api or load(), self.registry, refittable=refittable)

    def emit(self, model: Model) -> Artifact:
        """The serialized engine of a legalized model, for all devices that the library compiles for, and its manifest.

        Raises:
            UnsupportedOpError: if a node has no layers.
            ExecutionError: if no library is installed, an input has a size that is not known, or no engine can be built.
        """
        refuse_open_sizes(
            model, "an engine is for known sizes", "--set-dim", "for ranges of them, graphopt build --dim"
        )
        built, options = self.network(model), EngineOptions()
        engine = build_with_layers(built, options)
        manifest = json.dumps(manifest_of(built, engine, options), indent=2).encode() + b"\n"
        return Artifact("tensorrt", files={".engine": engine.data, ".engine.json": manifest})
