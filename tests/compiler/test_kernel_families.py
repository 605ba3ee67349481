"""When ONNX Runtime fuses less than before."""

from __future__ import annotations

import pytest

from graphopt.compiler.kernel_families import FAMILIES, Fusibility
from graphopt.runtime.fused_kernels import WITH_ACTIVATION

CONV = "com.microsoft.nchwc::Conv"
IN, OUT = "com.microsoft.nchwc::ReorderInput", "com.microsoft.nchwc::ReorderOutput"


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (
            {"com.microsoft::FastGelu": 2},
            {"com.microsoft::FastGelu": 1, "Tanh": 1},
            ["activation: 1 fused kernel instead of 2"],
        ),
        ({"com.microsoft::FastGelu": 2}, {"com.microsoft::FastGelu": 1}, []),
        ({"com.microsoft::FastGelu": 2}, {"com.microsoft::BiasGelu": 2, "Tanh": 3}, []),
        ({"com.microsoft::FusedMatMul": 2, "Softmax": 1}, {"com.microsoft::MultiHeadAttention": 1}, []),
        (
            {"LayerNormalization": 3},
            {"LayerNormalization": 1, "ReduceMean": 4},
            ["normalization: 1 fused kernel instead of 3"],
        ),
        ({"com.microsoft::SkipLayerNormalization": 3}, {"LayerNormalization": 3, "ReduceMean": 4}, []),
        ({f"{CONV}{WITH_ACTIVATION}": 3}, {"Relu": 3}, ["convolution with activation: 0 fused kernels instead of 3"]),
        ({CONV: 2, IN: 1, OUT: 1}, {CONV: 2, IN: 2, OUT: 2}, ["blocked layout: 4 changes of layout instead of 2"]),
        ({CONV: 2, IN: 1, OUT: 1}, {CONV: 3, IN: 2, OUT: 2}, []),
        (
            {"com.microsoft::QLinearConv": 2, "com.microsoft::QLinearAdd": 1},
            {"com.microsoft::QLinearConv": 2, "QuantizeLinear": 1},
            ["quantized: 2 fused kernels instead of 3"],
        ),
        ({"Gemm": 2, "Add": 1}, {"MatMul": 2, "Add": 1, "com.microsoft::BiasGelu": 2}, []),
        ({"Gemm": 2}, {"MatMul": 2, "Add": 2}, ["product with addend: 0 fused kernels instead of 2"]),
        ({"com.microsoft::FusedMatMul": 1}, {"MatMul": 1, "Add": 1}, []),
        ({}, {}, []),
    ],
)
def test_a_family_has_lost_when_kernels_fall_and_what_they_stand_for_rises(before, after, lost):
    assert lost == Fusibility(before, after).lost()


def test_only_families_that_there_is_any_of_are_told():
    found = Fusibility({"Gelu": 1, "Erf": 1}, {"Gelu": 2}, ("some-rule",))
    assert {"activation": (1, 2, 1, 0)} == found.families()
    told = found.to_dict()
    counts = {"fused_before": 1, "fused_after": 2, "plain_before": 1, "plain_after": 0}
    assert {"activation": counts} == told["families"]
    assert ([], ["some-rule"], []) == (told["lost"], told["undone"], told["kept"])


def test_names_of_families_differ():
    assert len(FAMILIES) == len({family.name for family in FAMILIES})
