"""The one module that knows TensorRT's libraries and how they differ: ``tensorrt`` 10 and 11, ``tensorrt_rtx``.

What a library can do is found by looking for the call, not by its version. Nobody else's modules are replaced.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, Final, cast

from graphopt.backends.tensorrt.protocols import Enum, Network
from graphopt.errors import ExecutionError
from graphopt.ir import DType

__all__ = ["INSTALL", "LIBRARIES", "Api", "Log", "load"]

#: Modules that may have the API, best first. ``GRAPHOPT_TENSORRT`` names the one to use.
LIBRARIES: Final = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
CHOICE: Final = "GRAPHOPT_TENSORRT"
INSTALL: Final = "pip install graphopt[tensorrt-rtx]"

#: How the builder begins to tell the layers of an engine.
_LAYERS: Final = "Layers:"
#: What libraries that need no driver say without one, after each error of their own.
_NOISE: Final = "CUDA driver version is insufficient for CUDA runtime version"

_DTYPES: Final = {
    DType.FLOAT: "FLOAT",
    DType.FLOAT16: "HALF",
    DType.BFLOAT16: "BF16",
    DType.INT8: "INT8",
    DType.INT32: "INT32",
    DType.INT64: "INT64",
    DType.BOOL: "BOOL",
    DType.UINT8: "UINT8",
    DType.FLOAT8E4M3FN: "FP8",
    DType.INT4: "INT4",
}


class Log:
    """What TensorRT says and its calls do not: errors, and the layers of an engine that was built.

    Args:
        module: the library.

    Attributes:
        logger: what the library takes.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401  the library
        outer = self

        class Logger(module.ILogger):  # type: ignore[misc]  # a class of the library
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Enum, text: str) -> None:
                if "ERROR" in str(severity):
                    outer._errors.append(text)
                elif text.startswith(_LAYERS):
                    outer._layers = text

        self._errors: list[str] = []
        self._layers = ""
        self.logger = Logger()

    def layers(self) -> str:
        """Text about the layers of the engine that was built since the last call; empty unless it was built with details."""
        found, self._layers = self._layers, ""
        return found

    def errors(self) -> str:
        """The errors since the last call, in one line."""
        found = list(dict.fromkeys(" ".join(text.split()) for text in self._errors))
        self._errors.clear()
        return " | ".join([text for text in found if _NOISE not in text] or found)[:600]


class Api:
    """One of the libraries.

    Args:
        module: it.

    Attributes:
        name: of the module.
        is_rtx: whether it is TensorRT-RTX, which compiles for compute capabilities, on any machine.
        has_normalization_v2: whether scale and bias of a group normalization are by channel.
        has_attention: whether there is one layer for attention.
        has_timing_cache: whether what the builder measured can be kept; TensorRT-RTX measures nothing.
        unbuildable: kinds of layers that the network takes and no engine is built with.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401  the library
        self.module = module
        self.name = str(module.__name__)
        network = module.INetworkDefinition
        self.is_rtx = hasattr(module, "ComputeCapability")
        self.has_normalization_v2 = hasattr(network, "add_normalization_v2")
        self.has_attention = hasattr(network, "add_attention_v2")
        self.has_timing_cache = hasattr(module, "ITimingCache") and not self.is_rtx
        self.unbuildable = frozenset({"NMS", "NON_ZERO"}) if self.is_rtx else frozenset[str]()

    @property
    def version(self) -> str:
        """Version of the library."""
        return str(getattr(self.module, "__version__", "?"))

    def log(self) -> Log:
        """A log that collects messages."""
        return Log(self.module)

    def builder(self, log: Log) -> Any:  # noqa: ANN401  IBuilder
        """``IBuilder``.

        Raises:
            ExecutionError: if the library can't make one.
        """
        try:
            found, said = self.module.Builder(log.logger), ""
        except (RuntimeError, TypeError) as err:  # pybind11: a factory gave a null pointer
            found, said = None, str(err)
        if found is None:
            advice = "" if self.is_rtx else f"; it needs a GPU and its driver, TensorRT-RTX builds without: {INSTALL}"
            raise ExecutionError(
                f"{self.name} {self.version} makes no builder: {log.errors() or said or 'it does not say why'}{advice}"
            )
        return found

    def network(self, builder: Any) -> Network:  # noqa: ANN401  IBuilder
        """An empty network in which types are what layers say, and nothing else."""
        flags = 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return cast(Network, builder.create_network(flags))

    def config(self, builder: Any, capabilities: Sequence[str] = ()) -> Any:  # noqa: ANN401  IBuilderConfig
        """``IBuilderConfig`` without precision flags.

        Args:
            builder: ``IBuilder``.
            capabilities: compute capabilities to compile for, ``"86"``; all that the library supports if there are none.

        Raises:
            ExecutionError: if it has no such capability, or compiles for the device at hand only.
        """
        config = builder.create_builder_config()
        if not capabilities:
            return config
        if not self.is_rtx:
            raise ExecutionError(
                f"{self.name} builds for the GPU at hand; compute capabilities are chosen with TensorRT-RTX: {INSTALL}"
            )
        known = self.module.ComputeCapability.__members__
        config.num_compute_capabilities = len(capabilities)
        for place, item in enumerate(capabilities):
            name = f"SM{item}"
            if name not in known:
                choice = ", ".join(each.removeprefix("SM") for each in known if each.startswith("SM"))
                raise ExecutionError(
                    f"{self.name} {self.version} knows no compute capability {item!r}; it knows: {choice}"
                )
            config.set_compute_capability(known[name], place)
        return config

    def flag(self, member: str, option: str) -> Enum:
        """A member of ``BuilderFlag``.

        Args:
            member: its name.
            option: what asked for it, for the error.

        Raises:
            ExecutionError: if this library does not have it.
        """
        found = self.module.BuilderFlag.__members__.get(member)
        if found is None:
            raise ExecutionError(f"{self.name} {self.version} can't build so: it has no {member}; leave {option} out")
        return found

    def dtype(self, dtype: DType) -> Enum | None:
        """An element type, ``None`` when TensorRT has none like it."""
        name = _DTYPES.get(dtype)
        return None if name is None else self.module.DataType.__members__.get(name)

    def ir_dtype(self, dtype: Enum) -> DType:
        """The element type that one of TensorRT's is."""
        return next(key for key, name in _DTYPES.items() if getattr(self.module.DataType, name, None) == dtype)

    def enum(self, kind: str, member: str) -> Enum:
        """A member of an enumeration.

        Raises:
            ExecutionError: if this library does not have it.
        """
        found = getattr(getattr(self.module, kind, None), member, None)
        if found is None:
            raise ExecutionError(f"{self.name} {self.version} has no {kind}.{member}")
        return found


def load(prefer: str | None = None) -> Api:
    """The library that is installed.

    Args:
        prefer: name of one of :data:`LIBRARIES`; what ``GRAPHOPT_TENSORRT`` says if ``None``, else the first that is there.

    Raises:
        ExecutionError: if none is.
    """
    chosen = prefer or os.environ.get(CHOICE)
    reasons: list[str] = []
    for name in (chosen,) if chosen else LIBRARIES:
        try:
            module = importlib.import_module(name)
        except Exception as err:  # noqa: BLE001  packages that only stand for a library raise anything
            reasons.append(f"{name}: {type(err).__name__}")
            continue
        if hasattr(module, "Builder"):
            return Api(module)
        reasons.append(f"{name}: has no Builder")
    raise ExecutionError(f"no TensorRT library is installed ({'; '.join(reasons)}): {INSTALL}")
