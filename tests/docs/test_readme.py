"""What the README promises of its examples."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder
from graphopt.passes import PassManager, RewritePass
from graphopt.runtime import ReferenceRunner
from graphopt.serde import emit_model
from tests.docs.pages import ROOT, Block, blocks

README = ROOT / "README.md"


def block_with(text: str, page: Path = README) -> Block:
    """The one block of a page that has a text in it."""
    [found] = [block for block in blocks(page) if text in block.text]
    return found


def code_lines(text: str) -> int:
    """Lines of code without imports, empty lines and comments."""
    tree = ast.parse(text)
    imports = {line for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for line in _lines(node)}
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in imports
        for number, line in enumerate(text.splitlines(), 1)
    )


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


PLUGIN = {
    "pyproject.toml": 'name = "graphopt-double-neg"',
    "src/graphopt_double_neg/__init__.py": "return [EliminateDoubleNeg]",
    "tests/test_double_neg.py": "assert check_pass(EliminateDoubleNeg",
}


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "how-to" / "ship-a-plugin.md"], ids=lambda page: page.stem)
@pytest.mark.parametrize("name", PLUGIN)
def test_plugin_shown_is_the_one_in_the_repository(page: Path, name: str) -> None:
    """All three files, byte for byte; that package is installed and run in a test of its own."""
    shown = block_with(PLUGIN[name], page)
    assert (ROOT / "plugins" / "graphopt-double-neg" / name).read_text(encoding="utf-8") == shown.text
    assert f"graphopt-double-neg/{name}" == shown.file


def test_smallest_rule_pass_and_plugin_stay_small() -> None:
    """A rule takes 3 lines, a whole-graph pass 19, a plugin module 14, its metadata 9, its test 6."""
    module = block_with("return [EliminateDoubleNeg]").text
    rule = module[module.index("@rewrite") : module.index("\n\n\nclass")]
    assert 3 == code_lines(rule)
    assert code_lines(module) - 1 <= 14  # the docstring of the module is none
    assert sum(map(bool, block_with(PLUGIN["pyproject.toml"]).text.splitlines())) <= 9
    assert code_lines(block_with(PLUGIN["tests/test_double_neg.py"]).text) <= 6
    shown = block_with("class ZeroSmallWeights", ROOT / "docs" / "how-to" / "write-a-pass.md")
    assert code_lines(shown.text) <= 19


def test_the_pass_in_ten_lines_is_right() -> None:
    """It fuses what it says, keeps numbers, and refuses integers and constants that add axes; its rule and pass take ten lines."""
    block = block_with("class UseHardSigmoid")
    assert code_lines(block.text[: block.text.index("result = ")]) <= 10
    namespace: dict[str, object] = {}
    exec(compile(block.text[: block.text.index("result = ")], str(README), "exec", dont_inherit=True), namespace)
    kind = namespace["UseHardSigmoid"]
    assert isinstance(kind, type)
    assert issubclass(kind, RewritePass)

    def built(dtype: DType, three: float | list[list[list[float]]]) -> GraphBuilder:
        b = GraphBuilder(opset=17)
        shape: list[int | str] = ["n", 4]
        x = b.input("x", dtype, shape)
        zero, six = (np.array(number, dtype.numpy) for number in (0, 6))
        y = b.Div(b.Mul(x, b.Clip(b.Add(x, np.array(three, dtype.numpy)), zero, six)), six)
        b.output(y, "y", dtype, shape if np.ndim(three) < 3 else [1, *shape])
        return b

    b = built(DType.FLOAT, 3)
    numbers = {"x": np.linspace(-5, 5, 12, dtype=np.float32).reshape(3, 4)}
    before = np.asarray(ReferenceRunner(emit_model(b.model)).run(numbers)["y"], np.float32)
    assert {"use-hard-sigmoid": 1} == PassManager([kind()]).run(b.model).stats
    assert ["HardSigmoid", "Mul"] == [node.op for node in b.model.graph.nodes]
    after = np.asarray(ReferenceRunner(emit_model(b.model)).run(numbers)["y"], np.float32)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    for dtype, three in ((DType.INT32, 3), (DType.FLOAT, [[[3.0]]])):
        assert not PassManager([kind()]).run(built(dtype, three).model).changed
