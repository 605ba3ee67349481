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
    """What TensorRT said since it was last asked; errors are only there, calls do not raise them."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401  the library
        messages: list[tuple[str, str]] = []

        class Logger(module.ILogger):  # type: ignore[misc]  # a class of the library
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Enum, text: str) -> None:
                messages.append((str(severity).rpartition(".")[2], text))

        self._messages = messages
        self.logger = Logger()

    def errors(self) -> str:
        """The errors since the last call, in one line; warnings are forgotten."""
        found = [text for severity, text in self._messages if "ERROR" in severity]
        self._messages.clear()
        return " | ".join(dict.fromkeys(" ".join(text.split()) for text in found))[:600]


class Api:
    """One of the libraries.

    Args:
        module: it.

    Attributes:
        name: of the module.
        is_rtx: whether it is TensorRT-RTX, which compiles for compute capabilities, on any machine.
        has_normalization_v2: whether scale and bias of a group normalization are by channel.
        has_attention: whether there is one layer for attention.
        unbuildable: kinds of layers that the network takes and no engine is built with.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401  the library
        self.module = module
        self.name = str(module.__name__)
        network = module.INetworkDefinition
        self.is_rtx = hasattr(module, "ComputeCapability")
        self.has_normalization_v2 = hasattr(network, "add_normalization_v2")
        self.has_attention = hasattr(network, "add_attention_v2")
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
        found = self.module.Builder(log.logger)
        if found is None:
            raise ExecutionError(f"{self.name} makes no builder: {log.errors() or 'it does not say why'}")
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
