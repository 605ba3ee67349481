"""Build the wheel, install it in a clean environment and run the demo there, from an empty folder.

Prints the files of the wheel. Exits with an error if a file is missing or does not belong there, if the installation
fails, or if the installed command does. Needs the `build` package to run and nothing of graphopt.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

REQUIRED = (
    "graphopt/__init__.py",
    "graphopt/py.typed",
    "graphopt/data/__init__.py",
    "graphopt/data/digits_cnn.onnx",
    "graphopt/data/digits_test.npz",
    "graphopt/data/pipelines/deploy-int8.toml",
    "graphopt/data/pipelines/deploy-pruned-int8.toml",
    "graphopt/plugin_manager/template/README.md.in",
    "graphopt/plugin_manager/template/fusion.py.in",
    "graphopt/plugin_manager/template/gitignore.in",
    "graphopt/plugin_manager/template/init.py.in",
    "graphopt/plugin_manager/template/operator.py.in",
    "graphopt/plugin_manager/template/pyproject.toml.in",
    "graphopt/plugin_manager/template/test.yml.in",
    "graphopt/plugin_manager/template/test_fusion.py.in",
    "graphopt/plugin_manager/template/test_operator.py.in",
)
"""Files without which an installed graphopt does not work."""


def build_wheel(folder: Path) -> Path:
    """Return the path of the wheel of this checkout, built into `folder`."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("graphopt-*.whl")
    return wheel


def wheel_files(wheel: Path) -> list[str]:
    """Return the names in the wheel, sorted."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def problems(names: list[str]) -> list[str]:
    """Return what is wrong with the files of a wheel, a line each; nothing if all is well."""
    missing = [f"missing: {name}" for name in REQUIRED if name not in names]
    metadata = [name for name in names if ".dist-info/" in name]
    if not any(name.endswith("/licenses/LICENSE") for name in metadata):
        missing.append("missing: the licence")
    if not any(name.endswith("/entry_points.txt") for name in metadata):
        missing.append("missing: the graphopt command")
    strays = [name for name in names if not name.startswith("graphopt/") and name not in metadata]
    strays += [name for name in names if "__pycache__" in name or "/tests/" in name]
    return missing + [f"does not belong: {name}" for name in strays]


def run_demo(wheel: Path, folder: Path) -> None:
    """Install `wheel` in a new environment under `folder` and run its demo from an empty folder."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    empty = folder / "empty"
    empty.mkdir()
    run(str(binaries / "graphopt"), "demo", cwd=empty)


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run a command without this process's Python settings; raise if it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    print("$", *command, flush=True)
    subprocess.run(command, cwd=cwd, env=clean, check=True)


def main() -> None:
    """Build, list, check, install and run."""
    with tempfile.TemporaryDirectory(prefix="graphopt-wheel-") as name:
        folder = Path(name)
        wheel = build_wheel(folder / "dist")
        names = wheel_files(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(names)} files", *names, sep="\n  ")
        if found := problems(names):
            sys.exit("\n".join([f"{wheel.name} is not fit to ship", *found]))
        run_demo(wheel, folder)


if __name__ == "__main__":
    main()
