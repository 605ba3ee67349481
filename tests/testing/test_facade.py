"""The public names of the kit: sorted, complete, documented, imported only when they are asked for."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import graphopt.testing
from graphopt.testing import oracles, strategies


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_names_are_sorted_and_complete():
    names = graphopt.testing.__all__
    assert sorted(names, key=lambda name: (not name.isupper(), name)) == names
    assert set(names) == set(dir(graphopt.testing))
    assert set(oracles.__all__) <= set(names)
    assert set(strategies.__all__) <= set(names), "add the new strategies to the facade"


@pytest.mark.parametrize("name", graphopt.testing.__all__)
def test_each_name_is_there_and_documented(name):
    found = getattr(graphopt.testing, name)
    documented = type(found) if name.isupper() and not isinstance(found, tuple) else found
    assert isinstance(found, tuple) or (inspect.getdoc(documented) or "").strip()


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(graphopt.testing.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for item in guarded.body if isinstance(item, ast.ImportFrom) for alias in item.names}
    assert set(graphopt.testing.__all__) == seen


def test_importing_the_kit_imports_nothing_heavy():
    heavy = "numpy", "onnx", "onnxruntime", "hypothesis", "pytest", "msgspec"
    done = run(f"import sys, graphopt.testing\nprint([name for name in {heavy} if name in sys.modules])")
    assert "[]\n" == done.stdout, done.stderr


@pytest.mark.parametrize("name", ["models", "check_pass"])
def test_a_missing_package_is_told_with_how_to_install_it(name):
    done = run(f"import sys\nsys.modules['hypothesis'] = None\nfrom graphopt.testing import {name}")
    expected = f"graphopt.testing.{name} needs hypothesis, which is not installed; run: pip install 'graphopt[testing]'"
    assert expected in done.stderr


def test_one_law_needs_no_hypothesis():
    done = run(
        "import sys\nsys.modules['hypothesis'] = None\n"
        "from graphopt.testing import assert_equivalent\n"
        "model = '<ir_version: 8, opset_import: [\"\": 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }'\n"
        "print(assert_equivalent('fold-constants', model).law)"
    )
    assert "equivalent\n" == done.stdout, done.stderr


def test_unknown_names_are_errors():
    with pytest.raises(AttributeError, match=r"module 'graphopt\.testing' has no attribute 'assert_fast'"):
        _ = graphopt.testing.assert_fast
