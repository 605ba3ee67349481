"""What is asked of ``prune``: amounts, budgets and names, and the one line that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.compiler.pruning.amounts import Amount, channels_amount, magnitude_amount, n_m_amount
from graphopt.compiler.pruning.request import amount_of
from graphopt.data import digits_model, digits_test
from graphopt.errors import CalibrationError, PipelineError, PruningError
from tests.compiler.pruning.models import chain, frozen

IMAGES, DIGITS = digits_test()
DATA = {"image": IMAGES[:24]}


@pytest.mark.parametrize(
    ("stated", "amount"),
    [
        ("flops=0.5", Amount("channels", "flops", 0.5)),
        (" ratio = 0 ", Amount("channels", "ratio", 0.0)),
        ({"latency": 0.7}, Amount("channels", "latency", 0.7)),
        ("auto", Amount("channels", "auto")),
    ],
)
def test_channels(stated, amount):
    assert amount == channels_amount(stated)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("0.5", "expected flops=0.5"),
        ("params=0.5", "channels is given by 'params'"),
        ("flops=half", "channels: flops is 'half', expected a number"),
        ("flops=0", "flops is 0, expected the part that may be left"),
        ("flops=1", r"a number in \(0, 1\)"),
        ("latency=nan", "expected a number such as 0.5"),
        ("ratio=1", "remove every layer as a whole"),
        ("ratio=-0.1", r"a number in \[0, 1\)"),
        ({"flops": True}, "expected a number"),
        ({"flops": 0.5, "ratio": 0.5}, "expected flops=0.5"),
        (0.5, "expected flops=0.5"),
    ],
)
def test_channels_that_make_no_sense(stated, said):
    with pytest.raises(PruningError, match=said):
        channels_amount(stated)


@pytest.mark.parametrize("stated", [1, 1.5, -0.1, "much", "inf", None, True])
def test_sparsity_out_of_range(stated):
    with pytest.raises(PruningError, match="sparsity is"):
        magnitude_amount(stated)


@pytest.mark.parametrize("stated", ["2", "4:2", "0:4", "2:2", "a:b", 0.5])
def test_patterns_that_make_no_sense(stated):
    with pytest.raises(PruningError, match="n-m is"):
        n_m_amount(stated)
    assert (1, 4) == (n_m_amount(" 1 : 4 ").n, n_m_amount("1:4").m)


def test_one_amount_is_stated():
    assert Amount("channels", "auto") == amount_of(None, None, None, None, without=True)
    assert Amount("plan", "plan") == amount_of(None, None, None, "p.json", without=False)
    with pytest.raises(PruningError, match="nothing says what is to go"):
        amount_of(None, None, None, None, without=False)
    with pytest.raises(PruningError, match="channels and n-m are stated"):
        amount_of("flops=0.5", None, "2:4", None, without=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": "auto"}, "channels is auto, and nothing says how much accuracy may go"),
        ({"channels": "flops=0.5", "importance": "reconstruction"}, "looks at activations; give data"),
        ({"channels": "flops=0.5", "importance": "l3"}, "unknown importance 'l3'"),
        ({"magnitude": 0.5, "scope": "globl"}, "unknown scope 'globl'; did you mean 'global'"),
        ({"channels": "flops=0.5", "round_to": 0}, "round_to is 0, expected 1 or more"),
        ({"channels": "flops=0.5", "seconds": 0}, "the time to measure is 0 s"),
        ({"sensitivity": True, "ratios": (0.5, 1.0)}, "a ratio of the sweep is 1"),
        ({"sensitivity": True, "ratios": ()}, "a ratio of the sweep is empty"),
        ({"channels": "flops=0.5", "labels": DIGITS}, "there are labels, and no data"),
        ({"max_accuracy_drop": "1%"}, "there is no data to judge on"),
        ({"max_accuracy_drop": "1%", "data": DATA}, "an accuracy drop is stated, and no metric"),
        ({"max_accuracy_drop": "1%", "metric": "sqnr", "data": DATA}, "state --min-sqnr 20 instead"),
        ({"max_accuracy_drop": "some", "metric": "top1", "data": DATA}, "the accuracy drop 'some' is not understood"),
        ({"max_accuracy_drop": 1, "min_sqnr": 20, "data": DATA}, "an accuracy drop and a least SQNR are both stated"),
        ({"min_sqnr": float("nan"), "data": DATA}, "the least SQNR is nan"),
        ({"channels": "latency=0.5", "min_sqnr": 20, "data": DATA}, "latency and a budget of accuracy are both stated"),
        ({"plan": "p.json", "min_sqnr": 20, "data": DATA}, "a plan says what goes"),
        ({"plan": "p.json", "sensitivity": True}, "sweep without the plan"),
        ({"plan": "p.json", "include": ("conv1*",)}, "leave out --include, or edit the plan"),
        ({"plan": "no-such.json"}, "pruning plan 'no-such.json' cannot be read"),
        ({"magnitude": 0.5, "include": ("conv9",)}, "include 'conv9' fits no weight that can be pruned"),
        ({"channels": "ratio=0.5", "exclude": ("/conv4/*",)}, "exclude '/conv4/\\*' fits no weight"),
        ({"magnitude": 0.5, "exclude": ("*",)}, "all that can be pruned is left out"),
        ({"n_m": "2:4096"}, "no Conv, Gemm or MatMul of constant float weights sums over 4096 channels"),
        ({"channels": "ratio=0.01"}, "nothing went: channels, ratio=0.01 leaves every layer as it is"),
        ({"channels": "flops=0.001"}, "0.5 is the least|is the least that can be left"),
    ],
)
def test_requests_that_make_no_sense(arguments, said):
    given = {"data": None, **arguments}
    data = given.pop("data")
    with pytest.raises(PruningError, match=said) as caught:
        graphopt.prune(digits_model(), data, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [{"include": "conv1"}, {"exclude": "conv1"}])
def test_names_are_a_list(names: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="put it into brackets"):
        graphopt.prune(digits_model(), magnitude=0.5, **names)


def test_labels_and_metrics_that_do_not_fit():
    with pytest.raises(CalibrationError, match="there are 7 labels, and at least 8 examples"):
        graphopt.prune(digits_model(), DATA, magnitude=0.5, labels=DIGITS[:7])
    with pytest.raises(CalibrationError, match="unknown metric 'top2'"):
        graphopt.prune(digits_model(), DATA, magnitude=0.5, metric="top2")
    with pytest.raises(CalibrationError, match="input 'image'"):
        graphopt.prune(digits_model(), {"image": IMAGES[:, :, :4]}, magnitude=0.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold-constants": {}}, "options are given for 'fold-constants', which does not run; passes: prune-magnitude"),
        ({"reconstruct-layers": {}}, "options are given for 'reconstruct-layers', which does not run"),
        ({"recover-masked": {"dampin": 1}}, "pass 'recover-masked' has no option 'dampin'; did you mean 'damping'"),
        ({"prune-magnitude": {"min_size": 0}}, "option 'min_size' of pass 'prune-magnitude' is 0"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(PipelineError, match=said):
        graphopt.prune(digits_model(), magnitude=0.5, options=options)


def test_nothing_can_be_pruned_and_why():
    with pytest.raises(PruningError, match=r"all \d groups are frozen, .* because it is an axis of an (in|out)put"):
        graphopt.prune(frozen(), channels="ratio=0.5")
    with pytest.raises(PruningError, match="no constant float weights of two axes"):
        graphopt.prune(chain(weights=False), magnitude=0.5)
    with pytest.raises(PruningError, match="no weights make channels that others read"):
        graphopt.prune(chain(weights=False), channels="ratio=0.5")


def test_a_target_that_is_no_file_of_onnx(tmp_path):
    with pytest.raises(PipelineError, match="onnxruntim"):
        graphopt.prune(digits_model(), magnitude=0.5, target="onnxruntim")


def test_labels_of_another_length():
    with pytest.raises(CalibrationError, match="labels"):
        graphopt.prune(digits_model(), DATA, magnitude=0.5, labels=np.concatenate([DIGITS, DIGITS]))
