"""The import contracts of pyproject.toml catch what they are there to catch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def broken_contracts(folder: Path, modules: dict[str, str]) -> set[str]:
    """Return the names of the contracts that a package of these modules (dotted name to source) breaks."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "graphopt").mkdir()
    (folder / "graphopt" / "__init__.py").touch()
    for name, source in modules.items():
        path = folder.joinpath("graphopt", *name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True, parents=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source, encoding="utf-8")
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = os.environ | {"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return {line.removesuffix("BROKEN").strip() for line in done.stdout.splitlines() if line.endswith("BROKEN")}


LAYERS = "A stage imports earlier stages only"
ONNX = "Protobufs at the edges: the middle of the compiler does not import onnx"
RUNTIME = "ONNX Runtime is imported where models run"
OPTIONAL = "Optional packages are imported where they are wrapped"
PEOPLE = "Terminal packages stay in the command line and the reports"


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        pytest.param({"ir.graph": "import graphopt.passes.base", "passes.base": ""}, {LAYERS}, id="upwards"),
        pytest.param({"rewriting.x": "import graphopt.analysis.y", "analysis.y": ""}, {LAYERS}, id="sideways"),
        pytest.param({"nowhere": ""}, {LAYERS}, id="module-without-a-layer"),
        pytest.param({"ir.graph": "from onnx import TensorProto"}, {ONNX}, id="onnx-in-the-ir"),
        pytest.param({"transforms.fold": "def f():\n    import onnx"}, {ONNX}, id="onnx-imported-late"),
        pytest.param({"passes.base": "import onnxruntime"}, {RUNTIME}, id="runtime-in-passes"),
        pytest.param({"compiler": "import hypothesis"}, {OPTIONAL}, id="hypothesis-in-the-compiler"),
        pytest.param({"passes.base": "from rich import print"}, {PEOPLE}, id="rich-in-passes"),
        pytest.param(
            {"ir.schema": "import onnx.defs", "serde.lift": "import onnx\nimport graphopt.ir.schema"}, set(), id="sound"
        ),
    ],
)
def test_contracts(tmp_path: Path, modules: dict[str, str], expected: set[str]) -> None:
    """Each kind of wrong import breaks its contract and no other."""
    assert broken_contracts(tmp_path, modules) == expected
