"""Calibration keeps to its memory: measured as the largest resident size of a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: A chain of layers whose tensors take 8 MB each, 400 MB together; prints how many MB a calibration took at most.
SCRIPT = """
import sys
import numpy as np
import onnx.parser
import graphopt

names = [f"t{{at}}" for at in range(51)]
body = "\\n".join(f"{{after}} = Abs({{before}})" for before, after in zip(names, names[1:]))
text = f'<ir_version: 8, opset_import: ["": 17]> g (float[n] t0) => (float[n] t50) {{{{ {{body}} }}}}'

def resident(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1e3 for line in status if line.startswith(what))

def read(count):
    for _ in range(count):
        yield {{"t0": np.ones(size, np.float32)}}

size = 16
model = onnx.parser.parse_model(text)
graphopt.calibrate(model, read(1), calibrator="{kind}", memory=1)
before = resident("VmRSS")
size = 2_000_000
graphopt.calibrate(model, read({count}), calibrator="{kind}", memory={memory})
print(resident("VmHWM") - before)
"""


def megabytes(kind: str, memory: int, count: int) -> float:
    text = SCRIPT.format(kind=kind, memory=memory, count=count)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell resident memory this way")
@pytest.mark.parametrize(
    ("kind", "memory", "count", "most"),
    [
        ("min-max", 40_000_000, 3, 100),
        ("percentile", 80_000_000, 1, 250),
        ("percentile", 1 << 30, 3, 600),
    ],
)
def test_memory_is_kept(kind: str, memory: int, count: int, most: int) -> None:
    """Reduced by the runtime, in slices, and all at once, where it is the same for several batches as for one."""
    assert megabytes(kind, memory, count) < most
