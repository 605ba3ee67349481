"""What lies beside an engine: from what, with what and how it was built, what it takes, and the layers that it is made of.

:mod:`graphopt.backends.tensorrt.manifest` reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from graphopt.backends.tensorrt.building import BuiltEngine, EngineOptions
from graphopt.backends.tensorrt.network import BuiltNetwork
from graphopt.backends.tensorrt.refitting import structure_of, weights_of

__all__ = ["manifest_of", "source_digest"]


def manifest_of(
    built: BuiltNetwork,
    engine: BuiltEngine,
    options: EngineOptions,
    *,
    source: str = "",
    source_sha256: str = "",
    pipeline: str = "",
    precision: str = "fp32",
    sparse: Sequence[str] = (),
) -> dict[str, Any]:
    """The manifest of an engine as plain values.

    Args:
        built: its network.
        engine: it.
        options: how it was built.
        source: where the model came from.
        source_sha256: digest of that file, ``""`` if it was none.
        pipeline: what the model went through before its floats were converted.
        precision: that was asked for.
        sparse: original names of nodes whose weights have zeros that may be skipped.
    """
    network = built.network
    kinds = Counter(str(network.get_layer(place).type).rpartition(".")[2] for place in range(network.num_layers))
    return {
        "format": 1,
        "graphopt": version("graphopt"),
        "library": built.api.name,
        "version": built.api.version,
        "source": source,
        "source_sha256": source_sha256,
        "pipeline": pipeline,
        "precision": precision,
        "capabilities": list(options.capabilities),
        "profiles": [item.to_dict() for item in engine.ranges],
        "options": {
            "weight_streaming": options.weight_streaming,
            "refittable": options.refittable,
            "version_compatible": options.version_compatible,
            "sparse": options.sparse,
            "tf32": options.tf32,
            "level": options.level,
            "memory": dict(options.memory),
        },
        "layers": dict(kinds.most_common()),
        "types": {name: str(dtype) for name, dtype in built.dtypes.items()},
        "sparse": list(sparse),
        "structure": structure_of(built) if options.refittable else "",
        "weights": weights_of(built) if options.refittable else {},
        "engine": [item.to_dict() for item in engine.layers],
        "bytes": len(engine.data),
        "sha256": hashlib.sha256(engine.data).hexdigest(),
    }


def source_digest(source: object) -> str:
    """SHA-256 of the file that a model is read from, ``""`` for anything else."""
    if not isinstance(source, str | os.PathLike):
        return ""
    try:
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # whoever reads the model says what is wrong with the file
