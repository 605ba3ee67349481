"""Names of sizes that are expressions: read for guesses, never for rewrites."""

from __future__ import annotations

import onnx
import pytest

from graphopt import optimize
from graphopt.verify.size_expressions import evaluate_size, is_size_expression


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("past_sequence_length + 1", 6),
        ("2*h", 14),
        ("h//2", 3),
        ("h / 2", 3),
        ("floor(h/2 + 1/2)", 4),
        ("floor(floor(h/2)/2)", 1),
        ("((h - 1)//2) + 1", 4),
        ("ceiling(h/2)", 4),
        ("Max(1, h - 9)", 1),
        ("Min(h, past_sequence_length, 4)", 4),
        ("Mod(h, 4)", 3),
        ("h % 4", 3),
        ("FloorDiv(h, 2)", 3),
        ("-h + 10", 3),
        ("h//(h - 7)", -1),
    ],
)
def test_an_expression_follows_from_other_sizes(text: str, size: int) -> None:
    """Spellings of optimum, of sympy as torch.export prints it, and of ONNX Runtime's shape inference."""
    sizes = {"h": 7, "past_sequence_length": 5}
    assert is_size_expression(text, sizes)
    assert evaluate_size(text, sizes) == size


@pytest.mark.parametrize(
    "text",
    ["h", "batch", "h + w", "h.0", "p2o.DynamicDimension.0", "h[0]", "h +", "h + 1.5", "exec(h)", "floor(h, 2)",
     "max()", "max(h, key=h)", "h and 1", "f'{h}'", "(" * 500 + "h" + ")" * 500, "\0"],
)  # fmt: skip
def test_any_other_name_is_only_a_name(text: str) -> None:
    """Unknown names, other syntax, other functions, and what no parser takes."""
    assert not is_size_expression(text, {"h"})


def test_a_name_that_has_a_size_is_not_computed() -> None:
    """What was given counts more than what the name says."""
    assert evaluate_size("h + 1", {"h": 3, "h + 1": 9}) == 9


def test_the_arithmetic_between_names_changes_no_model() -> None:
    """Callers of a merged decoder give a mask that is not as long as cache and token, so cutting it to that length stays."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, past] cache, float[1, 1] token, float[1, mask] mask) => (float[1, n] cut)
        <int64[1] zero = {0}, int64[1] one = {1}>
        {
            keys = Concat<axis=1>(cache, token)
            sizes = Shape(keys)
            length = Slice(sizes, one, sizes_end, zero)
            cut = Slice(mask, zero, length, one)
        }""".replace("sizes_end", "two").replace("int64[1] one = {1}", "int64[1] one = {1}, int64[1] two = {2}")
    )
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_param = "past + 1"
    result = optimize(model, level="O2")
    assert result.report.ops_after["Slice"] == 1
    assert result.report.verdict is not None
