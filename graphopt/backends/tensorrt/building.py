"""From a network to an engine: compute capabilities, profiles of sizes, flags, caches; what goes wrong in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphopt.backends.tensorrt.api import INSTALL, Api
from graphopt.backends.tensorrt.engine_layers import EngineLayer, layers_from_text
from graphopt.backends.tensorrt.failures import not_built, out_of_memory
from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.backends.tensorrt.profiles import Profile
from graphopt.backends.tensorrt.progress import Cancelable, monitor_of
from graphopt.backends.tensorrt.ranges import Ranges, ranges_of
from graphopt.errors import ExecutionError

__all__ = ["BuiltEngine", "EngineOptions", "build_engine", "build_with_layers"]


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        capabilities: compute capabilities, ``"86"``; all that the library compiles for if there are none (TensorRT-RTX only).
        profiles: ranges of sizes; one that knows ``sizes`` if there are none.
        sizes: smallest, usual and largest size by name of a dimension, in all profiles that say nothing of it.
        weight_streaming: whether weights may stay in the memory of the host.
        refittable: whether weights can be exchanged in the engine.
        version_compatible: whether other versions of the library load the engine.
        sparse: whether kernels may skip zeros of weights of which at most 2 of 4 are not zero.
        tf32: whether products of float32 may be rounded to 10 bits of mantissa, which is faster; off, float32 is what it says.
        level: of the builder's optimization, 0 to 5; the library's default if ``None``.
        memory: bytes that the builder may use, by name of a pool, ``{"WORKSPACE": 1 << 30}``.
        timing_cache: what an earlier build measured, ``b""`` for nothing yet; nothing is kept if ``None``.
    """

    capabilities: Sequence[str] = ()
    profiles: Sequence[Profile] = ()
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    weight_streaming: bool = False
    refittable: bool = False
    version_compatible: bool = False
    sparse: bool = False
    tf32: bool = False
    level: int | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    timing_cache: bytes | None = None

    def stated_profiles(self) -> list[Profile]:
        """The profiles, each with ``sizes``."""
        return [item.with_sizes(self.sizes) for item in self.profiles or (Profile(),)]


@dataclass(frozen=True)
class BuiltEngine:
    """An engine, with what the library told while it was built.

    Attributes:
        data: the serialized engine, in the library's own memory.
        ranges: of each profile.
        layers: of the engine; empty if the library does not tell them while it builds.
        timing_cache: what was measured, ``None`` if that was not asked for.
    """

    data: memoryview = field(repr=False)
    ranges: Sequence[Ranges]
    layers: tuple[EngineLayer, ...] = ()
    timing_cache: bytes | None = field(default=None, repr=False)


def build_engine(
    built: BuiltNetwork, options: EngineOptions, *, progress: Callable[[str], None] | None = None
) -> bytes:
    """The serialized engine of a network, as :func:`build_with_layers` makes it; a copy that needs no library any more."""
    return bytes(build_with_layers(built, options, progress=progress).data)


def build_with_layers(
    built: BuiltNetwork, options: EngineOptions, *, progress: Callable[[str], None] | None = None
) -> BuiltEngine:
    """The engine of a network, and what it is made of.

    An interrupt (Ctrl-C) cancels the library's work at its next step, and is raised again when it has stopped.

    Args:
        built: the network.
        options: how.
        progress: told what is going on, from a thread of the library's.

    Raises:
        ExecutionError: if sizes or options do not fit, there is not enough memory, or the library builds none; with its own message.
    """
    api, network = built.api, built.network
    ranges = ranges_of(network, options.stated_profiles())
    config = _config(built, options, ranges)
    work = Cancelable()
    monitor = monitor_of(api.module, progress, work.is_canceled)
    if monitor is not None:
        config.progress_monitor = monitor
    built.log.errors()
    try:
        made = work.run(lambda: built.builder.build_serialized_network(network, config))
    except MemoryError as err:
        raise out_of_memory(network.name) from err
    if made is None:
        raise not_built(api, network.name, built.log.errors(), refittable=options.refittable)
    cache = None if options.timing_cache is None else bytes(config.get_timing_cache().serialize())
    return BuiltEngine(memoryview(made), ranges, layers_from_text(built.log.layers()), cache)


def _config(built: BuiltNetwork, options: EngineOptions, ranges: Sequence[Ranges]) -> Any:  # noqa: ANN401  IBuilderConfig
    api = built.api
    config = api.config(built.builder, options.capabilities)
    for item in ranges:
        _add_profile(built, config, item)
    flags = {
        "WEIGHT_STREAMING": (options.weight_streaming, "--weight-streaming"),
        "REFIT": (options.refittable, "--refittable"),
        "VERSION_COMPATIBLE": (options.version_compatible, "--version-compatible"),
        "SPARSE_WEIGHTS": (options.sparse, "--sparse"),
    }
    for name, (wanted, option) in flags.items():
        if wanted:
            config.set_flag(api.flag(name, option))
    if not options.tf32 and hasattr(api.module.BuilderFlag, "TF32"):
        config.clear_flag(api.module.BuilderFlag.TF32)  # libraries set it by themselves
    if options.level is not None:
        config.builder_optimization_level = options.level
    for pool, size in options.memory.items():
        config.set_memory_pool_limit(_pool(api, pool), size)
    if options.timing_cache is not None:
        _set_timing_cache(built, config, options.timing_cache)
    config.profiling_verbosity = api.enum("ProfilingVerbosity", "DETAILED")  # layers of the engine are told
    return config


def _add_profile(built: BuiltNetwork, config: Any, ranges: Ranges) -> None:  # noqa: ANN401  IBuilderConfig
    profile = built.builder.create_optimization_profile()
    for name, item in ranges.shapes.items():
        profile.set_shape(name, item.least, item.usual, item.most)
    for name, item in ranges.values.items():
        profile.set_shape_input(name, item.least, item.usual, item.most)
    if config.add_optimization_profile(profile) < 0:
        stated = ", ".join(f"{name}:{item}" for name, item in {**ranges.shapes, **ranges.values}.items())
        raise ExecutionError(
            f"{built.api.name} takes no profile of {stated}: {built.log.errors() or 'it does not say why'}"
        )


def _pool(api: Api, name: str) -> Any:  # noqa: ANN401  MemoryPoolType
    known = api.module.MemoryPoolType.__members__
    if name not in known:
        raise ExecutionError(f"{api.name} {api.version} knows no memory {name!r}; it knows: {', '.join(known)}")
    return known[name]


def _set_timing_cache(built: BuiltNetwork, config: Any, content: bytes) -> None:  # noqa: ANN401  IBuilderConfig
    api = built.api
    if not api.has_timing_cache:
        raise ExecutionError(
            f"{api.name} {api.version} measures nothing while it builds, so there is no timing cache to keep; leave --timing-cache "
            f"out{'' if api.is_rtx else f', or use another library: {INSTALL}'}"
        )
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        raise ExecutionError(
            f"the timing cache is not one of {api.name} {api.version} on this device: "
            f"{built.log.errors() or 'it does not say why'}; remove the file, and it is made anew"
        )
