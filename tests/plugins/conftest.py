"""A fresh virtual environment with the example plugins in it; everything else comes from the environment that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The example plugins, each a package of its own.
EXAMPLES = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def make_environment(folder: Path) -> Path:
    """A virtual environment that also sees the packages of this one and graphopt; returns its interpreter."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    beside = [path for path in sys.path if path.endswith("site-packages")]
    lines = [str(ROOT), *(f"import site; site.addsitedir({path!r})" for path in beside)]
    (Path(found.stdout.strip()) / "beside.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return python


def install(python: Path, *folders: Path) -> None:
    """Install packages from folders, without downloading anything."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def runner(python: Path) -> Run:
    """Runs that interpreter somewhere else than in the checkout."""

    def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [python, *arguments], cwd=python.parent, capture_output=True, text=True, check=False, env=_environment()
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    return run


def _environment() -> dict[str, str]:
    """This process's variables without those that lead Python elsewhere."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


@pytest.fixture(scope="session")
def with_plugins(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs Python in an environment where all example plugins are installed."""
    python = make_environment(tmp_path_factory.mktemp("plugins") / "venv")
    install(python, *EXAMPLES)
    return runner(python)
