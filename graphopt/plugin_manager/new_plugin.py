"""A new plugin as a package that installs and passes its own tests as it stands. The files are in ``template`` beside this one."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from graphopt.errors import OutputError, PluginError
from graphopt.hookspecs import HOOK_API_VERSION

__all__ = ["TEMPLATES", "write_plugin"]

#: Template by file of the package; ``$module`` stands for the name of its module.
TEMPLATES: Final = {
    ".github/workflows/test.yml": "test.yml.in",
    ".gitignore": "gitignore.in",
    "README.md": "README.md.in",
    "pyproject.toml": "pyproject.toml.in",
    "src/$module/__init__.py": "init.py.in",
    "src/$module/fusion.py": "fusion.py.in",
    "src/$module/operator.py": "operator.py.in",
    "tests/test_fusion.py": "test_fusion.py.in",
    "tests/test_operator.py": "test_operator.py.in",
}

_NAME: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|[-_.](?=[A-Za-z0-9]))*")
_PREFIX: Final = "graphopt-"
_LONGEST: Final = 80


def write_plugin(name: str, into: Path) -> list[Path]:
    """Write a package under ``into / name``; it appears whole or not at all.

    Args:
        name: of the distribution, such as ``graphopt-mychip``; compared as PEP 503 says.
        into: a folder that is there.

    Returns:
        The files written.

    Raises:
        PluginError: if the name is none for a package, or is taken by a module that is installed.
        OutputError: if something of that name is there already, or the folder can't be written.
    """
    words = _words(name)
    folder = into / words["name"]
    if into.exists() and not into.is_dir():
        raise OutputError(f"{str(into)!r} is a file; choose a folder (--into)")
    if not into.is_dir():
        raise OutputError(f"the folder {str(into)!r} does not exist; create it, or choose another one (--into)")
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{str(folder)!r} exists already; choose another name, or another folder (--into)")
    template = files(__package__).joinpath("template")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{words['name'][:40]}.", dir=into) as draft:
            made = Path(draft) / words["name"]
            for place, source in TEMPLATES.items():
                path = made / Template(place).substitute(words)
                path.parent.mkdir(parents=True, exist_ok=True)
                text = Template(template.joinpath(source).read_text(encoding="utf-8")).substitute(words)
                path.write_text(text, encoding="utf-8", newline="\n")
            shutil.move(made, folder)
    except OSError as err:
        raise OutputError(
            f"{str(folder)!r} cannot be written: {err.strerror or err}; choose another folder (--into)"
        ) from err
    return [folder / Template(place).substitute(words) for place in TEMPLATES]


def _words(name: str) -> dict[str, str]:
    """What stands for what in the templates.

    Example:
        >>> found = _words("graphopt-My_Chip")
        >>> found["name"], found["module"], found["plugin"], found["kebab"]
        ('graphopt-my-chip', 'graphopt_my_chip', 'my_chip', 'my-chip')
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise PluginError(
            f"{name!r:.100} is no name for a package; expected a letter, then letters and digits with single -, _ or . between "
            f"them, {_LONGEST} characters at most, such as graphopt-mychip"
        )
    distribution = re.sub(r"[-_.]+", "-", name).lower()
    module = distribution.replace("-", "_")
    kebab = distribution.removeprefix(_PREFIX)
    plugin = kebab.replace("-", "_")
    if plugin in ("builtin", "graphopt") or not plugin[0].isalpha() or keyword.iskeyword(module):
        raise PluginError(f"a plugin can't be called {name!r}; choose another name, such as graphopt-mychip")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise PluginError(f"a module {module!r} is there already; choose another name, such as graphopt-{kebab}-plugin")
    return {
        "name": distribution,
        "module": module,
        "plugin": plugin,
        "kebab": kebab,
        "api": str(HOOK_API_VERSION),
        "versions": _versions(),
    }


def _versions() -> str:
    """The versions of graphopt that a plugin written now may ask for: those of this minor release."""
    try:
        major, minor = map(int, version("graphopt").split(".")[:2])
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""
    return f">={major}.{minor},<{major}.{minor + 1}"
