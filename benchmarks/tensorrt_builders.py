"""Two ways from an ONNX file to an engine, one of them in this process: what `benchmarks.tensorrt_build` starts.

Imports are part of what is measured, so nothing is imported that a way does without. The result goes to a file, as JSON: seconds by phase,
bytes of the engine, layers of the network, peak of resident memory, and that of the imports alone.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

__all__ = ["MAKERS", "main"]


def by_graphopt(
    source: Path, target: Path, capability: str, level: str, dims: list[str], batch: int
) -> dict[str, object]:
    """Read, optimize, legalize, lower layer by layer, build."""
    start = time.perf_counter()
    from graphopt.backends.tensorrt.building import EngineOptions  # here, as the next one: imports are measured
    from graphopt.compiler.engines.building import build, library_for

    library_for("tensorrt")
    imported, alone = time.perf_counter(), _peak_bytes()
    options = EngineOptions([capability], sizes=dict.fromkeys(dims, (batch,) * 3))
    engine = build(source, level=level, options=options, check=False)
    done = time.perf_counter()
    engine.save(target, force=True)
    later = {"lower": engine.seconds["lower"], "build": engine.seconds["build"]}
    seconds = {"import": imported - start, "read": done - imported - sum(later.values()), **later}
    return {
        "seconds": seconds | {"save": time.perf_counter() - done},
        "layers": sum(engine.layers.values()),
        "imports_bytes": alone,
    }


def by_parser(
    source: Path, target: Path, capability: str, level: str, dims: list[str], batch: int
) -> dict[str, object]:
    """Parse with NVIDIA's own parser, build."""
    start = time.perf_counter()
    from graphopt.backends.tensorrt.api import load  # here: as above; it imports little

    api = load()
    log = api.log()
    imported, alone = time.perf_counter(), _peak_bytes()
    builder = api.builder(log)
    network = api.network(builder)
    reader = api.module.OnnxParser(network, log.logger)
    if not reader.parse_from_file(str(source)):
        raise ValueError(str(reader.get_error(0).desc()) if reader.num_errors else "it does not parse")
    parsed = time.perf_counter()
    config = api.config(builder, [capability])
    profile = builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        if -1 in tuple(tensor.shape):
            shape = [batch if size == -1 else size for size in tensor.shape]
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise ValueError(log.errors())
    built = time.perf_counter()
    target.write_bytes(made)
    seconds = {"import": imported - start, "parse": parsed - imported, "build": built - parsed}
    return {
        "seconds": seconds | {"save": time.perf_counter() - built},
        "layers": network.num_layers,
        "imports_bytes": alone,
    }


MAKERS = {"graphopt": by_graphopt, "parser": by_parser}


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main(argv: list[str]) -> int:
    """Build one engine as the JSON argument says, and write what it took."""
    asked = json.loads(argv[0])
    source, target = Path(asked["source"]), Path(asked["target"])
    found = MAKERS[asked["maker"]](
        source, target, asked["capability"], asked["level"], asked["dims"], int(asked["batch"])
    )
    done = found | {"bytes": target.stat().st_size, "peak_bytes": _peak_bytes()}
    Path(asked["result"]).write_text(json.dumps(done), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
