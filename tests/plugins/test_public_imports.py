"""The example plugins use what any stranger may use: public names, and nothing of graphopt's inside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.public_api import PUBLIC, public_names

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
SOURCES = sorted(path for path in PLUGINS.rglob("*.py") if "build" not in path.relative_to(PLUGINS).parts)


def intrusions(text: str) -> Iterator[str]:
    """What a source takes from graphopt that is not public, with its line."""
    bound: dict[str, str] = {}
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                if item.name.partition(".")[0] == "graphopt":
                    bound[item.asname or "graphopt"] = item.name if item.asname else "graphopt"
                    if item.name not in PUBLIC:
                        yield f"line {node.lineno}: import {item.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "graphopt":
            module = node.module or ""
            for item in node.names:
                whole = f"{module}.{item.name}"
                if whole in PUBLIC:
                    bound[item.asname or item.name] = whole
                elif module not in PUBLIC or item.name not in public_names(module):
                    yield f"line {node.lineno}: from {module} import {item.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            module = bound[node.value.id]
            if f"{module}.{node.attr}" not in PUBLIC and (
                module not in PUBLIC or node.attr not in public_names(module)
            ):
                yield f"line {node.lineno}: {module}.{node.attr}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_plugin_uses_public_names_only(path: Path) -> None:
    """In its tests too."""
    assert [] == list(intrusions(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from graphopt.ir.graph import Graph", ["line 1: from graphopt.ir.graph import Graph"]),
        ("from graphopt.ir import _hidden", ["line 1: from graphopt.ir import _hidden"]),
        ("from graphopt.compiler import importlib", ["line 1: from graphopt.compiler import importlib"]),
        ("import graphopt.transforms.cse", ["line 1: import graphopt.transforms.cse"]),
        ("import graphopt\n\n\ndef f():\n    return graphopt.importlib", ["line 5: graphopt.importlib"]),
        ("from graphopt import ir\nir.graph", ["line 2: graphopt.ir.graph"]),
        ("from graphopt import GraphBuilder\nfrom graphopt.ir import DType\nimport graphopt.passes as p\np.Pass", []),
        ("import numpy as np\nnp.zeros", []),
    ],
)
def test_what_is_inside_is_noticed(text: str, expected: list[str]) -> None:
    """In every form that an import can have."""
    assert expected == list(intrusions(text))
