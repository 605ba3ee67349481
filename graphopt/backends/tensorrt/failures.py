"""Why no engine was built, in one line: what the library said, and what can be done about it."""

from __future__ import annotations

from typing import Final

from graphopt.backends.tensorrt.api import Api
from graphopt.errors import ExecutionError

__all__ = ["not_built", "out_of_memory"]

#: What the library says, and what to do, first match first. Pieces of the library's messages are matched, never codes alone.
_ADVICE: Final = (
    ("BuildCanceled", "it was canceled"),
    ("within workspace limit", "the workspace is too small: raise --memory WORKSPACE=SIZE, or leave it out"),
    (
        "libnvinfer_lean",
        "engines for other versions need that library, which does not come with this one: leave --version-compatible out",
    ),
    ("HW-specific datatypes: fp8", "float8 needs compute capability 89 or more: --sm 89"),
    (
        "shape input tensor",
        "state the values of the input, not its shape: --values NAME:MIN,USUAL,MAX",
    ),
)
_REFITTABLE: Final = (
    "engines that can be refitted are compiled by a GPU's driver: build where there is one, or leave --refittable out"
)
_NO_DRIVER: Final = ("graph_jit", "libcuda", "no CUDA-capable device", "CUDA initialization failure")
_MEMORY: Final = ("bad_alloc", "out of memory", "OutOfMemory", "CHECK(p) failed", "cudaErrorMemoryAllocation")
_FREE: Final = "free memory, build for fewer sizes, or on another machine"


def out_of_memory(name: str, said: str = "") -> ExecutionError:
    """The error that there is not enough memory to build an engine.

    Args:
        name: of the network.
        said: by the library.
    """
    detail = f" ({said})" if said else ""
    return ExecutionError(f"there is not enough memory to build an engine of {name!r}{detail}; {_FREE}")


def not_built(api: Api, name: str, said: str, *, refittable: bool) -> ExecutionError:
    """The error that the library built no engine.

    Args:
        api: the library.
        name: of the network.
        said: what its log has.
        refittable: whether weights were to be exchanged later.
    """
    if any(sign in said for sign in _MEMORY):
        return out_of_memory(name, said)
    advice = next((advice for sign, advice in _ADVICE if sign in said), "")
    if not advice and any(sign in said for sign in _NO_DRIVER):
        advice = _REFITTABLE if refittable else "it needs a GPU and its driver"
    reason = said or "it does not say why"
    return ExecutionError(
        f"{api.name} {api.version} builds no engine of {name!r}: {reason}{f'; {advice}' if advice else ''}"
    )
