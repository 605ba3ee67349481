"""From a network to an engine: compute capabilities, profiles of sizes, caches; what goes wrong in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.backends.tensorrt.profiles import InputRange, ranges_of
from graphopt.errors import ExecutionError

__all__ = ["EngineOptions", "build_engine"]


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        capabilities: compute capabilities, ``"86"``; all that the library compiles for if there are none (TensorRT-RTX only).
        profiles: shapes by input.
        sizes: smallest, usual and largest size by name of a dimension.
        weight_streaming: whether weights may stay in the memory of the host.
        level: of the builder's optimization, 0 to 5; the library's default if ``None``.
        workspace: bytes that the builder may use on the device; no limit if ``None``.
    """

    capabilities: Sequence[str] = ()
    profiles: Mapping[str, InputRange] = field(default_factory=dict)
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    weight_streaming: bool = False
    level: int | None = None
    workspace: int | None = None


def build_engine(
    built: BuiltNetwork, options: EngineOptions, *, progress: Callable[[str], None] | None = None
) -> bytes:
    """The serialized engine of a network.

    Args:
        built: the network.
        options: how.
        progress: told what is going on.

    Raises:
        ExecutionError: if sizes or options do not fit, or the library builds none; with its own message.
    """
    api, network = built.api, built.network
    config = api.config(built.builder, options.capabilities)
    ranges = ranges_of(network, options.profiles, options.sizes)
    if ranges:
        profile = built.builder.create_optimization_profile()
        for name, item in ranges.items():
            profile.set_shape(name, item.least, item.usual, item.most)
        config.add_optimization_profile(profile)
    if options.weight_streaming:
        config.set_flag(api.enum("BuilderFlag", "WEIGHT_STREAMING"))
    if options.level is not None:
        config.builder_optimization_level = options.level
    if options.workspace is not None:
        config.set_memory_pool_limit(api.enum("MemoryPoolType", "WORKSPACE"), options.workspace)
    monitor = _monitor(api.module, progress)
    if monitor is not None:
        config.progress_monitor = monitor
    built.log.errors()
    try:
        made = built.builder.build_serialized_network(network, config)
    except MemoryError as err:
        raise ExecutionError(
            "there is not enough memory to build an engine; build fewer layers, or on another machine"
        ) from err
    if made is None:
        said = built.log.errors() or "it does not say why"
        raise ExecutionError(f"{api.name} {api.version} builds no engine of {network.name!r}: {said}")
    return bytes(made)


def _monitor(module: Any, progress: Callable[[str], None] | None) -> object | None:  # noqa: ANN401  the library
    """What the library tells its progress."""
    if progress is None or not hasattr(module, "IProgressMonitor"):
        return None
    tell = progress

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]  # a class of the library
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, step + 1)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
