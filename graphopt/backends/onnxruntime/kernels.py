"""Which kernels the installed ONNX Runtime has: operator, operator sets and element types, read from its own registry.

Reading imports ONNX Runtime, which takes longer than optimizing a small model does. So it is done when something is asked, and what was
found is kept in the user's cache folder under the identity of the installed library (version, size and time of its files): another
installation is read anew. A cache that can't be read or written is done without.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import onnx.defs

from graphopt.cache_folder import cache_folder
from graphopt.target import KernelRange, KernelTable

__all__ = ["InstalledKernels", "installed_kernels", "read_kernels"]

logger = logging.getLogger(__name__)

_ANY_VERSION: Final = (1 << 31) - 1
#: Grows with each change of what is written to the cache.
_FORMAT: Final = 1
_Rows = dict[str, dict[str, list[list[Any]]]]


class InstalledKernels:
    """The kernels of one execution provider of the installed ONNX Runtime, read when first asked for.

    Args:
        provider: name of the execution provider.
    """

    def __init__(self, provider: str = "CPUExecutionProvider") -> None:
        self.provider = provider

    def has(self, op: str, dtype: str | None, opset: int | None) -> bool:
        """Whether there is a kernel; of a build that does not tell, operators of the default domain are taken to have one."""
        table = installed_kernels(self.provider)
        return table.has(op, dtype, opset) if table.ranges else "::" not in op

    def operators(self) -> frozenset[str]:
        """Operators that have one."""
        return installed_kernels(self.provider).operators()


@lru_cache(maxsize=8)
def installed_kernels(provider: str) -> KernelTable:
    """The kernels of an execution provider; an empty table when the installed ONNX Runtime lacks the provider."""
    place = _cache_file()
    rows = None if place is None else _load(place)
    if rows is None:
        rows = read_kernels()
        if place is not None and rows:
            _store(place, rows)
    table = rows.get(provider, {})
    return KernelTable(
        {
            op: tuple(
                KernelRange(first, last, None if dtypes is None else frozenset(dtypes)) for first, last, dtypes in found
            )
            for op, found in table.items()
        }
    )


def read_kernels() -> _Rows:
    """Kernels by provider and operator, from ONNX Runtime's registry: first and last opset, and types of the first input.

    Source: ``KernelRegistry::VerifyKernelDef``: a kernel serves a version of an operator that it starts with, or that lies in its range
    where that has an end. Nothing where the build of ONNX Runtime was made without its registry.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # loading the library reports nothing
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state  # here: it takes long to import

        schemas, registered = state.get_all_operator_schema(), state.get_all_opkernel_def()
    except (ImportError, AttributeError) as err:
        logger.info("ONNX Runtime does not say which kernels it has: %s", err)
        return {}
    versions: dict[tuple[str, str], dict[int, Any]] = {}
    for schema in schemas:
        versions.setdefault((schema.domain, schema.name), {})[schema.since_version] = schema
    found: _Rows = {}
    for kernel in registered:
        domain = "" if kernel.domain == "ai.onnx" else kernel.domain
        op = f"{domain}::{kernel.op_name}" if domain else kernel.op_name
        schemas = versions.get((domain, kernel.op_name), {})
        official = _official_versions(kernel.op_name) if not domain else frozenset()
        starts = sorted(start for start in schemas if not official or start in official)
        first, last = kernel.version_range
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            if start == first or (first < start <= last and last != _ANY_VERSION):
                row = [start, None if following is None else following - 1, _types(kernel, schemas[start])]
                found.setdefault(kernel.provider, {}).setdefault(op, []).append(row)
    return found


@lru_cache(maxsize=1024)
def _official_versions(op_type: str) -> frozenset[int]:
    """Versions of an operator of the default domain; none for what ONNX Runtime has there of its own."""
    found: set[int] = set()
    at = onnx.defs.onnx_opset_version()
    while at > 0:
        try:
            at = onnx.defs.get_schema(op_type, at).since_version
        except onnx.defs.SchemaError:
            break
        found.add(at)
        at -= 1
    return frozenset(found)


def _types(kernel: Any, schema: Any) -> list[str] | None:  # noqa: ANN401 - classes of a native module without stubs
    """Element types of the first input; ``None`` where anything goes."""
    if not schema.inputs:
        return None
    key = schema.inputs[0].typeStr
    allowed = kernel.type_constraints.get(key)
    if allowed is None:
        allowed = next(
            (item.allowed_type_strs for item in schema.type_constraints if item.type_param_str == key), [key]
        )
    return sorted({_element(text) for text in allowed})


def _element(text: str) -> str:
    """``float`` of ``tensor(float)``, or of a sequence of these."""
    return text.rsplit("(", 1)[-1].rstrip(")")


# -- what was found, kept for the next process ------------------------------------------------------------------------------------


def _cache_file() -> Path | None:
    """Where what is installed has its table, ``None`` when nothing is installed or there is no place for it."""
    spec = importlib.util.find_spec("onnxruntime")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not places:
        return None
    identity = hashlib.sha256(f"{_FORMAT}".encode())
    try:
        for path in _libraries(places):
            stat = path.stat()
            identity.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return cache_folder() / f"onnxruntime-kernels-{identity.hexdigest()[:32]}.json"
    except (OSError, RuntimeError) as err:  # no home folder
        logger.debug("no cache for kernels: %s", err)
        return None


def _libraries(places: Iterable[str]) -> list[Path]:
    return sorted(path for place in places for path in (Path(place) / "capi").glob("*onnxruntime*") if path.is_file())


def _load(path: Path) -> _Rows | None:
    try:
        rows = json.loads(path.read_bytes())
        _check(rows)
    except (OSError, ValueError, TypeError) as err:
        logger.debug("kernels are not taken from the cache: %s", err)
        return None
    found: _Rows = rows
    return found


def _check(rows: object) -> None:
    """See that a cache has the form that was written."""
    if not isinstance(rows, Mapping) or not rows:
        raise ValueError("not a table of providers")
    for table in rows.values():
        if not isinstance(table, Mapping):
            raise ValueError("not a table of operators")
        for found in table.values():
            for first, last, dtypes in found:
                sound = isinstance(first, int) and isinstance(last, int | None) and isinstance(dtypes, list | None)
                if not sound:
                    raise ValueError("not a row of a kernel")


def _store(path: Path, rows: _Rows) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(rows, file, separators=(",", ":"))
        os.replace(draft, path)
    except OSError as err:
        logger.debug("kernels are not kept for the next time: %s", err)
