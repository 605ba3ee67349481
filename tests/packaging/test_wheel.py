"""What the wheel holds, and that its check notices when it does not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from scripts.check_wheel import REQUIRED, ROOT, problems, wheel_files

METADATA = ["graphopt-0.1.0.dist-info/entry_points.txt", "graphopt-0.1.0.dist-info/licenses/LICENSE"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel of this checkout, built without a download."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel_files(wheel)


def test_wheel_is_fit_to_ship(names: list[str]) -> None:
    """Nothing is missing and nothing is there that does not belong."""
    assert problems(names) == []


def test_wheel_holds_every_module(names: list[str]) -> None:
    """A module that git ignores or a folder left out by the build would be missing."""
    modules = {path.relative_to(ROOT).as_posix() for path in Path(ROOT, "graphopt").rglob("*.py")}
    assert modules <= set(names)


def test_every_template_is_asked_for() -> None:
    """An installed graphopt writes new plugins too."""
    folder = Path("graphopt", "plugin_manager", "template")
    found = {(folder / path.name).as_posix() for path in Path(ROOT, folder).iterdir()}
    assert found == {name for name in REQUIRED if "/template/" in name}


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file_is_noticed(name: str) -> None:
    """Each file that an installation needs is asked for."""
    assert problems([*(set(REQUIRED) - {name}), *METADATA]) == [f"missing: {name}"]


@pytest.mark.parametrize("name", ["tests/test_x.py", "benchmarks/__init__.py", "graphopt/__pycache__/x.pyc"])
def test_stray_file_is_noticed(name: str) -> None:
    """Tests, benchmarks and caches stay at home."""
    assert problems([*REQUIRED, *METADATA, name]) == [f"does not belong: {name}"]


def test_licence_and_command_are_asked_for() -> None:
    """A wheel of code alone is refused."""
    assert problems(list(REQUIRED)) == ["missing: the licence", "missing: the graphopt command"]


def test_command_is_installed() -> None:
    """The console script points at the command line."""
    (script,) = entry_points(group="console_scripts", name="graphopt")
    assert script.value == "graphopt.cli:main"


def test_installed_version_is_the_stated_one() -> None:
    """An environment left over from an older checkout would differ."""
    stated = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert version("graphopt") == stated
